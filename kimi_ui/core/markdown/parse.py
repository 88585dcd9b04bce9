"""The Markdown dialect of answers: CommonMark without raw HTML, with tables, ~~strike~~, task lists, bare URLs, math
and what ``extensions`` adds.

Images become links (nothing is ever fetched), links go to http, https and mailto only, headings start at level 3 (the
page uses 1 and 2), alignment is a class. ``parse`` returns tokens, ``render_tokens`` allow-listed HTML; both take an
``env``, where markdown-it keeps link reference definitions. ``env["open_end"]`` is true while the text grows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml, mdTrim
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from .code import code_html
from .extensions import InlineState, close_tags, extensions_plugin
from .maths import math_plugin
from .safe import LINK, sanitize

MAX_NESTING = 60  # levels of blockquotes and lists (two each); the parser drops deeper content
MAX_INLINE_CHARS = 50_000  # a longer paragraph or cell is shown as plain text, without emphasis and links
MAX_BRACKET_WORK = 20_000_000  # number of "[" × characters: each "[" is scanned to the end of the text (0.05 s)

_SCHEME = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_URL = re.compile(r"://[^\s<>\"`|\\^{}、。，；：！？（）【】《》「」]+")
_PROTOCOL = re.compile(r"(?<![A-Za-z0-9+.:-])https?$", re.IGNORECASE)
_PAIRS = {")": "(", "]": "["}
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_TASK = re.compile(r"\[([ xX])\]\s+")

_PARAGRAPH = re.compile(r" {0,3}[^\W\d_][^\n]*\n*")  # one line; what begins with a letter is no other block

# The characters that an inline rule can begin at; ``text`` takes what no other rule does.
BEGINNINGS = {
    "newline": "\n",
    "math": "$\\",
    "escape": "\\",
    "backticks": "`",
    "strikethrough": "~",
    "emphasis": "*_",
    "footnote_ref": "[",
    "link": "[",
    "image": "!",
    "html_tag": "<",
    "autolink": "<",
    "entity": "&",
    "bare_url": ":",
}


def _valid_link(url: str) -> bool:
    """Accept allowed schemes and relative URLs (shown as text without a target); others stay Markdown source."""
    return bool(LINK.match(url)) or not _SCHEME.match(url)


def _bare_url(state: StateInline, silent: bool) -> bool:
    """``https://…`` in running text. Called at every ``:``. Excludes final punctuation and unmatched brackets."""
    if silent or state.linkLevel > 0 or not state.src.startswith("://", state.pos):
        return False
    protocol = _PROTOCOL.search(state.pending[-12:])
    rest = _URL.match(state.src, state.pos, min(state.posMax, state.pos + 2_000))
    if not protocol or not rest:
        return False
    url = protocol[0] + rest[0]
    while url[-1] in ".,;:!?'*_~" or (url[-1] in _PAIRS and url.count(url[-1]) > url.count(_PAIRS[url[-1]])):
        url = url[:-1]
    href = state.md.normalizeLink(url)
    if len(url) <= len(protocol[0]) + 3 or not LINK.match(href):
        return False
    state.pending = state.pending[: -len(protocol[0])]
    state.push("link_open", "a", 1).attrs = {"href": href}
    state.push("text", "", 0).content = url
    state.push("link_close", "a", -1)
    state.pos += len(url) - len(protocol[0])
    return True


def _task_lists(state: StateCore) -> None:
    for item, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type != "list_item_open" or paragraph.type != "paragraph_open" or not inline.children:
            continue
        first, mark = inline.children[0], _TASK.match(inline.content)
        if mark and first.type == "text" and first.content.startswith(mark[0].rstrip()):
            first.content = first.content[len(mark[0].rstrip()) :].lstrip()
            item.attrSet("class", "md-task")
            inline.children.insert(0, Token("text", "", 0, content="☐ " if mark[1] == " " else "☑ "))


def _direction(state: StateCore) -> None:
    """Give a top-level block with right-to-left text ``dir="auto"``, so that markers, bars and columns follow the text.

    Blocks inside it get none, because HTML ignores elements with a ``dir`` when it determines an outer direction.
    """
    opening: Token | None = None
    for token in state.tokens:
        if token.level == 0 and token.nesting > 0:
            opening = token
        elif opening and token.type == "inline" and _RIGHT_TO_LEFT.search(token.content):
            opening.attrSet("dir", "auto")


def _presentation(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs = {"class": "md-" + str(token.attrs["style"]).removeprefix("text-align:")}


def _inline(state: StateCore) -> None:
    """markdown-it's ``inline`` rule with a limit on the cost of one run of text."""
    for token in state.tokens:
        if token.type == "inline":
            token.children = []
            work = token.content.count("[") * len(token.content)
            if len(token.content) > MAX_INLINE_CHARS or work > MAX_BRACKET_WORK:
                token.children.append(Token("text", "", 0, content=token.content))
            else:
                _parse_inline(state, token.content, token.children)


def _parse_inline(state: StateCore, text: str, children: list[Token]) -> None:
    """``ParserInline.parse`` with ``InlineState``."""
    inline = InlineState(text, state.md, state.env, children)
    state.md.inline.tokenize(inline)
    for rule in state.md.inline.ruler2.getRules(""):
        rule(inline)
    close_tags(children, state.env)


def _tokenizer(md: MarkdownIt) -> Callable[[StateInline], None]:
    """``ParserInline.tokenize`` for this parser. It tries at each character only the rules that can begin there."""
    rules = dict(zip(md.inline.ruler.get_active_rules(), md.inline.ruler.getRules(""), strict=True))
    del rules["text"]
    rules_at = {
        character: [rule for name, rule in rules.items() if character in BEGINNINGS[name]]
        for character in "".join(BEGINNINGS.values())
    }
    begins = re.compile(f"[{re.escape(''.join(rules_at))}]")
    most_levels = md.options.maxNesting

    def tokenize(state: StateInline) -> None:
        text, end = state.src, state.posMax
        while (at := state.pos) < end:
            if (here := rules_at.get(text[at])) is None:
                found = begins.search(text, at, end)
                state.pos = found.start() if found else end
                state.append_pending(text[at : state.pos])
                continue
            if state.level < most_levels:
                for rule in here:
                    if rule(state, False):
                        break
            if state.pos == at:
                state.append_pending(text[at])
                state.pos = at + 1
        if state.pending:
            state.pushPending()

    return tokenize


def _link_open(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    env["in_link"] = True
    href = str(tokens[index].attrs.get("href", ""))
    return f'<a href="{escapeHtml(href)}">' if LINK.match(href) else "<a>"


def _link_close(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    env["in_link"] = False
    return "</a>"


def _image(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    source = str(token.attrs.get("src", ""))
    alternative = self.renderInlineAsText(token.children or [], options, env)
    label = f'<span class="md-image">{escapeHtml(alternative or "image")}</span>'
    return f'<a href="{escapeHtml(source)}">{label}</a>' if LINK.match(source) and not env.get("in_link") else label


def _fence(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    growing = bool(env.get("open_end")) and token.map is not None and token.map[1] >= env["n_lines"]
    return code_html(token.content, token.info, final=not growing, mark=token.meta.get("mark"))


def _table_open(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<div class="md-table" tabindex="0"{self.renderAttrs(tokens[index])}><table>\n'


def _table_close(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _make_parser() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    md.disable(["html_block", "html_inline"])
    md.core.ruler.disable(["normalize", "block"])  # ``clean_text`` and ``parse_blocks`` do that
    md.validateLink = _valid_link  # type: ignore[method-assign]
    math_plugin(md)
    extensions_plugin(md)
    md.inline.ruler.push("bare_url", _bare_url)
    md.inline.tokenize = _tokenizer(md)  # type: ignore[assignment, method-assign]
    md.core.ruler.at("inline", _inline)
    md.core.ruler.push("task_lists", _task_lists)
    md.core.ruler.push("direction", _direction)
    md.core.ruler.push("presentation", _presentation)
    for name, rule in {
        "link_open": _link_open,
        "link_close": _link_close,
        "image": _image,
        "fence": _fence,
        "code_block": _fence,
        "table_open": _table_open,
        "table_close": _table_close,
    }.items():
        md.add_render_rule(name, rule)
    return md


_MD = _make_parser()  # stateless: a text's state is in ``env`` and the tokens


def parse(text: str, env: dict[str, Any]) -> list[Token]:
    """Tokens of cleaned text (``safe.clean_text``); top-level blocks have level 0 and a ``map`` of line numbers."""
    tokens = parse_blocks(text, env)
    parse_inlines(tokens, env)
    return tokens


def parse_blocks(text: str, env: dict[str, Any]) -> list[Token]:
    """The same without their running text, which ``parse_inlines`` parses in those that are to be rendered."""
    env["n_lines"] = text.count("\n") + (not text.endswith("\n"))
    if _PARAGRAPH.fullmatch(text):
        return _paragraph(text)
    tokens: list[Token] = []
    _MD.block.parse(text, _MD, env, tokens)
    return tokens


def _paragraph(text: str) -> list[Token]:
    """What the block parser returns for a paragraph of one line, which the open end of an answer often is."""
    inline = Token("inline", "", 0, map=[0, 1], level=1, children=[], content=mdTrim(text), block=True)
    opening = Token("paragraph_open", "p", 1, map=[0, 1], block=True)
    return [opening, inline, Token("paragraph_close", "p", -1, block=True)]


def parse_inlines(tokens: list[Token], env: dict[str, Any]) -> None:
    """Parse the running text of whole blocks, in place."""
    state = StateCore("", _MD, env)
    state.tokens = tokens
    for rule in _MD.core.ruler.getRules(""):
        rule(state)


def render_tokens(tokens: Sequence[Token], env: dict[str, Any]) -> str:
    """Allow-listed HTML of whole blocks."""
    return sanitize(str(_MD.renderer.render(tokens, _MD.options, env)))
