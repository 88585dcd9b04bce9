"""The texts that are searched, as both stores' indexes find them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from .store import Rows

NO_SPACES = re.compile(  # Thai, Lao, Myanmar, Khmer, Kana, Han
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts without spaces, in which the beginning and the end of a word cannot be seen."""

MIN_PREFIX_CHARS = 3  # a shorter prefix matches so many words that the lookup takes seconds

DOCUMENTS = """
    SELECT c.conversation_id, c.title, d.part, d.turn_id, coalesce(a.lane, ''), coalesce(p.label, a.label, ''),
           coalesce(p.attempt_no, a.attempt_no, 0),
           (SELECT count(*) FROM attempts n WHERE n.turn_id = a.turn_id AND n.lane = a.lane AND n.parent_id IS NULL),
           a.k_index, {text}
    FROM {source}
    JOIN turns t ON t.turn_id = d.turn_id
    JOIN conversations c ON c.conversation_id = t.conversation_id
    LEFT JOIN attempts a ON a.attempt_id = d.attempt_id
    LEFT JOIN attempts p ON p.attempt_id = a.parent_id
    WHERE {condition} AND {owned} AND t.kind = 'chat' AND c.deleted_at_utc IS NULL
      AND (d.attempt_id IS NULL OR t.slots = '' OR EXISTS (SELECT 1 FROM votes v WHERE v.turn_id = t.turn_id))
    ORDER BY {newest} DESC
"""


class Found(NamedTuple):
    """A text that matches. ``part``: prompt | answer | reasoning.

    The last two are of attempt number ``attempt`` (from 1) of the ``n_attempts`` of ``lane``, which ``label`` names; of
    a heavy lane's trajectory if ``trajectory`` is a number (from 0). A prompt has empty names, 0 and None.
    """

    conversation_id: str
    title: str
    part: str
    turn_id: str
    lane: str
    label: str
    attempt: int
    n_attempts: int
    trajectory: int | None
    text: str


class Documents(Protocol):
    """A store's index of the texts. ``like``: its operator for a pattern, without case for ASCII letters."""

    like: str

    def by_words(self, log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
        """The newest text of each conversation that holds all terms as words, the last one as a word's beginning."""
        ...

    def by_texts(self, log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
        """The newest text of each conversation that holds all terms, wherever."""
        ...


def is_prefix(term: str) -> bool:
    """Whether the last term of a query is looked up as the beginning of a word."""
    return len(term) >= MIN_PREFIX_CHARS or not term.isascii()


def all_like(column: str, like: str, terms: Iterable[str]) -> tuple[str, dict[str, str]]:
    """A condition that the column holds each term, and its values."""
    values = {f"pattern_{i}": f"%{_escaped(term)}%" for i, term in enumerate(terms)}
    return " AND ".join(rf"{column} {like} :{name} ESCAPE '\'" for name in values), values


def _escaped(term: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", term)


def newest_of_each(rows: Iterable[tuple[Any, ...]], limit: int) -> list[tuple[Any, ...]]:
    """The first row of each of the first ``limit`` conversations; later rows are not read."""
    found: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        found.setdefault(row[0], row)
        if len(found) == limit:
            break
    return list(found.values())
