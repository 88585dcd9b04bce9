""" "Was heavy worth it?": the facts beside the single answer, and the two axes where the user has voted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from kimi_ui.core.estimate import PresetEstimate
from kimi_ui.core.events import Answer, Finish, Usage
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.core.turn import TurnLog
from kimi_ui.core.vote import Vote
from kimi_ui.providers.base import ChatRequest
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.view.heavy_worth import expectation, worth_of
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import ended

FIELD = ("kimi", "heavy")


def answers(text: str) -> list[Any]:
    return [Answer(text), Usage(input_tokens=10, output_tokens=100), Finish("stop")]


def turn(single: str, trajectories: list[str], hybrid: str) -> TurnLog:
    """The plain lane and a heavy lane of the same price; the aggregator's prompt is longer than the question."""
    plain = ScriptedProvider(LaneSpec("kimi", "Kimi K2", "openai", model="k2", price=Price(1, 1)), [answers(single)])
    left = list(trajectories)

    def script(request: ChatRequest) -> Iterable[Any]:
        return answers(hybrid if len(request.messages[-1].content) > 100 else left.pop(0))

    inner = ScriptedProvider(plain.spec, [script])
    spec = HeavyLane("heavy", "Heavy", "heavy", of="kimi", width=len(left), quorum=len(left), preset="full")
    with started(ScriptedRoster(plain, HeavyProvider(spec, inner)), max_retries=0) as run:
        sent = run.engine.send("How many?")
        ended(sent)
    return sent


def said(number: int) -> str:
    return f"The answer is {number}."


def test_the_facts_compare_answer_time_tokens_and_cost() -> None:
    [one] = worth_of(turn(said(7), [said(7), said(8), said(7)], said(7)))
    assert one.lane == "heavy"
    assert one.facts[0] == "Same answer as Kimi K2"
    assert one.facts[1].endswith(" s")
    assert one.facts[2:] == ["4.0 × tokens", "4.0 × cost"] or one.facts[3].endswith("× cost")
    assert one.judged == []


def test_another_answer_names_both_results() -> None:
    [one] = worth_of(turn(said(7), [said(8), said(8), said(7)], said(8)))
    assert one.facts[0] == "Another answer than Kimi K2: 8, not 7"


def test_open_text_is_not_called_the_same() -> None:
    [one] = worth_of(
        turn(
            "Whales sing to each other at night.",
            ["The sea is deep.", "The sky is high."],
            "Both of them are quite so.",
        )
    )
    assert one.facts[0] == "Open text: no result to compare"


@pytest.mark.parametrize(
    ("single", "pool", "hybrid", "vote", "expected"),
    [
        (
            7,
            [7, 8, 7],
            7,
            Vote("tie", "", FIELD),
            ["There was nothing to gain here: Kimi K2 alone was as good, "],
        ),
        (
            7,
            [8, 8, 7],
            8,
            Vote("lane", "heavy", FIELD),
            ["Heavy helped", "That result was among its trajectories: T1 and T2"],
        ),
        (7, [5, 6, 7], 9, Vote("lane", "heavy", FIELD), ["Heavy helped", "It went beyond its trajectories"]),
        (7, [8, 8, 7], 8, Vote("lane", "kimi", FIELD), ["Heavy hurt", "The aggregation lost it: T3 had that result."]),
        (7, [8, 8, 6], 8, Vote("lane", "kimi", FIELD), ["Heavy hurt", "That result was not among its trajectories"]),
        (7, [8, 8, 6], 8, Vote("all_bad", "", FIELD), ["Heavy did not help"]),
        (7, [8, 8, 6], 8, Vote("lane", "qwen", (*FIELD, "qwen")), []),
        (7, [8, 8, 6], 8, Vote("tie", "", ("heavy",)), []),
    ],
)
def test_a_vote_tells_the_two_axes(single: int, pool: list[int], hybrid: int, vote: Vote, expected: list[str]) -> None:
    one = turn(said(single), list(map(said, pool)), said(hybrid))
    one.vote = vote
    judged = worth_of(one)[0].judged
    assert len(judged) == len(expected)
    assert all(sentence.startswith(begin) for sentence, begin in zip(judged, expected, strict=True)), judged


def test_a_blind_turn_tells_nothing_until_the_vote() -> None:
    one = turn(said(7), [said(8), said(8), said(7)], said(8))
    one.slots = ("heavy", "kimi")
    assert worth_of(one) == []
    one.vote = Vote("tie", "", FIELD, blind=True)
    assert worth_of(one)[0].judged != []


def test_what_was_expected_is_shown_beside_what_it_took() -> None:
    thrifty = PresetEstimate("thrifty", (3, 9), (6000, 18_000), (0.027, 0.085), None, 0)
    [one] = worth_of(turn(said(7), [said(8), said(8), said(7)], said(8)))
    sentence = expectation(thrifty, one.took)
    assert sentence.startswith("Expected from the log: 6,000 to 18,000 tokens, $0.0270 to $0.0850. It took ")
    assert re.search(r"It took [\d,]+ tokens, <?\$0\.\d+, \d+\.\d s\.$", sentence)
    full = PresetEstimate("full", (9, 9), (18_000, 18_000), None, 41.25, 5)
    assert expectation(full, ["1 s"]) == "Expected from the log: 18,000 tokens, 41.2 s. It took 1 s."
    assert expectation(PresetEstimate("full", (9, 9), None, None, None, 0), one.took) == ""
