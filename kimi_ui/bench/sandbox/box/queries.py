"""The harness for SQL: one query on several databases. Runs inside the box; standard library only.

``request``: ``nonce``, ``query``, ``scripts`` (each makes one database) and ``steps`` (the most virtual-machine
instructions per query, in thousands). Emitted for database ``i``: ``{"i": i, "columns": […], "rows": [[values]]}`` or
``{"i": i, "error": type, "text": message, "refused": bool}``, with the nonce in each.

The query may read the tables and nothing else: the authorizer refuses whatever is not on its list, limits bound its
size, and a progress handler its time.
"""

from __future__ import annotations

import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ROWS = 10_000
READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
FUNCTIONS_REFUSED = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}


def connect(script: str, steps: int) -> tuple[sqlite3.Connection, list[str]]:
    """A database in memory made by the script, then locked, and the list of what the authorizer refused."""
    database = sqlite3.connect(":memory:")
    database.executescript(script)
    refused: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, schema: str | None, trigger: str | None) -> int:
        if action in READS and not (action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FUNCTIONS_REFUSED):
            return sqlite3.SQLITE_OK
        refused.append(f"{action} {first or ''}".strip())
        return sqlite3.SQLITE_DENY

    count = [0]

    def tick() -> int:
        count[0] += 1
        return int(count[0] > steps)

    for name, value in (
        ("LENGTH", 1_000_000),
        ("SQL_LENGTH", 20_000),
        ("EXPR_DEPTH", 200),
        ("COMPOUND_SELECT", 50),
        ("ATTACHED", 0),
        ("FUNCTION_ARG", 50),
    ):
        database.setlimit(getattr(sqlite3, "SQLITE_LIMIT_" + name), value)
    for pragma in ("trusted_schema = OFF", "query_only = ON"):
        database.execute("PRAGMA " + pragma)
    database.set_authorizer(authorize)
    database.set_progress_handler(tick, 1000)
    return database, refused


def encode(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b": value.hex()}
    return {"f": repr(value)} if isinstance(value, float) else value


def answer(request: dict[str, Any], emit: Callable[[Any], None]) -> None:
    nonce = request["nonce"]
    for i, script in enumerate(request["scripts"]):
        database, refused = connect(script, request["steps"])
        try:
            found = database.execute(request["query"])
            rows = found.fetchmany(ROWS + 1)
            if len(rows) > ROWS:
                raise OverflowError(f"more than {ROWS} rows")
            columns = [column[0] for column in found.description or ()]
            emit({"nonce": nonce, "i": i, "columns": columns, "rows": [[encode(cell) for cell in row] for row in rows]})
        except Exception as error:
            text = str(error)[:200]
            absent = text.removeprefix("no such function: ").lower() in FUNCTIONS_REFUSED  # not built into this SQLite
            denied = bool(refused) or absent
            emit({"nonce": nonce, "i": i, "error": type(error).__name__, "text": text, "refused": denied})
        finally:
            database.set_progress_handler(None, 0)
            database.close()
