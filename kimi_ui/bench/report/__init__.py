"""The report of a run: one HTML file, Markdown or JSON, all of the same summary.

text = report(summarise(run), "html", texts_of(reader, run))
"""

from __future__ import annotations

import json

from ..summary import Summary
from .markdown import markdown
from .page import body, page
from .texts import NO_TEXTS, Texts, texts_of

FORMATS = ("html", "md", "json")


def report(summary: Summary, form: str, texts: Texts = NO_TEXTS) -> str:
    """The report in one of ``FORMATS``. Only HTML shows ``texts``."""
    if form == "html":
        return page(summary, texts)
    if form == "md":
        return markdown(summary)
    return json.dumps(summary.as_dict(), ensure_ascii=False, allow_nan=False) + "\n"


__all__ = ["FORMATS", "NO_TEXTS", "Texts", "body", "page", "report", "texts_of"]
