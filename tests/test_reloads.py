"""Two lanes that make an Ollama server load again: named beforehand, and under the turn where it happened.

Kinds, and the rule of each: the same model with different contexts is known from the lanes file; models that do not fit
together are known once one was unloaded for the other. Lanes on other servers, in the cloud or with equal contexts are
not named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.cli.main import main
from kimi_ui.core.lane import LaneSpec
from kimi_ui.log.reloads import unloaded_pairs
from kimi_ui.providers.ollama.provider import NUM_CTX, Ollama, OllamaLane
from kimi_ui.providers.ollama.reloads import reloads
from kimi_ui.view.failure_words import notes_of
from tests.support.engine_run import running
from tests.support.upstream import Upstream

HERE = "http://127.0.0.1:11434"


def lane(id_: str, model: str = "qwen3:8b", base_url: str = HERE, **fields: Any) -> OllamaLane:
    return OllamaLane(id_, id_.upper(), model=model, base_url=base_url, **fields)


@pytest.mark.parametrize(
    ("specs", "named"),
    [
        pytest.param([lane("a", num_ctx=4096), lane("b", num_ctx=8192)], {"a", "b"}, id="two contexts"),
        pytest.param([lane("a", num_ctx=4096), lane("b")], {"a", "b"}, id="one with the default"),
        pytest.param([lane("a"), lane("b", params={"num_ctx": 8192})], {"a", "b"}, id="one in the params"),
        pytest.param([lane("a", "llama3"), lane("b", "llama3:latest", num_ctx=8192)], {"a", "b"}, id="with a tag"),
        pytest.param([lane("a"), lane("b", num_ctx=NUM_CTX)], set(), id="the default, written out"),
        pytest.param([lane("a", num_ctx=4096), lane("b", base_url="http://far:1", num_ctx=8192)], set(), id="servers"),
        pytest.param([lane("a", num_ctx=4096), lane("b", "qwen3:4b", num_ctx=8192)], set(), id="models"),
        pytest.param(
            [lane("a", "kimi-k2.6:cloud", num_ctx=4096), lane("b", "kimi-k2.6:cloud", num_ctx=8192)], set(), id="cloud"
        ),
        pytest.param([lane("a", num_ctx=4096), LaneSpec("b", provider="openai", model="qwen3:8b")], set(), id="kinds"),
        pytest.param([lane("a"), lane("b"), lane("c", num_ctx=8192)], {"a", "b", "c"}, id="three"),
    ],
)
def test_lanes_that_ask_for_different_contexts_are_named(specs: list[LaneSpec], named: set[str]) -> None:
    found = reloads(specs)
    assert set(found) == named
    assert all("num_ctx" in words for sentences in found.values() for words in sentences)


def test_models_that_did_not_fit_together_are_named() -> None:
    specs = [lane("a", "qwen3:8b"), lane("b", "llama3"), lane("c", "phi4:14b")]
    found = reloads(specs, {("llama3:latest", "qwen3:8b")})
    assert set(found) == {"a", "b"}
    assert "did not fit" in found["a"][0]
    assert reloads([lane("a"), lane("b")], {("qwen3:8b", "qwen3:8b")}) == {}, "one model of one context"


def test_a_reload_is_shown_under_the_turn_and_remembered(upstream: Upstream) -> None:
    upstream.ollama.habits.room, upstream.ollama.habits.load_s = 1, 0.2
    for name in ("a:1b", "b:1b"):
        upstream.alias(name, "m-200-0-60")
    upstream.ollama.unload_all()
    one, other, wide = (
        Ollama(OllamaLane(id_, model=model, base_url=upstream.origin, num_ctx=num_ctx))
        for id_, model, num_ctx in (("one", "a:1b", 4096), ("other", "b:1b", 4096), ("wide", "b:1b", 8192))
    )
    notes = {}
    with running(None, one, other, wide) as run:
        for id_ in ("one", "other", "wide"):
            turn = run.engine.send("hi", lanes=[id_])
            fold = run.folds(turn)[id_]
            assert run.rows(turn)[id_][-1]["status"] == "ok"
            notes[id_] = " ".join(notes_of(fold))
        assert unloaded_pairs(run.reader) == {("a:1b", "b:1b"), ("b:1b", "b:1b")}
    assert notes["one"] == ""
    assert "unloaded a:1b and took 0." in notes["other"]
    assert "unloaded b:1b with another context" in notes["wide"]


def test_doctor_names_contexts_and_reloads(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.alias("a:1b", "m-200-0-6", trained=8192)
    lanes = tmp_path / "lanes.toml"
    lanes.write_text(
        "".join(
            f'[[lane]]\nid = "{id_}"\nprovider = "ollama"\nmodel = "a:1b"\nbase_url = "{upstream.origin}"\n'
            f"num_ctx = {num_ctx}\n"
            for id_, num_ctx in (("small", 4096), ("large", 16384))
        )
    )
    assert main(["doctor", "--lanes", str(lanes), "--json"]) == 0
    small, large = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (small["context_tokens"], small["trained_tokens"]) == (4096, 8192)
    assert (large["context_tokens"], large["trained_tokens"]) == (8192, 8192)
    assert "small and large ask for the same model" in small["warnings"][0]
    assert "num_ctx is 16,384, but the model was trained for 8,192" in large["warnings"][0]
    assert main(["doctor", "--lanes", str(lanes)]) == 0
    words = capsys.readouterr().out
    assert "context of 4,096 tokens · trained for 8,192" in words
    assert "loads it again whenever they alternate" in words
