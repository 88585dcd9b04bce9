"""Where an answer states its result: the answer line that the prompt asks for, ``\\boxed{}``, or how it ends.

The last statement counts, so a corrected answer is taken as corrected. What is not stated is not guessed: the last
number of a text is not its result.
"""

from __future__ import annotations

import re

LONGEST = 4_096  # characters of a result; longer ones are refused, not computed

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_MARKS = r"[\s>*_#`~\"“”'$-]*"
_LABEL = r"(?:(?:my|the|your)\s+)?(?:final\s+|correct\s+)?(?:answer|result|solution)"
_LINE = re.compile(
    rf"^{_MARKS}(?:\\(?:text|textbf|mathbf)\{{)?{_LABEL}(?:\s+is)?[*_`\"}}]*\s*[:：=][*_`}}]*[ \t]*(?P<rest>.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_INLINE = re.compile(
    rf"\b(?:{_LABEL})\b[^.\n:]{{0,60}}?(?:\bis\b|\bare\b|[:：=])[ \t*_]*[:：]?[ \t]*(?P<rest>[^\n]+)$",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSING = re.compile(r"(?:\bis\b|\bare\b|\bequals?\b|=|≡|→|:)\s*(?P<rest>[^=:≡→]+)$")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_FENCE = re.compile(r"^ {0,3}(?:>\s*)?(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)$", re.MULTILINE)


def open_fence(text: str) -> bool:
    """A code fence was begun and not closed, so the answer was cut off in it."""
    opened = ""
    for match in _FENCE.finditer(text):
        fence = match["fence"]
        if not opened:
            opened = fence
        elif fence[0] == opened[0] and len(fence) >= len(opened) and not match["info"].strip():
            opened = ""
    return bool(opened)


def stated(text: str) -> str | None:
    """The text of the result, or None if the answer states none."""
    text = text.translate(_INVISIBLE).strip()
    candidates: list[tuple[int, str]] = []
    for match in _LINE.finditer(text):
        rest = match["rest"].strip() or _following(text[match.end() :])
        if rest and not re.fullmatch(r"<[^<>]*>[.]?", rest):
            candidates.append((match.start(), rest))
    if (at := _last_boxed(text)) is not None:
        candidates.append(at)
    if candidates:
        return _unboxed(max(candidates)[1])
    inline = [match["rest"] for match in _INLINE.finditer(text)]
    if inline:
        return _unboxed(inline[-1].strip())
    return _closing(text)


def _following(text: str) -> str:
    """What stands below an empty answer line, up to a blank line after it."""
    return re.split(r"\n[ \t]*\n", text.strip(), maxsplit=1)[0]


def _last_boxed(text: str) -> tuple[int, str] | None:
    """Place and content of the last box; boxes that are joined on its line are one result."""
    found = list(_BOXED.finditer(text))
    if not found:
        return None
    contents = []
    line = text.rfind("\n", 0, found[-1].start()) + 1
    for match in found:
        if match.start() >= line and (inside := _braced(text, match.end())) is not None:
            contents.append(inside)
    return (found[-1].start(), ", ".join(dict.fromkeys(contents))) if contents else None


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for at in range(start, min(len(text), start + LONGEST)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return None


def _unboxed(text: str) -> str:
    """A result without the box around it. Boxes within a line stay what they hold."""
    while (match := _BOXED.search(text)) and (inside := _braced(text, match.end())) is not None:
        text = text[: match.start()] + inside + text[match.end() + len(inside) + 1 :]
    return text


def _closing(text: str) -> str | None:
    """The whole answer if it is one short line, or what its last line ends with after "is" or "="."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    last = lines[-1]
    if len(lines) == 1 and len(last.split()) <= 6 and not _CLOSING.search(last):
        return last
    bold = re.fullmatch(r"[^*]*\*\*([^*]+)\*\*[.!]?", last)
    if bold and _CLOSING.search(bold[1]) is None:
        return bold[1]
    match = _CLOSING.search(last.rstrip(".!*_$` "))
    return match["rest"].strip() if match and len(match["rest"].split()) <= 8 else None
