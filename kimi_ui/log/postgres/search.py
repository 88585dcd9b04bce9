"""Full-text search in PostgreSQL: the words of each text as a ``tsvector`` in a GIN index.

The words are folded and divided here, as SQLite's index does it, so that they do not depend on the server's locale: in
lower case, without accents, divided at everything that is no letter or digit. A letter of a script without spaces is a
word of its own, so that any part of a sentence is found by its letters; the texts found are then read for the letters
in a row. No extension is needed (pg_trgm finds nothing by fewer than three letters, and no Chinese in the locale C).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..documents import DOCUMENTS, NO_SPACES, Found, all_like, is_prefix, newest_of_each
from ..records import Op
from ..store import Rows, owned

if TYPE_CHECKING:
    from .connection import Connection

MAX_WORD_CHARS = 250  # of a longer one only the beginning is known; a lexeme has 2 kB
MAX_BYTES = 1_000_000  # of a text's words; a tsvector has 1 MB, and any more of them are not found

_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    """The text in lower case and without accents."""
    text = text.lower()
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def words_of(text: str) -> list[str]:
    """The words of a text as the index holds them, in order."""
    spaced = NO_SPACES.sub(r" \g<0> ", fold(text))
    return [word[:MAX_WORD_CHARS] for word in _WORD.findall(spaced)]


def index(connection: Connection, op: Op) -> None:
    """Bring the index up to date with a write of a turn or of an attempt's texts."""
    row = op.row
    if op.table == "turns" and row.get("prompt"):
        connection.execute(_PROMPT, {"turn_id": row["turn_id"], "words": _lexemes(row["prompt"])})
    elif op.table == "update attempts" and "answer" in row:
        connection.execute(_NO_TEXTS, row)
        for part in ("reasoning", "answer"):
            if row[part]:
                connection.execute(_TEXT, {**row, "part": part, "words": _lexemes(row[part])})
    elif op.table == "promote":
        connection.execute(_PROMOTED, row)


def rebuild(connection: Connection) -> None:
    """Rebuild the index from the texts, oldest first."""
    connection.execute("DELETE FROM search_documents")
    documents = connection.execute(_ALL).fetchall()
    for turn_id, attempt_id, part in documents:
        column, table, key = _SOURCE[part]
        found = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = %s".encode(), (attempt_id or turn_id,))
        for (text,) in found.fetchall():
            connection.execute(_COPIED, (turn_id, attempt_id, part, _lexemes(text)))


_SOURCE = {
    "prompt": ("prompt", "turns", "turn_id"),
    "reasoning": ("reasoning", "attempts", "attempt_id"),
    "answer": ("answer", "attempts", "attempt_id"),
}
_PROMPT = """
    INSERT INTO search_documents (turn_id, part, words)
    SELECT turn_id, 'prompt', array_to_tsvector(%(words)s) FROM turns t WHERE turn_id = %(turn_id)s
    AND NOT EXISTS (SELECT 1 FROM search_documents d WHERE d.turn_id = t.turn_id AND d.attempt_id IS NULL)
"""
# The status: another process may have ended the attempt meanwhile, with other texts.
_NO_TEXTS = """
    DELETE FROM search_documents WHERE attempt_id = %(attempt_id)s
    AND EXISTS (SELECT 1 FROM attempts WHERE attempt_id = %(attempt_id)s AND status = %(status)s)
"""
_TEXT = """
    INSERT INTO search_documents (turn_id, attempt_id, part, words)
    SELECT turn_id, attempt_id, %(part)s, array_to_tsvector(%(words)s) FROM attempts
    WHERE attempt_id = %(attempt_id)s AND status = %(status)s
"""
_PROMOTED = """
    INSERT INTO search_documents (turn_id, attempt_id, part, words)
    SELECT turn_id, attempt_id, 'answer', words FROM search_documents d
    WHERE attempt_id = %(attempt_id)s AND part = 'reasoning'
    AND NOT EXISTS (SELECT 1 FROM search_documents o WHERE o.attempt_id = d.attempt_id AND o.part = 'answer')
"""
_ALL = """
    SELECT turn_id, attempt_id, part FROM (
        SELECT turn_id, NULL AS attempt_id, 'prompt' AS part, started_at_utc FROM turns WHERE prompt <> ''
        UNION ALL SELECT turn_id, attempt_id, 'reasoning', started_at_utc FROM attempts WHERE reasoning <> ''
        UNION ALL SELECT turn_id, attempt_id, 'answer', started_at_utc FROM attempts WHERE answer <> ''
    ) documents ORDER BY started_at_utc
"""
_COPIED = """
    INSERT INTO search_documents (turn_id, attempt_id, part, words) VALUES (%s, %s, %s, array_to_tsvector(%s))
"""


class Documents:
    """``documents.Documents`` over ``search_documents``.

    ``lazily``: runs a query whose rows are read as they are needed; of a word in all texts only the newest matter.
    """

    like = "ILIKE"

    def __init__(self, lazily: Callable[..., Iterator[tuple[Any, ...]]]) -> None:
        self._lazily = lazily

    def by_words(self, log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
        wanted = [words_of(term) for term in terms]
        if not all(wanted):
            return
        last = wanted[-1].pop()
        match = [
            *(f"'{word}'" for words in wanted for word in words),
            f"'{last}'{':*' if is_prefix(terms[-1]) else ''}",
        ]
        wanted[-1].append(last)
        phrases = [f" {' '.join(words)} " for words in wanted[:-1]]
        phrases.append(f" {' '.join(wanted[-1])}{'' if is_prefix(terms[-1]) else ' '}")
        phrases = [phrase for words, phrase in zip(wanted, phrases, strict=True) if len(words) > 1]

        def has_phrases(row: tuple[Any, ...]) -> bool:
            if not phrases:
                return True
            text = f" {' '.join(words_of(_text(log, row[-1])))} "
            return all(phrase in text for phrase in phrases)

        query = _documents("search_documents d", "d.words @@ :match::tsquery", owner)
        rows = self._lazily(query, owner=owner, match=" & ".join(match))
        for row in newest_of_each(filter(has_phrases, rows), limit):
            yield Found._make((*row[:-1], _text(log, row[-1])))

    def by_texts(self, log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
        letters = {word for term in terms for letter in NO_SPACES.findall(term) for word in words_of(letter)}
        condition, values = all_like("d.text", self.like, terms)
        if letters:
            condition = f"d.words @@ :match::tsquery AND {condition}"
        query = _documents("search_texts d", condition, owner)
        rows = self._lazily(query, owner=owner, match=" & ".join(f"'{letter}'" for letter in letters), **values)
        for row in newest_of_each(rows, limit):
            yield Found._make((*row[:-1], _text(log, row[-1])))


def _documents(source: str, condition: str, owner: str) -> str:
    return DOCUMENTS.format(
        text="d.document_id",
        source=source,
        condition=condition,
        owned=owned(owner, "t.owner"),
        newest="d.document_id",
    )


def _text(log: Rows, document_id: int) -> str:
    return str(next(log.rows("SELECT text FROM search_texts WHERE document_id = :id", id=document_id))[0])


def _lexemes(text: str) -> list[str]:
    """The words of a text, each once, as many as a ``tsvector`` can hold."""
    lexemes: list[str] = []
    left = MAX_BYTES
    for word in dict.fromkeys(words_of(text)):
        left -= len(word.encode()) + 2  # each begins at an even byte
        if left < 0:
            break
        lexemes.append(word)
    return lexemes
