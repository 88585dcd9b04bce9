"""Full-text search in SQLite: by the index (FTS5), or through the texts themselves.

Its tables and triggers are in ``search_index``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..store import Rows, owned

MIN_PREFIX_CHARS = 3  # a shorter prefix matches so many words that the lookup takes seconds

_DOCUMENTS = """
    SELECT c.conversation_id, c.title, d.part, d.turn_id, coalesce(a.lane, ''), coalesce(p.label, a.label, ''),
           coalesce(p.attempt_no, a.attempt_no, 0), a.k_index, {text}
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

    The last two are of attempt number ``attempt`` (from 1) of ``lane``, which ``label`` names; of a heavy lane's
    trajectory if ``trajectory`` is a number (from 0). A prompt has empty names, 0 and None.
    """

    conversation_id: str
    title: str
    part: str
    turn_id: str
    lane: str
    label: str
    attempt: int
    trajectory: int | None
    text: str


def in_index(log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
    """The newest text of each conversation that holds all terms as words, the last one as the beginning of a word."""
    match = " ".join('"' + term.replace('"', '""') + '"' for term in terms)
    if len(terms[-1]) >= MIN_PREFIX_CHARS or not terms[-1].isascii():
        match += " *"
    source = "search s CROSS JOIN search_documents d ON d.document_id = s.rowid"
    order = "s.rowid"  # as the index yields them: no sort
    query = _DOCUMENTS.format(
        text="d.document_id",
        source=source,
        condition="search MATCH :match",
        owned=owned(owner, "t.owner"),
        newest=order,
    )
    for row in _newest_of_each(log.rows(query, match=match, owner=owner), limit):
        # Not FTS5's snippet(): it would look the words up in the whole index again, for every row.
        (text,) = next(log.rows("SELECT text FROM search_texts WHERE document_id = :id", id=row[-1]))
        yield Found._make((*row[:-1], text))


def in_texts(log: Rows, owner: str, patterns: list[str], limit: int) -> Iterator[Found]:
    """The newest text of each conversation that is like all patterns (``LIKE``, escaped by a backslash)."""
    condition, values = all_like("d.text", patterns)
    query = _DOCUMENTS.format(
        text="d.text",
        source="search_texts d",
        condition=condition,
        owned=owned(owner, "t.owner"),
        newest="d.document_id",
    )
    yield from (Found._make(row) for row in _newest_of_each(log.rows(query, owner=owner, **values), limit))


def all_like(column: str, patterns: list[str]) -> tuple[str, dict[str, str]]:
    """A condition that the column is like each pattern, and its values."""
    values = {f"pattern_{i}": pattern for i, pattern in enumerate(patterns)}
    return " AND ".join(rf"{column} LIKE :{name} ESCAPE '\'" for name in values), values


def _newest_of_each(rows: Iterator[tuple[Any, ...]], limit: int) -> list[tuple[Any, ...]]:
    """The first row of each of the first ``limit`` conversations; later rows are not read."""
    found: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        found.setdefault(row[0], row)
        if len(found) == limit:
            break
    return list(found.values())
