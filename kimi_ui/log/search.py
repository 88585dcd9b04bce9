"""Full-text search over a user's conversations: prompts, answers, reasoning and titles, newest first.

Words match whole words; the last one matches as a prefix (from three letters on), so results can follow the typing.
"Quoted words" must be adjacent. The query is plain text without syntax and never raises. Scripts without spaces
(Chinese, Japanese, Thai …) have no word boundaries that the index knows, so the texts themselves are searched. The
lanes' texts of a blind turn are not found before its vote.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from .documents import NO_SPACES, all_like
from .reader import LogReader
from .store import Rows, owned

MAX_QUERY_CHARS = 200
MAX_TERMS = 12
SNIPPET_CHARS = 130

_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')


class Piece(NamedTuple):
    """A part of a snippet; ``hit``: it matches the query."""

    text: str
    hit: bool


class Match(NamedTuple):
    """A matching conversation with its newest match. ``part``: title | prompt | answer | reasoning.

    ``turn_id`` is empty for a title. The rest is as in ``Found``.
    """

    conversation_id: str
    title: str
    part: str
    snippet: tuple[Piece, ...]
    turn_id: str = ""
    lane: str = ""
    label: str = ""
    attempt: int = 0
    n_attempts: int = 0
    trajectory: int | None = None


def terms_of(text: str) -> list[str]:
    """The words and quoted phrases of the query, without those that have no letter or digit."""
    found = (quoted or plain for quoted, plain in _TERM.findall(text[:MAX_QUERY_CHARS].replace("\0", " ")))
    return [term for term in found if any(char.isalnum() for char in term)][:MAX_TERMS]


def search(reader: LogReader, owner: str, text: str, limit: int = 30) -> list[Match]:
    """The owner's conversations that hold all terms in one text or in their title; empty for a text without terms."""
    terms = [term.encode(errors="replace").decode() for term in terms_of(text)]
    if not terms:
        return []
    by_words = not any(NO_SPACES.search(term) for term in terms)
    marks = [_words(term) if by_words else re.escape(term) for term in terms]
    matches: dict[str, Match] = {}
    with reader.snapshot() as log:
        documents = log.documents
        for conversation_id, title in _in_titles(log, owner, documents.like, terms, limit):
            snippet = _marked(title, [re.escape(term) for term in terms])
            matches[conversation_id] = Match(conversation_id, title, "title", snippet)
        find = documents.by_words if by_words else documents.by_texts
        for id, title, part, turn_id, lane, label, attempt, n, trajectory, text in find(log, owner, terms, limit):
            snippet = _marked(text, marks)
            matches.setdefault(id, Match(id, title, part, snippet, turn_id, lane, label, attempt, n, trajectory))
    return list(matches.values())[:limit]


def _in_titles(log: Rows, owner: str, like: str, terms: list[str], limit: int) -> Iterator[tuple[Any, ...]]:
    condition, values = all_like("title", like, terms)
    query = f"""
        SELECT conversation_id, title FROM conversations c
        WHERE {owned(owner)} AND {condition} AND deleted_at_utc IS NULL
          AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.conversation_id AND t.kind <> 'chat')
        ORDER BY created_at_utc DESC LIMIT :limit
    """
    return log.rows(query, owner=owner, limit=limit, **values)


def _words(term: str) -> str:
    """A pattern for a term as the index matches it: its words in a row, starting at a word boundary."""
    words = re.findall(r"[^\W_]+", _plain(term))
    return r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, words)) + r"[^\W_]*" if words else r"(?!)"


def _marked(text: str, patterns: list[str]) -> tuple[Piece, ...]:
    """The text around the first match in ``text``, split at its matches. Accents are ignored."""
    pattern = re.compile("|".join(patterns), re.IGNORECASE)
    plain = text if pattern.search(text) else _plain(text)
    first = pattern.search(plain)
    start = max(0, first.start() - SNIPPET_CHARS // 3) if first else 0
    start = plain.rfind(" ", max(0, start - SNIPPET_CHARS // 6), start) + 1 or start
    end = start + SNIPPET_CHARS
    pieces = [Piece("…", False)] if start else []
    position = start
    for found in pattern.finditer(plain, start, end):
        pieces.append(Piece(_one_line(text[position : found.start()]), False))
        pieces.append(Piece(_one_line(text[found.start() : found.end()]), True))
        position = found.end()
    rest = _one_line(text[position:end])
    pieces.append(Piece(rest.rstrip() + "…" if end < len(text) else rest, False))
    return tuple(piece for piece in pieces if piece.text)


def _plain(text: str) -> str:
    """The text without accents; the positions of its characters stay the same."""
    if text.isascii():
        return text
    return "".join(char if char.isascii() else _base(char) for char in text)


def _base(char: str) -> str:
    parts = unicodedata.normalize("NFD", char)
    return parts[0] if all(unicodedata.combining(mark) for mark in parts[1:]) else char


def _one_line(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text)
