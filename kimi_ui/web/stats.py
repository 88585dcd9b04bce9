"""The downloads of the Stats tab: its attempts as CSV or JSON lines, the log as SQLite."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ..log.reader import LogReader
from ..stats.export import csv_lines, json_lines
from ..stats.form import Form
from ..stats.sample import Filters
from .visitor import scope_of, visitor_of


class StatsRoutes:
    """Downloads over one log. ``private``: visitors get only their own attempts and conversations; an admin gets
    everybody's attempts, without their texts."""

    def __init__(self, reader: LogReader, private: bool = False) -> None:
        self._reader = reader
        self._private = private

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/kimi/stats/attempts.csv", self.csv),
            Route("/kimi/stats/attempts.jsonl", self.jsonl),
            Route("/kimi/stats/log.sqlite3", self.sqlite),
        ]

    async def csv(self, request: Request) -> Response:
        filters, viewer = self._filters(request), visitor_of(request)

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(csv_lines(self._reader, filters, viewer))

        return await _download("kimi-attempts.csv", "text/csv; charset=utf-8", write)

    async def jsonl(self, request: Request) -> Response:
        filters, viewer = self._filters(request), visitor_of(request)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                file.writelines(json_lines(self._reader, filters, viewer))

        return await _download("kimi-attempts.jsonl", "application/jsonl", write)

    async def sqlite(self, request: Request) -> Response:
        owner = visitor_of(request) if self._private else None
        return await _download(
            "kimi-log.sqlite3", "application/vnd.sqlite3", lambda path: self._reader.copy(path, owner)
        )

    def _filters(self, request: Request) -> Filters:
        return Form.of_query(request.query_params.multi_items()).filters(scope_of(request, self._private))


async def _download(name: str, media_type: str, write: Callable[[Path], None]) -> Response:
    """Write the file to a directory that only this user can read, send it, remove it."""
    folder = Path(tempfile.mkdtemp(prefix="kimi-ui-"))
    try:
        await run_in_threadpool(write, folder / name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    headers = {"Cache-Control": "no-store"}
    return _Sent(folder / name, media_type=media_type, filename=name, headers=headers)


class _Sent(FileResponse):
    """A file whose folder is removed as soon as it is sent or cannot be sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)
