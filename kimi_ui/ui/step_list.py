"""The steps of one attempt: system phases, and topics found in the reasoning, in the order they happened.

Only what happened stands here (design §5.7). A step is ``{i, kind, label, t_ms, at, where, done, total}``: ``i`` its
place in the order, ``kind`` phase or topic, ``at`` the character of the reasoning or answer (``where``) it belongs to,
None for a step that has no place in the text.
"""

from __future__ import annotations

from typing import Any

from ..core.events import (
    AGGREGATING,
    CONNECTED,
    FIRST_TRAJECTORY_TOKEN,
    LOADING_MODEL,
    READING_PROMPT,
    TRAJECTORIES,
    Answer,
    End,
    Event,
    Phase,
    Reasoning,
)

_PHASES = {
    CONNECTED: "Connected",
    LOADING_MODEL: "Loading model",
    READING_PROMPT: "Reading prompt",
    FIRST_TRAJECTORY_TOKEN: "Trajectories writing",
    TRAJECTORIES: "Trajectories done",
    AGGREGATING: "Hybridizing",
}
_ENDS = {
    "ok": "Finished",
    "length": "Cut at the length limit",
    "no_answer": "Finished without an answer",
    "incomplete": "Cut off",
    "stopped": "Stopped",
    "timeout": "Timed out",
    "error": "Failed",
    "interrupted": "Interrupted",
}


class StepList:
    """Feed it an attempt's events; ``take`` gives new and changed steps."""

    def __init__(self) -> None:
        self._steps: list[dict[str, Any]] = []
        self._by_phase: dict[str, int] = {}
        self._changed: set[int] = set()

    def apply(self, t_ns: int, event: Event) -> None:
        match event:
            case Phase(name, _, done, total) if name in _PHASES:
                self._phase(name, _PHASES[name], t_ns, done=done, total=total)
            case Reasoning(text) if text:
                if "thinking" not in self._by_phase:
                    self._phase("thinking", "Thinking", t_ns, "reasoning")
            case Answer(text) if text:
                if "writing" not in self._by_phase:
                    self._phase("writing", "Writing the answer", t_ns, "answer")
            case End(status):
                self._phase("end", _ENDS.get(status, status), t_ns)

    def take(self) -> list[dict[str, Any]]:
        changed = [self._steps[i] for i in sorted(self._changed)]
        self._changed.clear()
        return changed

    def _phase(
        self,
        name: str,
        label: str,
        t_ns: int,
        where: str | None = None,
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """A phase began, or moved on: it keeps the time it began."""
        if name in self._by_phase:
            step = self._steps[self._by_phase[name]]
            step |= {"done": done, "total": total}
            self._changed.add(step["i"])
            return
        self._by_phase[name] = len(self._steps)
        at = 0 if where else None
        self._add("phase", label, t_ns, at=at, where=where, done=done, total=total)

    def _add(self, kind: str, label: str, t_ns: int, **more: Any) -> None:
        step = {"i": len(self._steps), "kind": kind, "label": label, "t_ms": t_ns / 1e6, **more}
        self._changed.add(step["i"])
        self._steps.append(step)
