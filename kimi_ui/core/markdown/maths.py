"""Formulas in Markdown: where they begin and end. ``latex`` converts them.

Notations: ``$…$``, ``$$…$$``, ``\\(…\\)``, ``\\[…\\]`` and display environments (``\\begin{align}``). Dollars follow
Pandoc's rule (no space inside the dollars, no digit after the closing one) and a check for prices, so that "$5 and $10"
stays text. A formula may touch CJK text, which has no spaces. Display math may span lines, but not blank lines. A
formula that cannot be converted is shown as source. All scans are linear in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from .extensions import CJK
from .latex import to_mathml
from .safe import sanitize

MAX_DISPLAY_LINES = 200
# A formula within a line of plain text. Linear: no part of it can match in two ways.
FORMULA = re.compile(r"\$(?=\S)([^$\n]{1,400})(?<=\S)\$(?!\d)|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]")

_NAMES = ("align", "alignat", "equation", "gather", "multline", "eqnarray", "flalign")
_ENVIRONMENTS = [name + star for name in _NAMES for star in ("", "*")]
_ENDS = {f"\\begin{{{name}}}": f"\\end{{{name}}}" for name in _ENVIRONMENTS}
_CLOSER = {"$$": "$$", "\\[": "\\]", "\\(": "\\)", "$": "$", **_ENDS}
_BLOCK_OPENER = re.compile("|".join(map(re.escape, ("$$", "\\[", *_ENDS))))
_CLOSING = {
    "$": re.compile(r"(?<![\s\\$])\$(?![\d$])"),
    "$$": re.compile(r"(?<!\\)\$\$"),
    "\\)": re.compile(r"(?<!\\)\\\)"),
    "\\]": re.compile(r"(?<!\\)\\\]"),
    **{end: re.compile(re.escape(end)) for end in _ENDS.values()},
}
_TEXT_COMMAND = re.compile(r"\\[A-Za-z]+\s*\{[^{}]*\}|\\[A-Za-z]+")
_PRICE = re.compile(rf"[\d,.]+\s*(?:[kKmMbB%+]|bn)?(?=[\s,;:.)/–—~-]|[{CJK}]|$)")
_WORD = re.compile(rf"\s[A-Za-z]{{2,}}|[{CJK}]{{2,}}")
_JOINS = re.compile(rf"[^\W{CJK}]")  # after a letter or digit, a dollar opens no formula


def looks_like_price(latex: str) -> bool:
    """True for text between the dollar signs of two prices, such as "5 for tea, "."""
    return bool(_PRICE.match(latex)) and bool(_WORD.search(_TEXT_COMMAND.sub("", latex)))


def text_with_formulas(text: str) -> str | None:
    """Plain text of one line as sanitized HTML, its formulas as MathML; None if there is none that can be converted."""
    parts, at, converted = [], 0, False
    for match in FORMULA.finditer(text):
        latex = next(filter(None, match.groups()))
        mathml = None if looks_like_price(latex) else to_mathml(latex, display=False)
        converted |= mathml is not None
        parts += [escape(text[at : match.start()]), mathml or escape(match[0])]
        at = match.end()
    return sanitize("".join([*parts, escape(text[at:])])) if converted else None


def _next_closer(state: StateInline, closer: str, start: int) -> int:
    """Position of the first ``closer`` at or after ``start``, -1 if none. Cached, so that many openers stay cheap."""
    cache = state.env.setdefault("math_closers", {})
    if cache.get("src") is not state.src:
        cache.clear()
        cache["src"] = state.src
    if closer not in cache:
        cache[closer] = [match.start() for match in _CLOSING[closer].finditer(state.src)]
    positions: list[int] = cache[closer]
    index = bisect_left(positions, start)
    return positions[index] if index < len(positions) and positions[index] + len(closer) <= state.posMax else -1


def _inline(state: StateInline, silent: bool) -> bool:
    opener = state.src[state.pos : state.pos + 2]
    if opener[:1] == "$" and opener != "$$":
        opener = "$"
    if opener not in _CLOSER:
        return False
    start = state.pos + len(opener)
    before = state.src[state.pos - 1] if state.pos else " "
    if opener == "$" and (_JOINS.match(before) or state.src[start : start + 1].isspace()):
        return False
    end = _next_closer(state, _CLOSER[opener], start + 1)
    if end < 0:
        return False
    latex = state.src[start:end]
    if not latex.strip() or (opener == "$" and looks_like_price(latex)):
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content, token.markup = latex, opener
        token.meta = {"display": opener in ("$$", "\\[")}
    state.pos = end + len(_CLOSER[opener])
    return True


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    position = state.bMarks[start_line] + state.tShift[start_line]
    found = _BLOCK_OPENER.match(state.src, position)
    if not found or state.is_code_block(start_line):
        return False
    opener = found[0]
    closer = _CLOSER[opener]
    # If an earlier search for this closer failed, this one fails too. Without this check the cost would be quadratic.
    hopeless: dict[str, int] = state.env.setdefault("math_hopeless", {})
    if start_line < hopeless.get(closer, 0):
        return False
    lines: list[str] = []
    line = start_line
    while line < min(end_line, start_line + MAX_DISPLAY_LINES) and not state.isEmpty(line):
        if state.sCount[line] < state.blkIndent:
            break
        text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
        text = text[len(opener) :] if line == start_line else text
        closing = _CLOSING[closer].search(text)
        if closing:
            if text[closing.end() :].strip(" \t.,;"):
                break  # text follows on the line, so this is inline math at the start of a line
            lines.append(text[: closing.start()])
            return _push_block(state, start_line, line + 1, "\n".join(lines), opener, silent)
        lines.append(text)
        line += 1
    else:
        if state.env.get("open_end") and line >= state.lineMax:
            return _push_block(state, start_line, line, "\n".join(lines), opener, silent, unclosed=True)
    hopeless[closer] = line
    return False


def _push_block(
    state: StateBlock, start: int, end: int, latex: str, opener: str, silent: bool, unclosed: bool = False
) -> bool:
    if not silent:
        token = state.push("math_block", "math", 0)
        token.content, token.markup, token.map = latex, opener, [start, end]
        token.meta = {"unclosed": unclosed}
        state.line = end
    return True


def _render_inline(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    display = token.meta["display"]
    mathml = to_mathml(token.content.strip(), display)
    if mathml is None:
        return f'<code class="md-latex">{escape(token.markup + token.content + _CLOSER[token.markup])}</code>'
    return f'<span class="md-math{" md-display" if display else ""}">{mathml}</span>'


def _render_block(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    unclosed = token.meta["unclosed"]
    source = token.markup + token.content + ("" if unclosed else _CLOSER[token.markup])
    latex = source if token.markup in _ENDS else token.content
    mathml = None if unclosed else to_mathml(latex.strip(), True)
    if mathml is None:
        return f'<p><code class="md-latex">{escape(source)}</code></p>\n'
    return f'<div class="md-math md-display">{mathml}</div>\n'


def math_plugin(md: MarkdownIt) -> None:
    """Add these notations to a parser. The inline rule precedes ``escape``, which would consume ``\\(``."""
    md.inline.ruler.before("escape", "math", _inline)
    md.block.ruler.before("fence", "math", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    md.add_render_rule("math_inline", _render_inline)
    md.add_render_rule("math_block", _render_block)
