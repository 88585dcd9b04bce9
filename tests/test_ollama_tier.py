"""The checks of a real Ollama, tried on the tests' own: they pass against right habits and fail against wrong ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.providers.embedded.weights import WeightsStore
from tests.ollama_tier import CHECKS, Check, cuts, describes, fills, loads, main, openai, refuses, run
from tests.support.ollama_server import Habits, after_030, before_030
from tests.support.upstream import Upstream
from tests.support.wire import plain, streamed

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


WEIGHTS = b"GGUF of a test"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is in this process, where a pause of either side is not its habit."""
    monkeypatch.setattr("tests.ollama_tier.APART_S", 20)


async def tried(upstream: Upstream, *checks: Check) -> tuple[bool, str]:
    """Whether the checks held, all if none are named, and what was printed."""
    upstream.ollama.habits.load_s = 0.05
    told: list[str] = []
    passed = await run(upstream.ollama_url, WEIGHTS, told.append, checks)
    assert not any("kimi-ui-tier" in name for name in upstream.models), "its models are removed"
    return passed, "\n".join(told)


@pytest.mark.slow
@pytest.mark.parametrize(
    "habits",
    [
        after_030(),
        after_030(slots=4),
        after_030(version="0.0.0"),
        before_030(),
        before_030(refusal="none", version="0.11.0"),
    ],
    ids=["0.33", "four-slots", "from-source", "0.12.6", "0.11"],
)
async def test_it_passes_against_the_habits_of_real_servers(upstream: Upstream, habits: Habits) -> None:
    upstream.ollama.habits = habits
    passed, told = await tried(upstream)
    assert passed, told
    assert told.startswith(f"Ollama {habits.version} at http://127.0.0.1")
    assert f"{len(CHECKS)} of {len(CHECKS)} held" in told
    assert told.count("✓") == len(CHECKS)


@pytest.mark.parametrize(
    ("habits", "check"),
    [
        (after_030(cuts="full"), cuts),
        (before_030(cuts="half"), cuts),
        (after_030(refusal="words"), refuses),
        (after_030(refusal="none"), fills),
    ],
)
async def test_it_fails_against_wrong_habits(upstream: Upstream, habits: Habits, check: Check) -> None:
    upstream.ollama.habits = habits
    passed, told = await tried(upstream, check)
    assert not passed
    assert f"✗ {check.__doc__}" in told


@pytest.mark.parametrize(
    ("route", "answer", "check"),
    [
        ("GET /api/ps", plain(200, {"models": []}), loads),
        ("POST /api/show", plain(200, {"model_info": {"general.architecture": "llama"}}), describes),
        ("POST /v1/chat/completions", plain(404, "404 page not found"), openai),
    ],
)
async def test_it_fails_against_a_server_with_different_answers(
    upstream: Upstream, route: str, answer: Any, check: Check
) -> None:
    upstream.script(route, answer)
    passed, told = await tried(upstream, check)
    assert not passed
    assert f"✗ {check.__doc__}" in told


async def test_models_that_cannot_be_created_are_reported(upstream: Upstream) -> None:
    upstream.script("POST /api/create", streamed([b'{"error":"no space left on device"}\n']))
    passed, told = await tried(upstream)
    assert not passed
    assert "could not be made there: [{'error': 'no space left on device'}]" in told


async def test_a_run_that_takes_too_long_is_stopped_and_cleaned_up(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.ollama_tier.MOST_S", 2)
    upstream.ollama.habits.prompt_tps = 1
    passed, told = await tried(upstream, cuts)
    assert not passed
    assert "it was stopped there" in told


def test_run_sh_uses_a_server_only_if_its_address_is_given() -> None:
    script = (ROOT / "tests" / "run.sh").read_text()
    tier = re.search(r'if \[\[ "\$\{1:-\}" == "--ollama" \]\]; then\n(.*?)\nfi\n', script, re.DOTALL)
    assert tier
    assert "tests.ollama_tier" in tier[1]
    assert "ollama" not in script.replace(tier[0], "").partition("set -euo pipefail")[2].lower()


def test_without_a_server_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "weights").write_bytes(WEIGHTS)
    monkeypatch.setattr(WeightsStore, "is_present", lambda self: True)
    monkeypatch.setattr(WeightsStore, "ensure", lambda self, progress: tmp_path / "weights")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert main([]) == 1
    assert "No Ollama answers at http://127.0.0.1:9" in capsys.readouterr().err
