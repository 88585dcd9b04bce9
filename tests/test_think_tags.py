"""Reasoning templates left in the content: every family and rule, and the same result for any splitting of the text.

The kind: a server without the right parser leaves its model's template in ``content``. Each family has its markers, and
its grammar says where they may be; there they divide reasoning from answer, or end, wrap or call something and are
hidden. Everywhere else (in code, mentioned in a sentence, in the middle of an answer) the same characters are text.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.think_tags import ThinkTags


class Split(NamedTuple):
    reasoning: str
    answer: str
    flags: dict[str, str]


def split(pieces: list[str], *, separated: bool = False, in_field: bool = False) -> Split:
    tags, fold = ThinkTags(in_field), AttemptFold()
    if separated:
        tags.separated()
    for events in [*map(tags.feed, pieces), tags.flush()]:
        for event in events:
            fold.apply(0, event)
    return Split(fold.reasoning, fold.answer, fold.flags)


PAIRS = [
    ("<think>", "</think>"),
    ("<Thinking>", "</Thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>"),
    ("<mm:think>", "</mm:think>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<think:opensource>", "</think:opensource>"),
    ("<REASONING_SCRATCHPAD>", "</REASONING_SCRATCHPAD>"),
    ("◁think▷", "◁/think▷"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|open|> think <|sep|>", "<|close|> think  <|sep|>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|start|> assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final <|constrain|>JSON<|message|>"),
]
TOOL = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_time:0<|tool_call_argument_begin|>{}"
    "<|tool_call_end|><|tool_calls_section_end|>"
)

CASES: dict[str, tuple[str, str, str]] = {  # content → reasoning, answer
    **{f"pair {o}": (f"{o}plan{c}\n\nanswer", "plan", "answer") for o, c in PAIRS},
    **{f"opening missing {c}": (f"plan{c}\n\nanswer", "plan", "answer") for _, c in PAIRS},
    **{f"never closed {o}": (f"{o}plan and more", "plan and more", "") for o, _ in PAIRS},
    **{f"empty {o}": (f"{o}\n\n{c}\n\nanswer", "", "answer") for o, c in PAIRS},
    "blanks before the tag": (" \n<think>\nplan\n</think>\n\n    code", "plan\n", "    code"),
    "plain": ("a < b and c<d, <p>x</p> ◁ <th", "", "a < b and c<d, <p>x</p> ◁ <th"),
    "leading blanks of a plain answer stay": ("\n  a", "", "\n  a"),
    "only blanks": (" \n ", "", " \n "),
    "nothing": ("", "", ""),
    "later tag is the answer's": ("<think>p</think>Use <think> and </think>.", "p", "Use <think> and </think>."),
    "tag in prose": ("Write <think>x</think> there.", "", "Write <think>x</think> there."),
    "tag in inline code": ("Cut at `</think>` please.", "", "Cut at `</think>` please."),
    "tag in a code block": ("```py\nt.split('</think>')\n```", "", "```py\nt.split('</think>')\n```"),
    "code left open in the thought": ("<think>say `x and ```y\n</think>\nanswer", "say `x and ```y\n", "answer"),
    "tag quoted in the thought": (
        "<think>I end with `</think>` then</think>answer",
        "I end with `</think>` then",
        "answer",
    ),
    "tag after a quotation": ("<think>with `</think>then", "with `", "then"),
    "tag at the end after a backtick": ("<think>with `</think>", "with `", ""),
    "code span left open on another line": ("a `b\nc</think>answer", "a `b\nc", "answer"),
    "code block closed": ("```\nx\n```\nc</think>answer", "```\nx\n```\nc", "answer"),
    "leaked closing twice": ("<think>p</think></think>\nanswer", "p", "answer"),
    "two thoughts": ("<think>p</think>\n<think>q</think>\nanswer", "pq", "answer"),
    "nested": ("<think>a<think>b</think>c</think>answer", "abc", "answer"),
    "nested, closed together": ("<think>a<think>b</think></think>\nanswer", "ab", "answer"),
    "another kind inside": ("<think>a</reasoning>b</think>c", "a</reasoning>b", "c"),
    "tool section ends thinking": (f"<think>plan{TOOL}answer", "plan", "answer"),
    "tool section in the answer": (f"<think>plan</think>answer{TOOL}", "plan", "answer"),
    "tool section quoted": (
        "It is `<|tool_calls_section_begin|>` there.",
        "",
        "It is `<|tool_calls_section_begin|>` there.",
    ),
    "tool section never ends": ("answer<|tool_calls_section_begin|><|tool_call_begin|>f", "", "answer"),
    "tool section's end alone": ("answer<|tool_calls_section_end|> more", "", "answer more"),
    "tool call outside a section": (
        "answer <|tool_call_begin|>functions.x:0<|tool_call_argument_begin|>{}<|tool_call_end|> more",
        "",
        "answer  more",
    ),
    "tool call ends thinking": ("<think>plan<|tool_call_begin|>x<|tool_call_end|>answer", "plan", "answer"),
    "k2 message": ("<|im_assistant|>assistant<|im_middle|><think>plan</think>answer<|im_end|>", "plan", "answer"),
    "k2 role alone": ("<|im_assistant|> answer<|im_middle|>", "", " answer"),
    "k2 message quoted": (
        "A turn ends with `<|im_end|>`:\n```\n<|im_user|>user<|im_middle|>hi\n```",
        "",
        "A turn ends with `<|im_end|>`:\n```\n<|im_user|>user<|im_middle|>hi\n```",
    ),
    "unfinished role at the end": ("answer<|im_assistant|>assis", "", "answerassis"),
    "k3 whole": (
        "<|open|>think<|sep|>plan<|close|>think<|sep|><|open|>response<|sep|>answer<|close|>response<|sep|>"
        "<|close|>message<|sep|>",
        "plan",
        "answer",
    ),
    "k3 response ends thinking": ("<|open|>think<|sep|>plan<|open|> response <|sep|>answer", "plan", "answer"),
    # markers around an answer, and at the end of a text
    "answer tag after a thought": ("<think>plan</think>\n<answer>\nanswer</answer>", "plan", "answer"),
    "response tag after a thought": ("<think>plan</think><response>answer</response>\n", "plan", "answer\n"),
    "output tag after a thought": ("<Thought>plan</Thought>\n<Output>answer</Output>", "plan", "answer"),
    "answer tag of its own": ("<answer>4</answer>", "", "<answer>4</answer>"),
    "command a": (
        "<|START_THINKING|>plan<|END_THINKING|><|START_RESPONSE|>answer<|END_RESPONSE|>",
        "plan",
        "answer",
    ),
    "openthinker": (
        "<|begin_of_thought|>\n\nplan<|end_of_thought|>\n\n<|begin_of_solution|>\n\nanswer<|end_of_solution|>",
        "plan",
        "answer",
    ),
    "glm box": ("<think>plan</think><|begin_of_box|>42<|end_of_box|>", "plan", "42"),
    "solar open": ("<|think|>plan<|end|><|begin|>assistant<|content|>answer<|end|>", "plan", "answer"),
    "chatml left over": ("<|im_start|>assistant\n<think>plan</think>answer<|im_end|>\n", "plan", "answer\n"),
    "ends with an end": ("answer<|eot_id|>", "", "answer"),
    "two ends": ("answer<|end|>\n<|endoftext|>", "", "answer"),
    "deepseek's end": ("<think>plan</think>answer<｜end▁of▁sentence｜>", "plan", "answer"),
    "an end in the middle": ("a<|eot_id|> b", "", "a<|eot_id|> b"),
    "gemma ends": ("<|channel>thought\nplan\n<channel|>answer<turn|>", "plan\n", "answer"),
    "gemma, empty": ("<|channel>thought\n<channel|>answer", "", "answer"),
    # harmony
    "harmony returns": (
        "<|channel|>analysis<|message|>plan<|end|><|start|>assistant<|channel|>final<|message|>answer<|return|>",
        "plan",
        "answer",
    ),
    "harmony, answer only": ("<|channel|>final<|message|>answer<|return|>", "", "answer"),
    "harmony, no channel": ("<|start|>assistant<|message|>answer<|end|>", "", "answer"),
    "harmony, two thoughts": (
        "<|channel|>analysis<|message|>pl<|end|><|start|>assistant<|channel|>analysis<|message|>an<|end|>"
        "<|start|>assistant<|channel|>final<|message|>answer",
        "plan",
        "answer",
    ),
    "harmony, preamble and tool": (
        "<|channel|>analysis<|message|>plan<|end|><|start|>assistant<|channel|>commentary<|message|>I look. <|end|>"
        "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        "plan",
        "I look. ",
    ),
    "harmony, recipient first": (
        "<|channel|>analysis<|message|>plan<|end|><|start|>assistant to=functions.f<|channel|>commentary json"
        "<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>answer",
        "plan",
        "answer",
    ),
    "harmony, opening missing": ("plan<|end|><|start|>assistant<|channel|>final<|message|>answer", "plan", "answer"),
    "harmony, cut in the thought": ("<|channel|>analysis<|message|>plan", "plan", ""),
    "harmony, cut in a header": ("<|channel|>analysis<|message|>plan<|end|><|start|>assis", "plan", "<|start|>assis"),
    "harmony in its own answer": (
        "<|channel|>final<|message|>Write `<|channel|>analysis<|message|>` first:\n```\n<|start|>assistant<|channel|>"
        "final<|message|>x<|end|>\n```",
        "",
        "Write `<|channel|>analysis<|message|>` first:\n```\n<|start|>assistant<|channel|>"
        "final<|message|>x<|end|>\n```",
    ),
    "harmony, spoken of": (
        "gpt-oss writes <|channel|>analysis<|message|> first, and <|channel|>final<|message|> before its answer.",
        "",
        "gpt-oss writes <|channel|>analysis<|message|> first, and <|channel|>final<|message|> before its answer.",
    ),
    "harmony without its tokens": ("analysisWe add.assistantfinalFour", "We add.", "Four"),
    "analysis is a word": ("analysisResult is assistantfinal", "", "analysisResult is assistantfinal"),
    "analysis begins a sentence": ("analysis We see assistantfinal", "", "analysis We see assistantfinal"),
    # mentioned in text
    "brackets are a link": ("[THINKING](x) and [THINK](y) [", "", "[THINKING](x) and [THINK](y) ["),
    "spoken of first": ("[THINK] and [/THINK] are its tags.", "", "[THINK] and [/THINK] are its tags."),
    "spoken of first, one": ("<think> is a tag.", "", "<think> is a tag."),
    "spoken of first, a list": ("<think>, <thought> and others", "", "<think>, <thought> and others"),
    "spoken of, closing": ("The tag </think> closes a thought.", "", "The tag </think> closes a thought."),
    "spoken of, at the end": ("It ends with [/THINK].", "", "It ends with [/THINK]."),
    "spoken of, quoted": ('Split at "</thought>", then', "", 'Split at "</thought>", then'),
    "spoken of, gemma": ("Gemma's <channel|> ends it.", "", "Gemma's <channel|> ends it."),
    "spoken of, tool": ("The <|tool_call_begin|> token.", "", "The <|tool_call_begin|> token."),
    "spoken of, message": ("Each turn has <|im_end|> at its end.", "", "Each turn has <|im_end|> at its end."),
    "in a code block of tildes": ("~~~\na\n</think>\n~~~\nb", "", "~~~\na\n</think>\n~~~\nb"),
    "backticks inside tildes": ("~~~\n```\n~~~\nc\n</think>\nb", "~~~\n```\n~~~\nc\n", "b"),
    "closing before a new sentence": ("I add. </think> The sum is 4.", "I add. ", " The sum is 4."),
    "opening before a blank": ("<think> The user adds.</think>4", " The user adds.", "4"),
    "unfinished marker at the end": ("<think>p</think>a<|tool_calls_sect", "p", "a<|tool_calls_sect"),
    "unfinished closing at the end": ("<think>plan</thi", "plan</thi", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_each_template_is_split_into_reasoning_and_answer(name: str) -> None:
    content, reasoning, answer = CASES[name]
    got = split([content])
    assert (got.reasoning, got.answer) == (reasoning, answer)
    assert split(list(content)) == got, "one character at a time"


def test_a_reasoning_field_disables_the_rule_of_the_missing_opening_tag() -> None:
    text = "The tag </think> closes a thought."
    assert split([text], separated=True).answer == text
    text = "A thought ends with\n</think>\nlike this."
    assert split([text], separated=True).answer == text
    assert split([text]).reasoning == "A thought ends with\n"


def test_a_leaked_closing_tag_after_a_reasoning_field_is_dropped() -> None:
    assert split(["</thi", "nk>\n\nHello"], separated=True) == Split("", "Hello", {})


def test_flags_name_hidden_and_missing_markers() -> None:
    assert split(["<think>plan"]).flags == {"unclosed_think": "<think>"}
    assert split([f"a{TOOL}b"]).flags == {"tool_markers": TOOL}
    assert list(split(["<|open|>response<|sep|>a"]).flags) == ["template_markers"]
    assert len(split(["a<|tool_calls_section_begin|>" + "x" * 10_000]).flags["tool_markers"]) == 2000
    assert split(["<|im_assistant|>assistant<|im_middle|>a"]).flags == {
        "template_markers": "<|im_assistant|>assistant<|im_middle|>"
    }


@pytest.mark.parametrize("marker", ["<|tool_calls_section_end|>", TOOL, "<|close|>response<|sep|>", "<|im_end|>"])
def test_a_flood_of_markers_makes_one_event(marker: str) -> None:
    for in_field in (False, True):
        tags = ThinkTags(in_field)
        assert len([event for _ in range(100) for event in tags.feed(marker * 20)]) == 1


def test_a_reasoning_field_keeps_its_tags_and_loses_its_tool_section() -> None:
    got = split(["I close with </think> ", "then", TOOL, " end"], in_field=True)
    assert (got.reasoning, got.answer) == ("I close with </think> then end", "")
    assert got.flags == {"tool_markers": TOOL}


FIELDS: dict[str, tuple[str, str]] = {
    "wrapped": ("<think>\nHmm A. Hmm B.\n</think>", "Hmm A. Hmm B.\n"),
    "wrapped, more after it": ("<think>Hmm A.</think> Hmm B.", "Hmm A. Hmm B."),
    "closed": ("Hmm A. Hmm B.</think>\n\n", "Hmm A. Hmm B."),
    "closed twice": ("Hmm A.</think></think>", "Hmm A."),
    "closing and more": ("Hmm A.</think>\n Hmm B.", "Hmm A.</think>\n Hmm B."),
    "opening and more": ("Hmm <think> A.", "Hmm <think> A."),
    "k3": ("<|open|>think<|sep|>Hmm A.<|close|>think<|sep|>", "Hmm A."),
    "k3 message": ("Hmm A.<|close|>think<|sep|><|open|>response<|sep|>", "Hmm A."),
    "only tags": ("<think>\n</think>", ""),
}


@pytest.mark.parametrize("name", FIELDS)
def test_tags_that_wrap_a_reasoning_field_are_taken_off(name: str) -> None:
    content, reasoning = FIELDS[name]
    got = split([content], in_field=True)
    assert (got.reasoning, got.answer) == (reasoning, "")
    assert split(list(content), in_field=True) == got


def test_the_dialect_is_named() -> None:
    tags = ThinkTags()
    tags.feed("◁think▷a◁/think▷b")
    assert tags.kind == "◁think▷"
    assert ThinkTags().kind is None


def test_text_is_held_back_only_while_it_may_become_a_marker() -> None:
    tags = ThinkTags()
    assert [event.text for event in tags.feed("a < b <th")] == ["a < b "]
    assert [event.text for event in tags.feed("e>")] == ["<the>"]


WORDS = [tag for pair in PAIRS for tag in pair] + [
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",
    "<|constrain|>",
    "commentary to=f",
    "<|im_start|>",
    "<|eot_id|>",
    "<answer>",
    "</answer>",
    "<|begin_of_box|>",
    "analysis",
    "assistantfinal",
    "We ",
    " is ",
    " and ",
    ". ",
    "~~~",
    "[",
    '"',
    "a",
    "<|open|>response<|sep|>",
    "<|close|>message<|sep|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_end|>",
    "<|im_assistant|>",
    "assistant",
    "<|im_middle|>",
    "plan",
    " ",
    "\n\n",
    "`",
    "```",
    "<",
    "</",
    "<|",
    "◁",
    "think>",
    "é𝄞",
]
texts = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)


@given(text=texts, cuts=st.lists(st.integers(0, 200), max_size=12), separated=st.booleans(), in_field=st.booleans())
def test_any_chunking_gives_the_same_result(text: str, cuts: list[int], separated: bool, in_field: bool) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(places)]
    whole = split([text], separated=separated, in_field=in_field)
    assert split(pieces, separated=separated, in_field=in_field) == whole
    assert split(list(text), separated=separated, in_field=in_field) == whole


@given(text=st.text())
def test_text_without_markers_is_unchanged(text: str) -> None:
    plain = text.replace("<", "").replace("◁", "")
    assert split(list(plain)) == Split("", plain, {})


def test_long_leading_blanks_do_not_grow_memory_and_still_agree() -> None:
    text = "<think>" + "\n" * 9000 + "plan</think>" + " " * 9000 + "answer"
    assert split([text]) == split(list(text))
