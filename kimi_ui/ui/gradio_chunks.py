"""The list of Gradio's scripts and sheets that the page loads, so that browsers can preload all of them at once.

Gradio's frontend discovers them in steps: its entry names the next scripts, these name the components', and each step
waits for the previous one. Its bundler (Vite) puts the names in tables, which this module reads. If a new Gradio
changes the form, nothing is found and the page loads without preloading; ``tests/test_page_files.py`` notices.
"""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr

ASSETS = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
_LOADED_AS = {"api": "state"}
_ENTRY = re.compile(r'src="\./assets/(index-[\w-]+\.js)"')
_TABLE = re.compile(r"\.f=\[([^\]]*)\]")
_IMPORT = r"import\(`\./([\w.-]+)`\).{0,60}?__vite__mapDeps\(\[([\d,]*)\]"


def chunks_of(blocks: gr.Blocks) -> list[str]:
    """The files in Gradio's ``assets/`` that these Blocks load at first, without duplicates."""
    entry = _ENTRY.search((ASSETS.parent / "index.html").read_text(encoding="utf-8"))
    if entry is None:
        return []
    first = _table(_text(entry[1]))
    start, core = (next((name for name in first if re.fullmatch(kind, name)), "") for kind in (r"I.*\.js", r"co.*\.js"))
    found = [entry[1], *first, *_loaded(_text(start), "")]
    shown = (one for one in blocks.config["components"] if one["props"].get("visible") is not False)
    for component in sorted({_LOADED_AS.get(one["type"], one["type"]) for one in shown}):
        found += _loaded(_text(core), rf"\b{component}:\{{.{{0,600}}?component:.{{0,20}}?")
    return [name for name in dict.fromkeys(found) if (ASSETS / name).is_file()]


def _text(name: str) -> str:
    path = ASSETS / name
    return path.read_text(encoding="utf-8") if name and path.is_file() else ""


def _table(text: str) -> list[str]:
    """The table of files that a script's imports depend on."""
    table = _TABLE.search(text)
    return re.findall(r'"\./([^"]+)"', table[1]) if table else []


def _loaded(text: str, before: str) -> list[str]:
    """The files loaded by the first import after the pattern ``before``: a script and its dependencies."""
    table, found = _table(text), re.search(before + _IMPORT, text)
    if found is None:
        return []
    return [found[1], *(table[int(place)] for place in found[2].split(",") if place and int(place) < len(table))]
