"""Notations beyond CommonMark: a few HTML tags, footnotes, emphasis next to CJK text, Markdown inside a fence.

Every rule is linear in the text. Tags come from a closed list and carry no attributes, so no other markup gets through.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.fence import fence
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token

PAIRED_TAGS = ("sub", "sup", "kbd", "mark", "small", "ins", "u")
SAME_AS = {"b": "strong", "i": "em", "del": "s", "strike": "s"}  # shown as the tags that Markdown produces

_PAIRED = {**{name: name for name in PAIRED_TAGS}, "strong": "strong", "em": "em", "s": "s", **SAME_AS}
TAG_NAMES = (*_PAIRED, "br")
_TAG = re.compile(rf"<(?:(?P<br>br) ?/?|(?P<slash>/?)(?P<name>{'|'.join(_PAIRED)}))>", re.IGNORECASE)

_REFERENCE = re.compile(r"\[\^([^\s\[\]^]{1,40})\]")
_NOTE = re.compile(r"\[\^([^\s\[\]^]{1,40})\]:[ \t]+(?=\S)")

# For use in a regular expression's character class: scripts without spaces between words, and their punctuation.
CJK = "\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_CJK = re.compile(f"[{CJK}]")
_CJK_FIRST = CJK[0]

_MARKDOWN_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(?:markdown|md|mdx|gfm)\b[^`]*", re.IGNORECASE)
_INNER_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(\S[^`]*)?$")


class InlineState(StateInline):
    """CommonMark's state, except that emphasis may touch CJK text from either side.

    CommonMark opens and closes emphasis by the white space and punctuation around it, which CJK text does not have:
    ``**「重点」**内容`` stays literal. Here a CJK character beside the stars counts as punctuation where that permits
    emphasis, and as a letter where punctuation would forbid it. Text without CJK characters is read as CommonMark says.
    """

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        scanned = super().scanDelims(start, canSplitWord)
        end = start + scanned.length
        before = self.src[start - 1] if start else " "
        after = self.src[end] if end < self.posMax else " "
        if max(before, after) < _CJK_FIRST or not (_CJK.match(before) or _CJK.match(after)):
            return scanned
        after_space, before_space = isWhiteSpace(ord(before)), isWhiteSpace(ord(after))
        left = not before_space and (not _forbids(after) or after_space or _permits(before))
        right = not after_space and (not _forbids(before) or before_space or _permits(after))
        if canSplitWord:
            return Scanned(left, right, scanned.length)
        return Scanned(
            left and (not right or _permits(before)), right and (not left or _permits(after)), scanned.length
        )


def _forbids(character: str) -> bool:
    return not _CJK.match(character) and _is_punctuation(character)


def _permits(character: str) -> bool:
    return bool(_CJK.match(character)) or _is_punctuation(character)


def _is_punctuation(character: str) -> bool:
    return isMdAsciiPunct(ord(character)) or isPunctChar(character)


def unclosed_tags(text: str) -> list[str]:
    """The names of the tags of the closed list that are open at the end of a text, outermost first."""
    names: list[str] = []
    for found in _TAG.finditer(text):
        if found["slash"] and names and names[-1] == found["name"].lower():
            names.pop()
        elif found["name"] and not found["slash"]:
            names.append(found["name"].lower())
    return names


def _tag(state: StateInline, silent: bool) -> bool:
    """A tag of the closed list. An opening tag without a closing tag in the same run of text stays text."""
    found = _TAG.match(state.src, state.pos, state.posMax)
    if not found:
        return False
    name = (found["name"] or "br").lower()
    if found["br"]:
        if not silent:
            state.push("hardbreak", "br", 0)
        state.pos = found.end()
        return True
    open_tags: list[str] = state.env.setdefault("open_tags", [])
    if silent:
        return False  # look-ahead (a link's label); the text itself is parsed later
    if found["slash"]:
        if not open_tags or open_tags[-1] != name:
            return False
        open_tags.pop()
        state.push("html_pair_close", _PAIRED[name], -1)
    else:
        if _last_closing(state, name) < found.end():
            return False
        open_tags.append(name)
        state.push("html_pair_open", _PAIRED[name], 1)
    state.pos = found.end()
    return True


def _last_closing(state: StateInline, name: str) -> int:
    """The position of the last closing tag of that name, -1 if there is none. Searched once per run of text."""
    cache = state.env.setdefault("last_closing", {})
    if cache.get("src") is not state.src:
        cache.clear()
        cache["src"] = state.src
    if name not in cache:
        cache[name] = state.src.lower().rfind(f"</{name}>")
    position: int = cache[name]
    return position if position < state.posMax else -1


def close_tags(tokens: list[Token], env: MutableMapping[str, Any]) -> None:
    """Close the tags that a run of text left open, so that none extends beyond its block."""
    for name in reversed(env.pop("open_tags", [])):
        tokens.append(Token("html_pair_close", _PAIRED[name], -1))


def _reference(state: StateInline, silent: bool) -> bool:
    """``[^1]``: a number, or a label whose note is in the text so far."""
    found = _REFERENCE.match(state.src, state.pos, state.posMax)
    if not found or state.src.startswith("(", found.end()):
        return False
    if not found[1].isdecimal() and found[1] not in state.env.get("notes", ()):
        state.env.setdefault("unknown_notes", set()).add(found[1])
        return False
    if not silent:
        state.push("footnote_ref", "sup", 0).content = found[1]
    state.pos = found.end()
    return True


def _note(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """``[^1]: text`` becomes a paragraph that begins with its label. Notes stay where the model wrote them."""
    position = state.bMarks[start_line] + state.tShift[start_line]
    found = _NOTE.match(state.src, position, state.eMarks[start_line])
    if not found or state.is_code_block(start_line):
        return False
    if silent:
        return True
    line = start_line + 1
    while line < end_line and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        if _NOTE.match(state.src, state.bMarks[line] + state.tShift[line], state.eMarks[line]):
            break
        line += 1
    state.env.setdefault("notes", set()).add(found[1])
    state.push("footnote_open", "p", 1).map = [start_line, line]
    state.push("footnote_label", "sup", 0).content = found[1]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start_line, line, state.blkIndent, False).strip()[found.end() - position :]
    inline.map, inline.children = [start_line, line], []
    state.push("footnote_close", "p", -1)
    state.line = line
    return True


def _label(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<sup class="md-note">{escape(tokens[index].content)}</sup>'


def _note_label(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return _label(self, tokens, index, options, env) + " "


def _note_open(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<p class="md-footnote"{self.renderAttrs(tokens[index])}>'


def _note_close(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</p>\n"


def is_markdown_fence(line: str) -> bool:
    """Whether this opening fence holds Markdown, whose own fences do not close it."""
    return bool(_MARKDOWN_FENCE.match(line))


def _fence(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A fence of Markdown ends after all fences inside it are closed; models forget to make the outer one longer.

    Without such an end CommonMark's rule applies: the first fence without a language closes the block. While the text
    grows, the end may still come, so the block stays open.
    """
    position = state.bMarks[start_line] + state.tShift[start_line]
    opening = _MARKDOWN_FENCE.match(state.src, position, state.eMarks[start_line])
    if not opening or state.is_code_block(start_line):
        return fence(state, start_line, end_line, silent)
    # If an earlier block found no end, this one finds none either. Without this check the cost would be quadratic.
    hopeless: int = state.env.get("fence_hopeless", -1)
    line = None if start_line < hopeless else _outer_end(state, opening[1], start_line, end_line)
    closed = True
    if line is None and state.env.get("open_end"):
        line, closed = end_line, False
    if line is None:
        state.env["fence_hopeless"] = max(hopeless, end_line)
        return fence(state, start_line, end_line, silent)
    if silent:
        return True
    token = state.push("fence", "code", 0)
    token.info = state.src[position + len(opening[1]) : state.eMarks[start_line]]
    token.content = state.getLines(start_line + 1, line, state.sCount[start_line], True)
    token.markup, token.map = opening[1], [start_line, line + closed]
    state.line = line + closed
    return True


def _outer_end(state: StateBlock, markup: str, start_line: int, end_line: int) -> int | None:
    """The line of the closing fence; None if there is none."""
    inner: list[str] = []
    for line in range(start_line + 1, end_line):
        found = _INNER_FENCE.match(state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]])
        if not state.isEmpty(line) and state.sCount[line] < state.blkIndent:
            return None
        if not found:
            continue
        if found[2]:
            inner.append(found[1])
        elif inner:
            if found[1].startswith(inner[-1]):
                inner.pop()
        elif found[1].startswith(markup):
            return line
    return None


def extensions_plugin(md: MarkdownIt) -> None:
    """Add these notations to a parser, which must parse inline text with ``InlineState``."""
    md.inline.ruler.before("link", "footnote_ref", _reference)
    md.inline.ruler.before("autolink", "html_tag", _tag)
    md.block.ruler.before("reference", "footnote", _note, {"alt": ["paragraph", "reference"]})
    md.block.ruler.at("fence", _fence, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    md.add_render_rule("footnote_ref", _label)
    md.add_render_rule("footnote_label", _note_label)
    md.add_render_rule("footnote_open", _note_open)
    md.add_render_rule("footnote_close", _note_close)
