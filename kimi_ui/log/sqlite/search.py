"""Full-text search in SQLite: by the index (FTS5), or through the texts themselves.

Its tables and triggers are in ``search_index``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..documents import DOCUMENTS, Found, all_like, is_prefix, newest_of_each
from ..store import Rows, owned


class Documents:
    """``documents.Documents`` over FTS5."""

    like = "LIKE"

    def by_words(self, log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
        match = " ".join('"' + term.replace('"', '""') + '"' for term in terms)
        if is_prefix(terms[-1]):
            match += " *"
        query = DOCUMENTS.format(
            text="d.document_id",
            source="search s CROSS JOIN search_documents d ON d.document_id = s.rowid",
            condition="search MATCH :match",
            owned=owned(owner, "t.owner"),
            newest="s.rowid",  # as the index yields them: no sort
        )
        for row in newest_of_each(log.rows(query, match=match, owner=owner), limit):
            # Not FTS5's snippet(): it would look the words up in the whole index again, for every row.
            (text,) = next(log.rows("SELECT text FROM search_texts WHERE document_id = :id", id=row[-1]))
            yield Found._make((*row[:-1], text))

    def by_texts(self, log: Rows, owner: str, terms: list[str], limit: int) -> Iterator[Found]:
        condition, values = all_like("d.text", self.like, terms)
        query = DOCUMENTS.format(
            text="d.text",
            source="search_texts d",
            condition=condition,
            owned=owned(owner, "t.owner"),
            newest="d.document_id",
        )
        yield from (Found._make(row) for row in newest_of_each(log.rows(query, owner=owner, **values), limit))
