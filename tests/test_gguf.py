"""A person's own GGUF file: its header, the keys of its lane, and a sentence with a remedy for whatever is wrong."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kimi_ui import lanes_file
from kimi_ui.config import ConfigError
from kimi_ui.core.admission import Line
from kimi_ui.core.events import Failure
from kimi_ui.core.lane import FREE
from kimi_ui.providers import registry
from kimi_ui.providers.base import ChatRequest, Parts, ProviderError
from kimi_ui.providers.embedded.backends import Backends
from kimi_ui.providers.embedded.gguf import read
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.embedded.own_file import NO_SWITCH, NO_TEMPLATE
from kimi_ui.providers.embedded.own_model import OwnModel
from kimi_ui.providers.roster import Roster
from tests.support.gguf_file import header

parse_lanes = partial(lanes_file.parse_lanes, classes=registry.lane_classes())

QWEN: dict[str, Any] = {
    "general__architecture": "qwen3",
    "tokenizer__ggml__tokens": ["a"] * 5000,
    "tokenizer__ggml__token_type": [1] * 5000,
    "qwen3__context_length": 40_960,
    "qwen3__block_count": 28,
    "qwen3__embedding_length": 1024,
    "qwen3__attention__head_count": 16,
    "qwen3__attention__head_count_kv": 8,
    "qwen3__attention__key_length": 128,
    "qwen3__attention__value_length": 128,
    "tokenizer__chat_template": "{% if enable_thinking %}…{% endif %}",
}


def failure_of(path: Path) -> Failure:
    with pytest.raises(ProviderError) as caught:
        read(path)
    assert caught.value.failure.remedy
    return caught.value.failure


def test_the_header_says_what_a_lane_needs_to_know(tmp_path: Path) -> None:
    path = tmp_path / "Qwen3-0.6B-Q8_0.gguf"
    path.write_bytes(header(**QWEN))
    found = read(path)
    assert (found.architecture, found.trained_tokens, found.size) == ("qwen3", 40_960, path.stat().st_size)
    assert found.template == "{% if enable_thinking %}…{% endif %}"
    assert found.cache_per_token == 2 * 28 * 8 * (128 + 128)  # 114,688 bytes, as llama.cpp prints it for this model
    path.write_bytes(header(**QWEN | {"qwen3__attention__head_count_kv": [8, 0] * 14}))  # read again: it has changed
    assert read(path).cache_per_token == 2 * 14 * 8 * (128 + 128)
    for state in ("ssm__state_size", "attention__sliding_window", "attention__kv_lora_rank"):
        path.write_bytes(header(**QWEN, **{f"qwen3__{state}": 16}))
        assert read(path).cache_per_token is None, "it keeps less, and how much is not known"
    path.write_bytes(header(general__architecture="new"))
    assert (read(path).trained_tokens, read(path).template, read(path).cache_per_token) == (None, "", None)


def test_a_file_that_is_not_a_language_model_is_named_with_a_remedy(tmp_path: Path) -> None:
    missing = failure_of(tmp_path / "gone.gguf")
    assert (missing.kind, missing.message) == ("model_missing", f"There is no file {tmp_path / 'gone.gguf'}.")
    assert failure_of(tmp_path).message.endswith("is a folder.")
    whole = header(**QWEN)
    for data, words in (
        (b"", "is not a GGUF file"),
        (b"<!doctype html>" + b" " * 100, "is not a GGUF file"),
        (header(version=1), "of version 1"),
        (header(version=0x03000000), "big-endian"),
        (whole[:-1], "ends in the middle of its header"),
        (header(general__architecture="clip"), "a projector for images"),
        (header(general__architecture="qwen3", general__type="adapter"), "of the type adapter"),
        (header(general__architecture="nomic-bert"), "for embeddings"),
    ):
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        assert words in failure_of(path).message, words
    for part in (1, 3):
        (tmp_path / f"big-0000{part}-of-00003.gguf").write_bytes(whole)
    assert "big-00002-of-00003.gguf is missing" in failure_of(tmp_path / "big-00001-of-00003.gguf").message
    assert failure_of(tmp_path / "big-00003-of-00003.gguf").remedy == "Give the first part: big-00001-of-00003.gguf."
    (tmp_path / "big-00002-of-00003.gguf").write_bytes(whole)
    (tmp_path / "big-00001-of-00003.gguf").write_bytes(whole + b" ")  # changed, since the refusal was not cached
    assert read(tmp_path / "big-00001-of-00003.gguf").size == 3 * len(whole) + 1


def test_a_damaged_header_is_never_more_than_a_sentence(tmp_path: Path) -> None:
    small = header(general__architecture="llama", llama__context_length=512, names=["x", "y"], sizes=[1, 2])
    path = tmp_path / "model.gguf"
    for place in range(len(small)):
        for byte in (0x00, 0x7F, 0xFF):
            path.write_bytes(small[:place] + bytes((byte,)) + small[place + 1 :] + bytes(place))  # of another length
            try:
                read(path)
            except ProviderError as error:
                assert error.failure.remedy


def test_the_lane_has_the_files_name_costs_nothing_and_is_not_a_stand_in(tmp_path: Path) -> None:
    text = f'[[lane]]\nid = "q"\nprovider = "embedded"\ngguf = "{tmp_path}/Qwen3-0.6B-Q8_0.gguf"\nnum_ctx = 8192\n'
    (spec,) = parse_lanes(text + 'parallel = 2\nthink = "low"\n')
    assert isinstance(spec, EmbeddedLane)
    assert (spec.model, spec.price, spec.stand_in_for, spec.context_tokens) == ("Qwen3-0.6B-Q8_0", FREE, "", 8192)
    assert parse_lanes(lanes_file.write_lanes([spec])) == [spec]
    backends = Backends()
    provider = registry.make(spec, Parts(backends=backends))
    line = provider.line(ChatRequest(()))
    assert isinstance(line, Line)
    assert line.parallel == 2
    assert provider.spec.params == {}, "nothing is added to what the lane says"
    same, other = (registry.make(one, Parts(backends=backends)) for one in (spec, parse_lanes(text)[0]))
    assert same.line(ChatRequest(())) == line != other.line(ChatRequest(()))
    backends.close()
    for more, words in (
        ("num_ctx = 1", "num_ctx must be a whole number from"),
        ('think = "max"', "think must be true or false or one of"),
        ("model = 'x'", "model belongs to openai and ollama lanes"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_lanes(f"{text.replace('num_ctx = 8192', '')}{more}\n")
    bare = '[[lane]]\nid = "q"\nprovider = "embedded"\n'
    for more, words in (
        ("num_ctx = 4096", "line 4.*num_ctx is for a file of your own"),
        ('think = "low"', "think must"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_lanes(f"{bare}{more}\n")


async def test_a_check_reads_the_header_and_loads_nothing(tmp_path: Path) -> None:
    path, backends = tmp_path / "m.gguf", Backends()
    provider = registry.make(EmbeddedLane("q", gguf=str(path), think=True), Parts(backends=backends))
    gone = await provider.check()
    assert (gone.ok, gone.model_present, gone.problem) == (False, False, f"There is no file {path}.")
    path.write_bytes(header(**QWEN))
    found = await provider.check()
    assert (found.ok, found.context_tokens, found.trained_tokens, found.warnings) == (True, 16_384, 40_960, ())
    path.write_bytes(header(**QWEN | {"tokenizer__chat_template": "{{ messages }}"}))
    assert (await provider.check()).warnings == (NO_SWITCH,)
    path.write_bytes(header(general__architecture="llama", llama__context_length=2048))
    found = await provider.check()
    assert (found.context_tokens, found.warnings) == (2048, (NO_TEMPLATE,))
    broken = registry.make(EmbeddedLane("b", gguf=str(tmp_path)), Parts(backends=backends))
    with pytest.raises(ProviderError, match="is a folder"):
        await broken.prepare(lambda phase: None)
    backends.close()


def test_why_a_file_cannot_be_loaded_is_said_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(header(**QWEN))
    model = OwnModel(path, 8192, 2)
    setup = model.setup()
    assert (setup.slots, setup.context_tokens, setup.is_shared) == (2, 16_384, False)
    assert setup.needs_bytes == path.stat().st_size + 16_384 * 114_688
    short = model.explained("", None, 1_000_000_000)
    assert short
    assert short.message == "m.gguf needs 1.9 GB of memory with this context, and 1.0 GB are free."
    assert "lower num_ctx" in short.remedy
    new = model.explained("llama_model_load: error loading model: unknown model architecture: 'kimi5'", 1, None)
    assert new
    assert "architecture kimi5" in new.message
    assert new.command
    cut = model.explained("tensor 'output.weight' data is not within the file bounds, model is corrupted", 1, None)
    assert cut
    assert "not complete" in cut.message
    assert model.explained("", -9, None) == Failure(
        "backend_died", "There was too little memory for m.gguf.", short.remedy
    )
    assert model.explained("something else", 1, None) is None


def test_a_changed_lane_leaves_only_the_models_that_lanes_have(tmp_path: Path) -> None:
    from kimi_ui.config import read_settings

    path = tmp_path / "lanes.toml"
    lane = '[[lane]]\nid = "q"\nprovider = "embedded"\ngguf = "{}"\n'
    path.write_text(lane.format("a.gguf"))
    roster = Roster(read_settings(lanes=str(path), env={}))
    first = roster.specs[0]
    assert isinstance(first, EmbeddedLane)
    backend = roster.backends.of(first.own)
    assert backend.is_kept
    assert not roster.backends.stand_in.is_kept
    path.write_text(lane.format("bb.gguf"))
    roster.refresh()
    assert not backend.is_kept
    path.write_text(lane.format("a.gguf") + "\n")
    roster.refresh()
    assert backend.is_kept
    roster.backends.close()
