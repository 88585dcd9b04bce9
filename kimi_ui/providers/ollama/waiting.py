"""What an Ollama request waits for until its first token, and how its counters are to be read. Times in ns.

Headers come with the first token; until then only ``/api/ps`` says anything. The counters of the last line add up to
the total, but two of them need care (measured on 0.12.6 and a build that answers as 0.32–0.33, November 2026):

- ``load_duration`` counts from the request's arrival until its model is in memory. It holds the wait for a model that
  has to be unloaded first, and for the loads of requests that came before.
- Before 0.30, ``prompt_eval_duration`` is that of the last batch of the prompt (512 tokens), not of all of it.

What is left of the total is the wait for a slot of the model: 3 ms without one, 0.74 to 2.9 s behind others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from ...core.admission import Request, whose
from ...core.events import LOADING_MODEL, QUEUED, Phase, Usage

SINCE_LLAMA_SERVER = (0, 30)
OLD_BATCH = 512  # tokens
LEAST_QUEUE_NS = 20_000_000  # what is left of the total without a queue is less
LEAST_HIDDEN_NS = 100_000_000  # a shorter load_duration hides no wait
LEAST_SHOWN_NS = 500_000_000  # a shorter wait for a model in memory is the prompt's
MOST_UNSURE_NS = 300_000_000  # largest error in the time of a change seen in ``/api/ps``; or a quarter of the load

Model = tuple[str, int | None]  # a model in memory and its context; None: the server does not say


def version_of(text: str) -> tuple[int, ...] | None:
    """``0.12.6-rc1`` as (0, 12, 6); None for a build without a number."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups("0")) if found and found[0] not in ("0.0.0", "v0.0.0") else None


@dataclass
class Waits:
    """One request's wait.

    ``wanted``: what it needs in memory; ``label``: its model as it was asked for. ``before``: what was in memory, None
    if that is not known; ``seen``: later looks. ``beside``: this app's other requests that were with the server when it
    was sent. ``parallel``: how many requests of the model the server answers at a time, None if unknown. ``first_ns``:
    when the first line came, 0 before that.
    """

    wanted: frozenset[Model]
    label: str = ""
    before: frozenset[Model] | None = None
    version: tuple[int, ...] | None = None
    parallel: int | None = None
    beside: Sequence[Request] = ()
    sent_ns: int = 0
    first_ns: int = 0
    seen: list[tuple[int, frozenset[Model]]] = field(default_factory=list)
    clock_ns: Callable[[], int] = time.perf_counter_ns

    @property
    def model(self) -> str:
        return next(name for name, _ in self.wanted)

    def first_line(self) -> None:
        """The answer begins now."""
        self.first_ns = self.clock_ns()

    def has(self, models: Iterable[Model]) -> bool:
        """Whether the model is among these with the context that is wanted."""
        return any(model in self.wanted or model == (self.model, None) for model in models)

    def phase(self, now_ns: int) -> Phase | None:
        """What it waits for, as far as that is known."""
        latest = self.seen[-1][1] if self.seen else self.before
        if latest is None:
            return None
        others = [request for request in self.beside if request.ended_ns is None]
        if not self.has(latest):
            return Phase(QUEUED, whose(others), total=len(others)) if others else Phase(LOADING_MODEL, self.label)
        same = [request for request in others if request.line.model == self.model]
        if same and len(same) >= (self.parallel or 1) and now_ns - self.sent_ns >= LEAST_SHOWN_NS:
            return Phase(QUEUED, whose(same), total=len(same))
        return None

    def split(self, usage: Usage) -> Usage:
        """The counters with the waits in fields of their own, and without a ``prompt_ns`` that cannot be right."""
        total, load, evaluated = usage.raw.get("total_duration"), usage.load_ns or 0, usage.eval_ns or 0
        first_ns = self.first_ns - self.sent_ns if self.first_ns else None
        prompt = usage.prompt_ns
        is_new = self.version is not None and self.version >= SINCE_LLAMA_SERVER
        if not is_new and (usage.input_tokens or 0) > OLD_BATCH:
            prompt = None  # it is the time of the last batch alone, so the rest of the total belongs to the prompt too
        if prompt is not None and first_ns is not None and prompt > first_ns + LEAST_QUEUE_NS:
            prompt = None  # the time until the first token cannot hold it
        queue = None
        if type(total) is int and prompt is not None:
            left = total - load - prompt - evaluated
            most = left if first_ns is None else min(left, first_ns - load - prompt)
            queue = most if most >= LEAST_QUEUE_NS else 0
        elif first_ns is not None and (ends := self._ends(self.model)):
            queue = max(0, max(ends) - load)  # at least until our last request before it had ended
        hidden = self._waited_for_load_ns(load) if load >= LEAST_HIDDEN_NS else 0
        if hidden is None:
            return replace(usage, prompt_ns=prompt, queue_ns=queue, load_ns=None, load_or_wait_ns=load)
        if hidden:
            queue = (queue or 0) + hidden
        load_ns = usage.load_ns - hidden if usage.load_ns is not None else None
        return replace(usage, prompt_ns=prompt, queue_ns=queue, load_ns=load_ns)

    def unloaded(self) -> frozenset[Model]:
        """What had been in memory and was not any more when the model was loaded."""
        looks = [models for _, models in self._looks()]
        if len(looks) < 2 or self.has(looks[0]):
            return frozenset()
        return frozenset(model for models in looks for model in models) - looks[-1] - self.wanted

    def _looks(self) -> list[tuple[int, frozenset[Model]]]:
        """What was in memory, by time since the request was sent."""
        if self.before is None:
            return []
        return [(0, self.before), *((at_ns - self.sent_ns, models) for at_ns, models in self.seen)]

    def _ends(self, model: str = "") -> list[int]:
        """When requests beside this one ended before its first token, since it was sent."""
        return [
            request.ended_ns - self.sent_ns
            for request in self.beside
            if request.ended_ns is not None
            and self.sent_ns <= request.ended_ns <= (self.first_ns or request.ended_ns)
            and model in ("", request.line.model)
        ]

    def _waited_for_load_ns(self, load_ns: int) -> int | None:
        """How much of ``load_duration`` was a wait: until what is in memory last changed before it. None: unknown.

        A load begins once a model is unloaded for it, or once the load before it is done. This app's own requests end
        at a known time; of two looks with a change between them the earlier one counts, if they are near each other.
        """
        looks = self._looks()
        absent = [i for i, (_, models) in enumerate(looks) if not self.has(models)]
        if not looks or (not absent and len(looks) < 2):
            return None
        if not absent:
            return load_ns  # it was in memory all the time
        changes = [
            (earlier, later)
            for (earlier, old), (later, new) in pairwise(looks[: absent[-1] + 2])
            if old - self.wanted != new - self.wanted or (self.has(old) and not self.has(new))
        ]
        dropped = self._dropped_ns(looks[: absent[-1] + 1])
        if not changes or dropped > changes[-1][1]:
            return min(load_ns, dropped) if not self.beside or len(looks) > 1 else None
        since, until = changes[-1]
        if ends := [at for at in self._ends() if since <= at <= until]:
            return min(load_ns, max(ends))
        return min(load_ns, since) if until - since <= max(MOST_UNSURE_NS, load_ns // 4) else None

    def _dropped_ns(self, looks: Sequence[tuple[int, frozenset[Model]]]) -> int:
        """When the last request beside this one ended whose model was in memory too shortly to be seen; 0: none did."""
        ends = [0]
        for request in self.beside:
            at = (request.ended_ns or 0) - self.sent_ns
            after = next((models for seen, models in looks if seen >= at), None)
            if at > 0 and after is not None and request.line.model not in {name for name, _ in after}:
                ends.append(at)
        return max(ends)


def pauses() -> Iterator[float]:
    """Seconds between looks at ``/api/ps``: often at first, then every tenth of the time so far, at most 2 s."""
    waited = 0.0
    while True:
        pause = min(2.0, max(0.1, waited / 10))
        waited += pause
        yield pause
