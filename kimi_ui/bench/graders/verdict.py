"""The verdict on one answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..sandbox import Stamp

RIGHT, WRONG, UNPARSED = "right", "wrong", "unparsed"
TRUNCATED, TIME_LIMIT, REFUSED = "truncated", "time_limit", "refused-by-sandbox"
VERDICTS = (RIGHT, WRONG, UNPARSED, TRUNCATED, TIME_LIMIT, REFUSED)

SHOWN = 200  # characters of an extracted answer


class Part(NamedTuple):
    """One constraint of a text or one turn of a conversation."""

    name: str
    verdict: str
    reason: str


class Verdict(NamedTuple):
    """``verdict``: one of ``VERDICTS``. ``extracted``: what was compared, at most ``SHOWN`` characters; None: nothing
    found.

    ``reason``: one sentence. ``grader`` and ``version`` say which rules judged; ``sandbox`` where code ran, None if
    none did.
    """

    verdict: str
    extracted: str | None
    reason: str
    grader: str = ""
    version: int = 0
    parts: tuple[Part, ...] = ()
    sandbox: Stamp | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = self._asdict()
        found["parts"] = [part._asdict() for part in self.parts]
        found["sandbox"] = self.sandbox._asdict() if self.sandbox else None
        return found


def shown(text: str) -> str:
    """An extracted answer, shortened."""
    text = text.strip()
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def right(extracted: str, reason: str = "It equals the expected answer.") -> Verdict:
    return Verdict(RIGHT, shown(extracted), reason)


def wrong(extracted: str, reason: str) -> Verdict:
    return Verdict(WRONG, shown(extracted), reason)


def unparsed(reason: str, extracted: str | None = None) -> Verdict:
    return Verdict(UNPARSED, shown(extracted) if extracted is not None else None, reason)
