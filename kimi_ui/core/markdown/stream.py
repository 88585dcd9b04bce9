"""StreamingMarkdown: a growing text as finished blocks, rendered once, and a short open tail, rendered repeatedly.

The text so far decides which blocks are finished, regardless of how it was cut into pieces; a frame may report a block
late (see ``GROWTH``), but never differently. Only references across blocks can differ from ``render`` of the whole:
a link whose ``[label]: url`` came later. ``frame(final=True)`` then returns the whole.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from markdown_it.token import Token

from .extensions import TAG_NAMES, is_markdown_fence, unclosed_tags
from .parse import parse, parse_blocks, parse_inlines, render_tokens
from .safe import clean_text

# The tail is rendered again once it has grown by 1/64; until then new text is appended as plain text. So each character
# is rendered about 64 times at most, whatever the length of its block, and less often in extremely long blocks.
# Measured (tests/benchmarks/markdown_cost.py, 30 frames/s): 46 µs a token for a 20,000-token answer of mixed Markdown;
# rendering the whole answer for each frame costs 8,750 µs.
GROWTH = 64
LONG_TAIL_CHARS, LONG_TAIL_GROWTH = 30_000, 4

# Words that continue a paragraph's running text are all the difference there would be to its HTML, so they are appended
# however many they are, up to the end of their line: half of the frames of an answer need no rendering. Left out are
# the characters that may begin or end markup, such as a parenthesis that ends a link, and scripts that set the
# direction of a block.
_LETTERS = "A-Za-z0-9\u00c0-\u052f\u3040-\u30ff\u3400-\u9fff"
_WORDS = rf"[{_LETTERS} ,.;'\"!?@%/\u2010-\u201d\u2026\u3001-\u3011\uff01-\uff1f-]*"
_PROSE = re.compile(rf"{_WORDS}(?:(?::(?=\s)|\({_WORDS}\)){_WORDS})*")
_REST_OF_LINE = re.compile(rf"{_PROSE.pattern}\n*")
_NEXT_WORD = re.compile(rf" [{_LETTERS}]{_REST_OF_LINE.pattern}")  # behind strong emphasis or code

_FENCE = re.compile(r"(`{3,}+|~{3,}+)[^\n]*+\n")
MAX_HELD_CHARS = 2_000  # a longer row is shown, although it may belong to a table
_MARKS = re.compile(r"[ \t]*(?:[-+*=_~`#>|: \t]{1,80}|\d{1,9}[.)][ \t]*)")
_DASHES = re.compile(r"[ \t]*[|:\- \t]*")
_TAG_STARTS = sorted({name[:n] for name in (*TAG_NAMES, "br /") for n in range(1, len(name) + 1)})
_OPEN_TAG = re.compile(rf"</?(?:{'|'.join(_TAG_STARTS)})?$", re.IGNORECASE)
_MARK = ("*", "`", "~")
_LAST_MARKS = re.compile(r"(?<!\\)(?:\*{1,3}|`{1,2}|~{1,2})\Z")
_CODE_SPAN = re.compile(r"`[^`]*`")
_CLOSED = ("strong_close", "code_inline")
_RUNNING = ("paragraph_open", "bullet_list_open", "ordered_list_open", "blockquote_open")
_MAY_CLOSE = re.compile(r" {0,3}(?:`*|~*)[ \t]*")


class Frame(NamedTuple):
    """The changes since the last frame, to be applied in this order (as ``assets/lane/markdown.js`` does).

    ``blocks``: HTML of newly finished blocks, to insert before the tail; each is final.
    ``tail``: HTML that replaces the tail; None keeps it. Never None if ``blocks`` is not empty.
    ``append``: plain text (for ``textContent``, not markup) to append to the tail's last block.
    ``whole``: HTML that replaces everything; only in the final frame, and only if a reference spans blocks.
    """

    blocks: list[str]
    tail: str | None
    append: str
    whole: str | None = None


class StreamingMarkdown:
    """One growing text: ``feed`` pieces, take a ``frame`` whenever one can be shown, and a final one at the end.

    Not thread-safe; instances are independent.
    """

    def __init__(self) -> None:
        self._new: list[str] = []
        self._carriage_return = ""  # a "\r" whose "\n" may come with the next piece
        self._all: list[str] = []
        self._tail = ""  # parsed text of the open blocks
        self._waiting = ""  # text sent as ``append``, not yet rendered
        self._held = False  # the end of the tail is ambiguous and not shown yet
        self._appendable: re.Pattern[str] | None = None  # text that the tail's last paragraph would show as it is
        self._open_code: _OpenCode | None = None
        self._references: dict[str, Any] = {}
        self._notes: set[str] = set()  # labels of footnotes so far
        self._unknown_notes: set[str] = set()  # references before their footnotes
        self.blocks: list[str] = []
        """HTML of all finished blocks so far."""
        self._shown_tail: str | None = None
        self._appended: list[str] = []  # to that tail

    def feed(self, text: str) -> None:
        """Add text. This only stores it."""
        text = self._carriage_return + text
        self._carriage_return = "\r" if text.endswith("\r") else ""
        self._new.append(text[: len(text) - len(self._carriage_return)])

    def frame(self, final: bool = False) -> Frame:
        """The changes since the last frame. ``final``: no text will follow, so all blocks are finished."""
        frame = self._next(final)
        if frame.tail is not None:
            self._shown_tail = frame.tail
            self._appended.clear()
        if frame.append:
            self._appended.append(frame.append)
        return frame

    @property
    def so_far(self) -> Frame:
        """The sum of all frames so far, for a reader that joins late. Not after the final one."""
        return Frame(self.blocks[:], self._shown_tail, "".join(self._appended))

    def _next(self, final: bool) -> Frame:
        if final:
            self._new.append(self._carriage_return)
            self._carriage_return = ""
        new = clean_text("".join(self._new))
        self._new.clear()
        self._all.append(new)
        if final:
            return self._finish(new)
        if not new:
            return Frame([], None, "")
        if self._open_code is not None:
            shown = self._open_code.add(new)
            if not self._open_code.closed:
                return Frame([], None, shown)
            self._tail, new = self._open_code.text, ""
            self._open_code = None
        else:
            if self._appendable is not None and self._appendable.fullmatch(new):
                self._appendable = _REST_OF_LINE if new[-1] != "\n" else None
                self._waiting += new
                return Frame([], None, new)
            growth = GROWTH if len(self._tail) < LONG_TAIL_CHARS else LONG_TAIL_GROWTH
            if not self._held and (len(self._waiting) + len(new)) * growth < len(self._tail):
                self._waiting += new
                self._appendable = None
                return Frame([], None, new)
        self._tail += self._waiting + new
        self._waiting = ""
        return self._render_tail()

    def _render_tail(self) -> Frame:
        env: dict[str, Any] = {"references": dict(self._references), "open_end": True, "notes": set(self._notes)}
        in_code = bool(_FENCE.match(self._tail))
        decided = self._tail if in_code else self._tail[: _decided(self._tail)]
        self._held = len(decided) < len(self._tail)
        self._appendable = None
        tokens = parse_blocks(decided, env)
        spans = _block_spans(tokens)
        n_finished = _count_finished(self._tail, tokens, spans)
        n_tokens = spans[n_finished - 1][1] if n_finished else 0
        finished, rest = tokens[:n_tokens], tokens[n_tokens:]
        parse_inlines(finished, env)
        blocks = [render_tokens(finished[start:end], env) for start, end in spans[:n_finished]]
        self.blocks += blocks
        if n_finished:
            self._notes |= env["notes"]
            first_line = _first_line(rest)
            self._tail = _from_line(self._tail, first_line)
            for label, reference in env["references"].items():
                if reference["map"][1] <= first_line:
                    self._references.setdefault(label, {**reference, "map": [0, 0]})
        if len(rest) == 1 and rest[0].type == "fence" and not is_markdown_fence(self._tail):
            self._open_code = _OpenCode.of(self._tail)
            if self._open_code is not None:
                rest[0].content = self._open_code.shown_at_first
        elif rest:
            shown = _from_line(decided, _first_line(rest))
            completed = shown if in_code else _completed(shown)
            if completed != shown:
                rest = parse_blocks(completed, env)
            parse_inlines(rest, env)
            if completed == shown and not (in_code or self._held):
                self._appendable = _appendable(rest, shown)
        self._unknown_notes |= env.get("unknown_notes", set())
        return Frame(blocks, render_tokens(rest, env), "")

    def _finish(self, new: str) -> Frame:
        text = (self._open_code.text if self._open_code else self._tail + self._waiting) + new
        env: dict[str, Any] = {"references": dict(self._references), "notes": set(self._notes)}
        tokens = parse(text, env)
        blocks = [render_tokens(tokens[start:end], env) for start, end in _block_spans(tokens)]
        self.blocks += blocks
        self._tail = self._waiting = ""
        self._open_code = None
        whole = None
        if env.get("references") or self._unknown_notes & env["notes"]:
            whole = render("".join(self._all))
            whole = None if whole == "".join(self.blocks) else whole
        return Frame(blocks, "", "", whole)


class _OpenCode:
    """An open, unindented fenced code block: text is only appended, at a constant cost per character."""

    def __init__(self, text: str, fence: str) -> None:
        self._pieces = [text]
        self._close = re.compile(rf"^ {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$", re.MULTILINE)
        self._line = ""  # the unfinished last line, as far as it may still become the closing fence
        self._inside_line = False  # the last line is unfinished and cannot be the closing fence
        self.closed = False
        self.shown_at_first = ""

    @classmethod
    def of(cls, text: str) -> _OpenCode | None:
        """The open code block that begins the text; None if it is indented, closed, or its first line is unfinished."""
        opening = _FENCE.match(text)
        if not opening:
            return None
        code = cls(text[: opening.end()], opening[1])
        code.shown_at_first = code.add(text[opening.end() :])
        return None if code.closed else code

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def add(self, new: str) -> str:
        """Add text; return what can be shown, including held text. Sets ``closed`` when the fence closes."""
        self._pieces.append(new)
        text = self._line + new
        start = text.find("\n") + 1 if self._inside_line else 0
        if (start or not self._inside_line) and self._has_complete_closing(text, start):
            self.closed = True
            return ""
        last = text.rfind("\n") + 1
        if last == 0 and self._inside_line:
            return text
        self._line = text[last:] if _MAY_CLOSE.fullmatch(text, last) else ""
        self._inside_line = bool(text[last:]) and not self._line
        return text[: len(text) - len(self._line)]

    def _has_complete_closing(self, text: str, start: int) -> bool:
        closing = self._close.search(text, start)
        while closing:
            at_line_start = closing.start() == start or text[closing.start() - 1] == "\n"
            if at_line_start and closing.end() < len(text):
                return True
            closing = self._close.search(text, closing.end() + 1)
        return False


def render(text: str) -> str:
    """A whole Markdown text as allow-listed HTML. Thread-safe; bounded time for any text (about 2 µs a character)."""
    env: dict[str, Any] = {}
    tokens = parse(clean_text(text), env)
    return "".join(render_tokens(tokens[start:end], env) for start, end in _block_spans(tokens))


def _block_spans(tokens: list[Token]) -> list[tuple[int, int]]:
    """Index ranges of the top-level blocks, which their last tokens end."""
    ends = [index for index, token in enumerate(tokens, 1) if not token.level and token.nesting <= 0]
    return list(zip([0, *ends], ends, strict=False))


def _first_line(tokens: list[Token]) -> int:
    return tokens[0].map[0] if tokens and tokens[0].map else 0


def _count_finished(text: str, tokens: list[Token], spans: list[tuple[int, int]]) -> int:
    """How many leading blocks no further text can change.

    The parser works from top to bottom and looks one line beyond a block, so all blocks except the last are finished.
    The exception is an unfinished last line that may still continue the block before: ``1`` may become ``1. item``,
    ``#`` may become ``#tag``. A line with a letter that is no fence or formula is decided. An unclosed formula is
    undecided too: if it never closes, it is text of the block on the line before.
    """
    if len(spans) < 2:
        return 0
    line = text[text.rfind("\n") + 1 :].lstrip()
    last = tokens[spans[-1][0]]
    first_line = _first_line([last])
    undecided = bool(line) and text.count("\n") - first_line <= 1 and (line[0] in "`~$\\" or not _has_letter(line))
    if last.type == "math_block" and (last.meta["unclosed"] or line):
        undecided = bool(_from_line(text, first_line - 1).split("\n", 1)[0].strip())
    return max(0, len(spans) - 1 - undecided)


def _decided(text: str) -> int:
    """The length of the part of an open text that can be shown; a last line of marks alone is ambiguous.

    ``-`` may begin an item, a rule, or the underline of a heading; a row of cells becomes a table when a row of dashes
    follows. Shown at once, such a line would first look like one thing and then like another.
    """
    start = text.rfind("\n") + 1
    line = text[start:]
    if tag := _OPEN_TAG.search(line):
        return start + tag.start()
    before_start = text.rfind("\n", 0, max(0, start - 1)) + 1
    before = text[before_start : max(0, start - 1)]
    in_table = before.lstrip().startswith("|")
    if in_table and _DASHES.fullmatch(line):
        earlier = text[text.rfind("\n", 0, max(0, before_start - 1)) + 1 : max(0, before_start - 1)]
        if not earlier.lstrip().startswith("|") and len(before) < MAX_HELD_CHARS:
            return before_start
    if line.lstrip().startswith("|") and not in_table and len(line) < MAX_HELD_CHARS:
        return start
    return start if line and _MARKS.fullmatch(line) else len(text)


def _completed(text: str) -> str:
    """The open text with the open code span, strong emphasis and tags of its last paragraph closed."""
    paragraph = text[text.rfind("\n\n") + 1 :]
    if "```" in paragraph or "~~~" in paragraph or "$" in paragraph:
        return text
    if paragraph[-1:] in _MARK and (marks := _LAST_MARKS.search(paragraph)):
        text, paragraph = text[: -len(marks[0])], paragraph[: -len(marks[0])]
    if paragraph.count("`") % 2:
        text, paragraph = f"{text}`", f"{paragraph}`"
    prose = _CODE_SPAN.sub("", paragraph) if "`" in paragraph else paragraph
    if prose.count("**") % 2 and "***" not in prose:
        text = f"{text.rstrip()}**"
    return text + "".join(f"</{name}>" for name in reversed(unclosed_tags(prose))) if "<" in prose else text


def _appendable(tokens: list[Token], text: str) -> re.Pattern[str] | None:
    """What an open text, of these blocks, shows as it is if it follows: any words behind a word that is a paragraph's
    own, with no markup around it; the next word behind strong emphasis or code."""
    last = next((i for i in range(len(tokens) - 1, 0, -1) if tokens[i].nesting >= 0), 0)
    if tokens[last].type != "inline" or tokens[last - 1].type != "paragraph_open" or tokens[0].type not in _RUNNING:
        return None
    children = [child for child in tokens[last].children or [] if child.type != "text" or child.content]
    if not children or children[-1].level or text[-1].isspace():
        return None
    if children[-1].type in _CLOSED:
        return _NEXT_WORD
    line = text[text.rfind("\n") + 1 :]
    word = line[line.rfind(" ") + 1 :]
    is_word = children[-1].type == "text" and _PROSE.fullmatch(word) and word[-1].isalnum()
    return _REST_OF_LINE if is_word and _has_letter(line) else None  # digits alone may begin an item


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def _from_line(text: str, line: int) -> str:
    position = 0
    for _ in range(line):
        position = text.find("\n", position) + 1
    return text[position:]
