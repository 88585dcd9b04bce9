"""``serve --log-format json``: what the server has to say as one JSON object a line on stderr, for collectors of logs.

Keys: ``time`` (UTC), ``level``, ``logger``, ``message``, the record's own ``fields`` (``extra={"fields": {…}}``), and
``error``, the type of an exception with ``where`` it was raised, innermost last. No line has text of people or models:
the message of an exception may quote it and is left out, and so are the arguments of other libraries' messages. Only
the standard library: a package for JSON logs would write those too.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

OURS = ("kimi_ui.", "py.warnings.")  # loggers whose messages are written with their arguments
MAX_CHARS = 300  # of another library's message
MAX_FRAMES = 12

log = logging.getLogger("kimi_ui")


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        is_ours = f"{record.name}.".startswith(OURS)
        message = record.getMessage() if is_ours else str(record.msg)[:MAX_CHARS]
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message.strip().partition("\n")[0],
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            kind, _, trace = record.exc_info
            line["error"] = {"type": kind.__name__, "where": _where(trace)}
        return json.dumps(line, default=str)


def _where(trace: TracebackType | None) -> list[str]:
    """Modules, lines and functions, without the folders of this machine."""
    frames = [(frame.f_globals.get("__name__", "?"), line, frame) for frame, line in traceback.walk_tb(trace)]
    return [f"{module}:{line} {frame.f_code.co_name}" for module, line, frame in frames[-MAX_FRAMES:]]


def log_as_json() -> None:
    """Write all records as JSON from now on: ours from INFO, other libraries' from WARNING; also what ends a thread."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: log.critical("The server failed.", exc_info=(kind, error, trace))
    threading.excepthook = _thread_failed


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread else "?"
    log.error("The thread %s failed.", name, exc_info=failed.exc_value)


def say(text: str) -> None:
    """What would be printed, as records: one for each line."""
    for line in text.splitlines():
        log.info("%s", line.strip())
