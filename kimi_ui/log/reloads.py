"""Which models a server unloaded to load another, as attempts have recorded it (the flag ``reloaded``)."""

from __future__ import annotations

import orjson

from .reader import LogReader

NEWEST = 200  # attempts


def unloaded_pairs(reader: LogReader) -> set[tuple[str, str]]:
    """Names of the unloaded model and of the one that was loaded. Raises ``LogError``."""
    query = """
        SELECT flags FROM attempts WHERE flags LIKE '%"reloaded":%'
        ORDER BY started_at_utc DESC, attempt_id LIMIT :newest
    """
    details = [orjson.loads(flags)["reloaded"].split(" ") for (flags,) in reader.rows(query, newest=NEWEST)]
    return {(gone, loaded) for loaded, _, *names in details for gone in names}
