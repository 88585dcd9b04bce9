"""The markers of reasoning templates: which model family writes which, and the patterns that find them in a text.

A new family is a new row. In a marker a blank stands for any blanks or none, and … for the rest of a message header.
``think_tags`` says what a marker means where it is found.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Template(NamedTuple):
    """How one family marks a thought, and who writes it so."""

    opening: str
    closing: str
    written_by: str


THOUGHTS = (  # ``<name>`` in any letter case
    Template("<think>", "</think>", "DeepSeek, Qwen, GLM, Kimi K2, MiniMax M2, Nemotron, Phi-4, Granite, ERNIE"),
    Template("<thinking>", "</thinking>", "Amazon Nova, Claude, GLM, Reflection"),
    Template("<reasoning>", "</reasoning>", "models trained on such a prompt"),
    Template("<thought>", "</thought>", "EXAONE Deep, Gemini's OpenAI-compatible endpoint, Marco-o1"),
    Template("<mm:think>", "</mm:think>", "MiniMax M3"),
    Template("<seed:think>", "</seed:think>", "Seed-OSS"),
    Template("<longcat_think>", "</longcat_think>", "LongCat Flash Thinking"),
    Template("<think:opensource>", "</think:opensource>", "Hunyuan"),
    Template("<reasoning_scratchpad>", "</reasoning_scratchpad>", "Hermes"),
    Template("◁think▷", "◁/think▷", "Kimi-VL"),
    Template("<|open|> think <|sep|>", "<|close|> think <|sep|>", "Kimi K3"),
    Template("[THINK]", "[/THINK]", "Magistral, Ministral"),
    Template("<|channel>thought", "<channel|>", "Gemma 4"),
    Template("<|START_THINKING|>", "<|END_THINKING|>", "Command A Reasoning"),
    Template("<|begin_of_thought|>", "<|end_of_thought|>", "OpenThinker, Sky-T1"),
    Template("<|inner_prefix|>", "<|inner_suffix|>", "Apertus"),
    Template("<|think|>", "<|end|>", "Solar Open"),
)
# What some families put around the answer that follows a thought; elsewhere such tags are the answer's own.
WRAPPERS = (
    Template("<answer>", "</answer>", "Hunyuan A13B, R1-Zero"),
    Template("<response>", "</response>", "Granite 3.3, ERNIE 4.5"),
    Template("<output>", "</output>", "Marco-o1, Reflection"),
)
TOOLS = (
    Template("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "Kimi K2"),
    Template("<|tool_call_begin|>", "<|tool_call_end|>", "Kimi K2"),
)
_TOOL_PARTS = ("<|tool_calls_section_end|>", "<|tool_call_end|>", "<|tool_call_argument_begin|>")
_ROLES = ("system", "user", "assistant")
MESSAGES = (  # markers of a message
    *(f"<|im_{role}|>{name}<|im_middle|>" for role in _ROLES for name in (*_ROLES, "tool")),  # Kimi K2
    *(f"<|im_{role}|>" for role in _ROLES),
    *("<|im_middle|>", "<|im_end|>"),  # the latter is ChatML's too
    "<|im_start|> assistant",  # Qwen and others (ChatML)
    *(f"<|close|> {name} <|sep|>" for name in ("response", "message")),  # Kimi K3
    *("<|END_RESPONSE|>", "<|end_of_solution|>", "<|end_of_box|>"),  # Command A, OpenThinker, GLM-4.5V
    "<|start_header_id|> assistant <|end_header_id|>",  # Llama 3
)
ANSWERS = (  # markers that begin an answer: they end a thought
    *(f"<|open|> {name} <|sep|>" for name in ("response", "message")),
    *("<|START_RESPONSE|>", "<|begin_of_solution|>", "<|begin_of_box|>"),
    "<|begin|> assistant <|content|>",  # Solar Open
)
ENDS = (  # markers that end a text
    *("<|return|>", "<|call|>", "<|end|>"),  # harmony; the last one is Phi's too
    *("<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>"),  # Llama 3, Qwen, Granite
    *("<end_of_turn>", "<turn|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>"),  # Gemma, Cohere, DeepSeek
)
HARMONY = "<|channel|>"
_HEADERS = {  # the channel of a harmony message, and what its text is
    f"{before}<|channel|> {channel}…<|message|>": role
    for before in ("", "<|start|> assistant…", "<|end|> <|start|> assistant…")
    for channel, role in (("analysis", "open"), ("final", "answer"), ("commentary", "tools"))
} | {"<|start|> assistant…<|message|>": "answer"}
# Harmony whose special tokens were dropped when the text was decoded; the words with which gpt-oss begins a thought.
BARE = Template("analysis", "assistantfinal", "gpt-oss behind a server that drops special tokens")
_BARE_WORDS = "We|The|User|I|Let|Need|They|This|It|So|Okay|Ok|Just|Simple|Question|You|There|First|Given|Answer|Must"


class Marker(NamedTuple):
    """``role``: open, close, wrap, unwrap, tools, part, message, answer, end. ``family``: its opening marker."""

    text: str
    role: str
    family: str


_MARKERS = [
    *(Marker(row.opening, "open", row.opening) for row in THOUGHTS),
    *(Marker(row.closing, "close", row.opening) for row in THOUGHTS if row.closing not in ENDS),
    *(Marker(row.opening, "wrap", row.opening) for row in WRAPPERS),
    *(Marker(row.closing, "unwrap", row.opening) for row in WRAPPERS),
    *(Marker(row.opening, "tools", row.closing) for row in TOOLS),
    *(Marker(text, "part", text) for text in _TOOL_PARTS),
    *(Marker(text, "message", "") for text in MESSAGES),
    *(Marker(text, "answer", "") for text in ANSWERS),
    *(Marker(text, "end", "") for text in ENDS),
    *(Marker(text, role, HARMONY) for text, role in _HEADERS.items()),
    Marker(BARE.closing, "close", BARE.opening),
]
_MARKERS.sort(key=lambda marker: -len(marker.text))  # the longest first: an alternation takes the first that fits
LONGEST = 240  # characters of the longest marker, blanks and header included


def _pattern(marker: str) -> str:
    return re.escape(marker).replace(r"\ ", r"\s{0,8}").replace("…", r"(?:[^\n<]|<\|constrain\|>){0,60}?")


_TAG = re.compile(r"</?[A-Za-z_:]+>")
_TAGS = {marker.text: marker for marker in _MARKERS if _TAG.fullmatch(marker.text)}


def _alternation(start: str) -> str:
    """The markers that begin with ``start``, each a group, numbered as in ``_MARKERS``."""
    found = [(i, m.text) for i, m in enumerate(_MARKERS) if m.text.startswith(start) and m.text not in _TAGS]
    return re.escape(start) + "(?:" + "|".join(f"(?P<m{i}>{_pattern(text[len(start) :])})" for i, text in found) + ")"


_FIRST = {text[:2] if text[0] == "<" else text[0] for text, _, _ in _MARKERS if text not in _TAGS and text[0] != "a"}
_MARKED = "|".join(map(_alternation, sorted(_FIRST))) + f"|(?P<tag>{_TAG.pattern})"
MARKER = re.compile(f"(?=[<◁\\[])(?:{_MARKED})")
_BARE_MARKED = f"(?P<bare>{BARE.opening})(?=(?:{_BARE_WORDS})(?:\\W|\\Z))|{_alternation('a')}"
MARKER_OR_WORD = re.compile(f"(?=[<◁\\[a])(?:{_MARKED}|{_BARE_MARKED})")
START = re.compile(r"[<◁\[]")  # what a marker may begin with
START_OR_WORD = re.compile(r"[<◁\[a]")


def _squeezed(text: str) -> str:
    return "".join(text.split()).lower()


_STEMS = tuple({_squeezed(marker.text.split("…")[0]) for marker in _MARKERS if "…" in marker.text})
_BEGINNINGS = frozenset(
    text[:n] for marker in _MARKERS for text in [_squeezed(marker.text)] for n in range(1, len(text))
)
_BARE_BEGINNINGS = frozenset(f"{BARE.opening}{word}"[:n] for word in _BARE_WORDS.split("|") for n in range(1, 24))
CLOSING = {row.opening: row.closing for row in (*THOUGHTS, BARE)} | {HARMONY: "<|end|>"}
HARMONY_ENDS = ("<|end|>", "<|return|>", "<|call|>")


def marker_of(match: re.Match[str]) -> Marker | None:
    """Which row was found; None for a tag of no family."""
    name = match.lastgroup or ""
    if name == "tag":
        return _TAGS.get(match.group().lower())
    return Marker(BARE.opening, "open", BARE.opening) if name == "bare" else _MARKERS[int(name[1:])]


def may_become_marker(tail: str, may_be_bare: bool) -> bool:
    """Whether more text could turn ``tail`` into a marker, or into a longer one. ``may_be_bare``: ``BARE`` counts."""
    if len(tail) > LONGEST:
        return False
    if tail[0] == "a":
        return tail in (_BARE_BEGINNINGS if may_be_bare else _BEGINNINGS)
    squeezed = _squeezed(tail)
    if squeezed in _BEGINNINGS:
        return True
    return squeezed.startswith(_STEMS) and "<|message|>" not in squeezed and "\n" not in tail.lstrip()
