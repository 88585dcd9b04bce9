"""Lanes of one turn, end to end: scripted servers, the real clients, the engine, the rows in SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.lane import Limits
from kimi_ui.providers.base import Provider
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible, OpenAILane
from kimi_ui.view.failure_words import failure_of, notes_of

from .engine_run import running
from .upstream import Upstream
from .wire import Behaviour, Piece, Request

PATIENT = Limits(120, 120, 150)
KEY = "cpk_canary-5e0a77c1"
Script = Sequence[Piece] | Behaviour


@dataclass
class Came:
    """The outcome of a lane: its last attempt's fold, the rows of all attempts, and the requests."""

    fold: AttemptFold
    rows: list[dict[str, Any]]
    requests: list[Request]

    @property
    def status(self) -> str:
        return self.fold.status

    @property
    def text(self) -> tuple[str, str]:
        return self.fold.reasoning, self.fold.answer

    @property
    def kind(self) -> str:
        return self.fold.failure.kind if self.fold.failure else ""

    @property
    def flags(self) -> set[str]:
        """The flags set because of the stream."""
        return {name for name in self.fold.flags if not name.endswith("_ms") and name != "clock_jump"}

    @property
    def words(self) -> str:
        """All that a user reads about the end and about flags."""
        failure = failure_of(self.fold)
        told = [failure.message, failure.remedy, failure.command, failure.detail] if failure else []
        return " | ".join((*told, *notes_of(self.fold)))


def came_all(
    upstream: Upstream,
    scripts: Mapping[str, Script],
    *,
    ollama: bool = False,
    base_url: str = "",
    limits: Limits = PATIENT,
    turns: int = 1,
    prompt: str = "hello",
    **fields: Any,
) -> dict[str, Came]:
    """Run one lane for each script, all in one turn. ``turns``: repeat so often; the last turn counts."""
    lanes: list[Provider] = []
    for i, (name, script) in enumerate(scripts.items()):
        model = f"odd-{i}"
        upstream.script(model, script)
        spec: dict[str, Any] = {"id": f"l{i}", "label": name, "model": model, "limits": limits, **fields}
        if ollama:
            lanes.append(Ollama(OllamaLane(**spec, base_url=base_url or upstream.origin)))
        else:
            lanes.append(OpenAICompatible(OpenAILane(**spec, base_url=base_url or upstream.base_url), KEY))
    with running(None, *lanes) as run:
        for _ in range(turns):
            turn = run.engine.send(prompt)
            folds = run.folds(turn)
        rows = run.rows(turn)
    sent = {
        name: [r for r in upstream.requests if r.model == f"odd-{i}" and r.path != "/api/show"]
        for i, name in enumerate(scripts)
    }
    return {name: Came(folds[f"l{i}"], rows[f"l{i}"], sent[name]) for i, name in enumerate(scripts)}


def came(upstream: Upstream, script: Script, **how: Any) -> Came:
    """``came_all`` for one lane."""
    return came_all(upstream, {"it": script}, **how)["it"]
