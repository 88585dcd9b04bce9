"""The report of a run: one HTML file, Markdown or JSON, all of the same summary.

text = report(summarise(run), "html", texts_of(reader, run), read_preferences(reader, run))
"""

from __future__ import annotations

import json

from ..preferences import Preferences
from ..summary import Summary
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


__all__ = ["FORMATS", "NO_TEXTS", "Texts", "body", "page", "report", "texts_of"]
