"""The report of a run: one HTML file, Markdown or JSON, all of the same summary.

text = report_of(reader, run, "html")
"""

from __future__ import annotations

import json

from ...log.reader import LogReader
from ..preferences import Preferences, read_preferences
from ..results import Run
from ..summary import Summary, summarise
from .markdown import markdown
from .page import body, page
from .texts import NO_TEXTS, Texts, texts_of

FORMATS = ("html", "md", "json")


def report(summary: Summary, form: str, texts: Texts = NO_TEXTS, preferred: Preferences | None = None) -> str:
    """The report in one of ``FORMATS``. Only HTML shows ``texts``. ``preferred``: what votes and judges say."""
    if form == "html":
        return page(summary, texts, preferred)
    if form == "md":
        return markdown(summary, preferred)
    found = summary.as_dict() | {"preferences": preferred.as_dict() if preferred else None}
    return json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n"


def report_of(reader: LogReader, run: Run, form: str) -> str:
    """The report of a run with what the log has on it. Raises ``LogUnreadable``."""
    texts = texts_of(reader, run) if form == "html" else NO_TEXTS
    return report(summarise(run), form, texts, read_preferences(reader, run))


__all__ = ["FORMATS", "NO_TEXTS", "Texts", "body", "page", "report", "report_of", "texts_of"]
