"""Scripts of heavy turns for the page: eight trajectories about two trains, six of which agree, and their hybrid."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kimi_ui.core.events import CONNECTED, Answer, Failure, Finish, Phase, Reasoning, Usage
from kimi_ui.providers.base import ChatRequest, ProviderError

from .attributed import read

QUESTION = "How many kilometres from A do the two trains meet?"
TRAINS = read("trains")
OUTCOMES = ("160", "160", "160", "180", "160", "160", "160", "")  # the last one fails
HYBRID = (
    "The two trains approach each other, so their speeds add up to 80 + 120 = 200 km/h.\n\n"
    "$$t = \\frac{340 - 40}{80 + 120} = 1.5$$\n\n"
    "So the trains pass each other ninety minutes after nine.\n\n"
    "- A common mistake is to average the speeds instead of adding them.\n"
    "- Two signalmen once proved this by waving flags at every kilometre of the line.\n\n"
    "The answer is 160 km."
)
BROKEN = ProviderError(Failure("upstream", "The model server broke off.", "Send again."))


def trajectory(k: int, hold: threading.Event | None = None, pause: float = 0.01) -> list[Any]:
    """Trajectory ``k``: it states a first result while it thinks, waits for ``hold``, and ends as ``OUTCOMES`` says."""
    outcome = OUTCOMES[k]
    first = "180" if k in (1, 3) else "160"
    thought = f"Let me add up the speeds.\nThe answer is {first} km.\nBut let me check that once more.\n"
    steps: list[Any] = [
        Phase(CONNECTED),
        Reasoning("Two trains. "),
        pause,
        Reasoning(thought),
        pause,
        0.3,
        Reasoning("Hm.\n"),
    ]
    steps += [hold] if hold else []
    if not outcome:
        return [*steps, BROKEN]
    text = f"{TRAINS.answers[k + 1]}\n\nThe answer is {outcome} km."
    return [*steps, Answer(text), Usage(input_tokens=30, output_tokens=240, reasoning_tokens=60), Finish("stop")]


def heavy_model(
    hold: threading.Event | None = None, hybrid: str = HYBRID, width: int = 8
) -> Callable[[ChatRequest], Iterable[Any]]:
    """What the lane ``kimi`` answers: the plain lane as trajectory 0 does, the trajectories, then the aggregation.

    The trajectories of a heavy attempt share one request, so they are counted by it: the plain lane, which is sent
    among them at any moment, takes none of their outcomes.
    """
    begun: list[ChatRequest] = []

    def script(request: ChatRequest) -> Iterable[Any]:
        if len(request.messages[-1].content) > 2000:
            return [Phase(CONNECTED), Reasoning("All but one agree."), Answer(hybrid), Finish("stop")]
        begun.append(request)
        return trajectory((sum(one is request for one in begun) - 1) % width, hold)

    return script
