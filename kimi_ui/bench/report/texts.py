"""What the models wrote in a run, shortened as it is read: the report of a full run must stay a file that opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...core.markdown.safe import clean_text
from ...log.reader import ID_BATCH, LogReader
from ...log.store import Rows
from ..results import Run

BUDGET = 8_000_000  # characters of all texts together
MOST, LEAST = 6_000, 300  # of one text


class Text(NamedTuple):
    """``text`` without control characters; it may be the beginning only, of ``n_chars``."""

    text: str
    n_chars: int

    @property
    def n_hidden(self) -> int:
        return max(0, self.n_chars - len(self.text))


class Texts(NamedTuple):
    """Prompts by turn; answers and reasoning by attempt, heavy's trajectories included."""

    prompts: Mapping[str, Text]
    answers: Mapping[str, Text]
    reasoning: Mapping[str, Text]


NO_TEXTS = Texts({}, {}, {})


def texts_of(reader: LogReader, run: Run) -> Texts:
    """The texts of a run. Each is cut where all together would exceed ``BUDGET``. Raises ``LogUnreadable``."""
    attempts = [
        attempt_id
        for sample in run.samples
        if sample.attempt_id is not None
        for attempt_id in (sample.attempt_id, *(one.attempt_id for one in sample.trajectories))
    ]
    turns = list({sample.case: sample.turn_id for sample in run.samples if sample.turn_id is not None}.values())
    cap = min(MOST, max(LEAST, BUDGET // max(1, 2 * len(attempts) + len(turns))))
    with reader.snapshot() as log:
        prompts = dict(_read(log, "turns", "turn_id", "prompt", turns, cap))
        answers = dict(_read(log, "attempts", "attempt_id", "answer", attempts, cap))
        reasoning = dict(_read(log, "attempts", "attempt_id", "reasoning", attempts, cap))
    return Texts(prompts, answers, reasoning)


def _read(log: Rows, table: str, key: str, column: str, ids: Sequence[str], cap: int) -> Iterator[tuple[str, Text]]:
    query = f"SELECT {key}, substr({column}, 1, :cap), length({column}) FROM {table} WHERE {key} IN :ids"
    for start in range(0, len(ids), ID_BATCH):
        for id, text, n_chars in log.rows(query, cap=cap, ids=list(ids[start : start + ID_BATCH])):
            if text:
                yield id, Text(clean_text(text), n_chars)
