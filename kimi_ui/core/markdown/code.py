"""Code blocks: language label, copy button, Pygments highlighting by CSS classes, and the stylesheet for these.

The text is hostile and lexers are regexes: ten thousand lines ``a`` take Pygments' C# lexer 68 s, blank lines take its
C, Java and Python lexers 4 to 14 s. So highlighting is limited to common languages (``LANGUAGES``), to a size, and to a
budget of this thread's CPU time; the rest is shown plain. This is the only clock in ``core``: it decides about colours,
never about text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from html import escape
from io import StringIO
from time import thread_time
from typing import Any

from pygments.formatters.html import HtmlFormatter
from pygments.lexer import RegexLexer
from pygments.lexers import get_lexer_by_name
from pygments.styles import get_style_by_name
from pygments.token import Error, Text, Token

MAX_HIGHLIGHT_CHARS = 20_000
MAX_HIGHLIGHT_LINE_CHARS = 1_000  # a single match cannot be interrupted, and most end with the line
SECTION_LINES = 100  # of a long block: a browser lays out only the sections in sight
BUDGET_S, BUDGET_PER_CHAR_S = 0.005, 10e-6  # ordinary code takes 1 to 3 µs a character

LANGUAGES = frozenset(
    """
    awk bash bat c c++ clojure cmake console cpp cs csharp css dart diff docker dockerfile elixir erlang fish fortran
    fsharp go golang graphql groovy haskell hcl hs html http ini java javascript jl js json json5 jsx julia kotlin
    latex less lisp lua make makefile mysql nginx nix objc objective-c ocaml perl php pl plpgsql postgres postgresql
    powershell proto protobuf ps1 py py3 pycon python python3 r rb ruby rs rust sass scala scheme scss sh shell
    shell-session sql sqlite3 swift terraform tex toml ts tsx typescript vim vue xml yaml yml zig zsh
    """.split()  # noqa: SIM905
)
LIGHT, DARK = "xcode", "one-dark"  # all their colours have a contrast of at least 4.5 on the backgrounds below
LIGHT_BACKGROUND, DARK_BACKGROUND = "#f6f8fa", "#0d1117"

_LABEL = re.compile(r"[\w+#.-]{1,24}")


def language_of(info: str) -> str:
    """The language in a fence's info string: its first word, also ``python`` for ``{.python}``. Empty if none."""
    match = _LABEL.search(info.split(maxsplit=1)[0].lstrip("{.")) if info.strip() else None
    return match[0] if match else ""


@lru_cache(maxsize=128)
def _highlighted(code: str, language: str) -> str:
    """Lexing starts again if Pygments compiled tables meanwhile (of languages in HTML): which used up budget."""
    lexer = get_lexer_by_name(language)
    tokens: list[tuple[Any, str]] = []
    rest, n_compiled = code, -1
    while rest and n_compiled < _n_compiled():
        n_compiled = _n_compiled()
        tokens, rest = _lexed(lexer, code)
    tokens.append((Text, rest))
    if "".join(value for _, value in tokens) != code:
        return escape(code)  # a lexer that loses or reorders text
    html = StringIO()
    HtmlFormatter(nowrap=True, classprefix="hl-").format(tokens, html)
    return html.getvalue()


def _lexed(lexer: Any, code: str) -> tuple[list[tuple[Any, str]], str]:
    """The tokens read within the budget, and the rest of the text."""
    tokens: list[tuple[Any, str]] = []
    done, deadline = 0, thread_time() + BUDGET_S + BUDGET_PER_CHAR_S * len(code)
    for _, kind, value in lexer.get_tokens_unprocessed(code):
        tokens.append((kind, value))
        done += len(value)
        if thread_time() > deadline:
            break
    return tokens, code[done:]


def _n_compiled() -> int:
    """How many of Pygments' lexers have compiled their tables, which takes 6 to 30 ms at a lexer's first use."""
    n, lexers = 0, [RegexLexer]
    while lexers:
        lexer = lexers.pop()
        n += "_tokens" in vars(lexer)
        lexers += lexer.__subclasses__()
    return n


def code_html(code: str, info: str, final: bool = True, mark: Callable[[str], str] | None = None) -> str:
    """A code block as HTML. ``final`` False: the block is still growing, so it is neither highlighted nor cached.

    ``mark`` adds elements to the HTML of the code itself (``marks``)."""
    language = language_of(info)
    known = language.lower() if language.lower() in LANGUAGES else ""
    small = len(code) <= MAX_HIGHLIGHT_CHARS and all(len(line) <= MAX_HIGHLIGHT_LINE_CHARS for line in code.split("\n"))
    plain = escape if mark else _plain  # marks belong to whole lines of one piece
    body = _highlighted(code, known) if final and known and small else plain(code)
    body = mark(body) if mark else body
    return (
        f'<div class="md-code"><div class="md-code-head"><span class="md-language">{escape(language) or "text"}</span>'
        '<button class="md-copy" type="button" aria-label="Copy code">Copy</button></div>'
        f'<pre tabindex="0"><code class="md-source">{body}</code></pre></div>\n'
    )


def _plain(code: str) -> str:
    """The code without colours, a long one in sections; ``assets/lane/markdown.js`` goes on with the last."""
    lines = escape(code).splitlines(keepends=True)
    if len(lines) <= 2 * SECTION_LINES:
        return "".join(lines)
    starts = range(0, len(lines), SECTION_LINES)
    return "".join(f'<span class="md-lines">{"".join(lines[at : at + SECTION_LINES])}</span>' for at in starts)


def highlight_css() -> str:
    """The stylesheet for ``hl-…`` classes, light and dark (``.dark`` on an ancestor, as Gradio sets it).

    The page serves it as ``assets/lane/highlight.css``; a test compares the file with this.
    """
    parts = ["/* Generated from Pygments by kimi_ui/core/markdown/code.py: do not edit. */"]
    for name, background, prefix in ((LIGHT, LIGHT_BACKGROUND, ""), (DARK, DARK_BACKGROUND, ".dark ")):
        parts.append(f"{prefix}.md-code {{ background: {background}; color: {_text_colour(name)}; }}")
        formatter: HtmlFormatter[str] = HtmlFormatter(style=name, classprefix="hl-", nobackground=True)
        for line in formatter.get_token_style_defs(f"{prefix}.md-code"):
            if ".hl-err " not in line:  # a lexer's "error" is often a half-written line
                parts.append(line)
    return "\n".join(parts) + "\n"


def _text_colour(style: str) -> str:
    colour = get_style_by_name(style).style_for_token(Token)["color"]
    return f"#{colour}" if colour else "#1f2328"


def colours(style: str) -> set[str]:
    """All text colours (six hex digits) of a style, except for the error token, which the stylesheet drops."""
    return {values["color"] for token, values in get_style_by_name(style) if values["color"] and token is not Error}
