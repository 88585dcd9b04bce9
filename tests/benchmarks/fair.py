"""How long plain lanes wait beside heavy on one Ollama server, and what that costs heavy.

Heavy of 8 trajectories, all wanted at once (preset full), and two plain lanes of the same model; an answer takes a
second. The server is that of the tests (``tests.support.ollama_server``), with one slot, as Ollama has by default, and
with four. Each case runs with the app's queue, on a server that it does not know yet and once more, and with everything
sent at once as before. Printed: the plain lanes' longest time from the click to the first token, heavy's from the click
to its end, seconds.

    together    all three lanes by one click
    meanwhile   the plain lanes 2.5 s after heavy
"""

from __future__ import annotations

import time
from collections.abc import Callable

from kimi_ui.core.admission import Line
from kimi_ui.core.turn import TurnLog
from kimi_ui.providers.base import ChatRequest
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane

from ..support.engine_run import Run, started
from ..support.ollama_server import after_030
from ..support.scripted import ScriptedRoster
from ..support.upstream import Upstream
from ..support.waiting import ended
from .harness import report

MODEL = "m-100-0-100"  # 100 tokens at 100 tokens/s
LATER_S = 2.5


class AtOnce(Ollama):
    """As it was before there was a queue."""

    def line(self, request: ChatRequest) -> Line | None:
        return None


def together(run: Run) -> list[TurnLog]:
    return [run.engine.send("Why?")]


def meanwhile(run: Run) -> list[TurnLog]:
    heavy = run.engine.send("Why?", lanes=["heavy"])
    time.sleep(LATER_S)
    return [heavy, run.engine.send("Why?", lanes=["kimi", "qwen"])]


def times(turns: list[TurnLog]) -> tuple[float, float]:
    """The plain lanes' longest wait for the first token, and heavy's time to its end, in seconds since the click."""
    waits, end_s = [], 0.0
    for fold in (ended(turn) for turn in turns):
        for attempt_id, attempt in fold.attempts.items():
            state = fold.folds[attempt_id]
            if attempt.role == "single":
                assert state.first_token_ns is not None
                waits.append((attempt.sent_ns + state.first_token_ns) / 1e9)
            elif attempt.role == "heavy":
                assert state.end_ns is not None
                end_s = (attempt.sent_ns + state.end_ns) / 1e9
    return max(waits), end_s


def measure(kind: type[Ollama], slots: int, case: Callable[[Run], list[TurnLog]], n_runs: int) -> None:
    with Upstream() as upstream:
        upstream.ollama.habits = after_030(slots=slots)
        upstream.ollama.warm(MODEL)
        lanes = [
            kind(OllamaLane(id=name, label=name, model=MODEL, base_url=upstream.ollama_url))
            for name in ("kimi", "qwen")
        ]
        heavy = HeavyProvider(
            HeavyLane(id="heavy", label="heavy", of="kimi", width=8, quorum=8, preset="full"), lanes[0]
        )
        with started(ScriptedRoster(*lanes, heavy)) as run:
            for number in range(n_runs):
                wait_s, end_s = times(case(run))
                how = "at once" if kind is AtOnce else "queue, known server" if number else "queue, unknown server"
                report(
                    "fair",
                    slots=slots,
                    case=case.__name__,
                    how=how,
                    plain_wait_s=round(wait_s, 2),
                    heavy_s=round(end_s, 2),
                )


def main() -> None:
    for slots in (1, 4):
        for case in (together, meanwhile):
            measure(AtOnce, slots, case, 1)
            measure(Ollama, slots, case, 2)


if __name__ == "__main__":
    main()
