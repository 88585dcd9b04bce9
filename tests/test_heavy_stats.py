""" "Was heavy worth it?" over the turns of a real log."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.events import Answer, Finish, Reasoning, Usage
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.core.vote import Vote
from kimi_ui.log.reader import LogReader
from kimi_ui.log.votes import vote_op
from kimi_ui.providers.base import ChatRequest
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.stats.heavy_worth import HeavyWorth, heavy_worth
from kimi_ui.stats.sample import Filters
from kimi_ui.stats.statistics import Difference, Median
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import ended

FIELD = ("kimi", "heavy")


def says(text: str) -> list[Any]:
    return [Reasoning("Hm. "), 0.001, Answer(text), Usage(input_tokens=10, output_tokens=50), Finish("stop")]


def logged(path: Path, hybrids: list[str], votes: dict[int, Vote] | None = None) -> list[HeavyWorth]:
    """Turns in which the single lane says 7 and heavy what ``hybrids`` say, in a log; what is found there."""
    spec = LaneSpec("kimi", "Kimi K2", "openai", model="k2", price=Price(1, 1))
    plain = ScriptedProvider(spec, [says("The answer is 7.")])
    wanted = iter(hybrids)
    numbers = itertools.count(101)

    def script(request: ChatRequest) -> Iterable[Any]:
        is_aggregation = len(request.messages[-1].content) > 100
        return says(next(wanted) if is_aggregation else f"The answer is {next(numbers)}.")

    heavy = HeavyProvider(
        HeavyLane("heavy", "Kimi K2 heavy", "heavy", of="kimi", width=2, quorum=2), ScriptedProvider(spec, [script])
    )
    with started(ScriptedRoster(plain, heavy), path, max_retries=0) as run:
        for i in range(len(hybrids)):
            turn = run.engine.send("How many?")
            ended(turn)
            if votes and i in votes:
                run.turns.writer.write([vote_op(turn.turn_id, votes[i])]).result(10)
    return heavy_worth(LogReader(path), Filters(include=frozenset(["suspect"])))


def test_turns_are_paired_with_the_single_answer_of_the_same_model(tmp_path: Path) -> None:
    votes = {0: Vote("lane", "heavy", FIELD), 1: Vote("tie", "", FIELD), 2: Vote("lane", "kimi", FIELD)}
    hybrids = [
        "The answer is 7.",
        "The answer is 8.",
        "All of this is a rather long story, in truth.",
        "The answer is 7.",
    ]
    [one] = logged(tmp_path / "log.sqlite3", hybrids, votes)
    assert (one.n, one.n_stated, one.n_changed) == (4, 3, 1)
    assert (one.wins, one.losses, one.ties) == (1, 1, 1)
    assert one.tokens.value == 3.0
    first, *rest = one.sentences()
    assert first.startswith("Kimi K2 heavy beside Kimi K2 in 4 turns: another result in 1 of 3 that state one (33 %, ")
    assert any("3.0 × tokens (n = 4, too few for an interval)." in sentence for sentence in rest)
    assert rest[-1] == "Votes: 1 for heavy, 1 for Kimi K2, 1 tie."
    assert one.hint == ""


def test_a_log_without_heavy_has_nothing_to_say(tmp_path: Path) -> None:
    assert logged(tmp_path / "log.sqlite3", []) == []


@pytest.mark.parametrize(
    ("n_stated", "n_changed", "wins", "losses", "expected"),
    [
        (20, 2, 0, 0, "So far Heavy came to the same result as Kimi in 18 of 20 turns, for 9.1 × the tokens."),
        (20, 3, 0, 0, ""),
        (9, 0, 0, 9, ""),
        (0, 0, 0, 10, "So far Heavy was not preferred to Kimi in any of 10 votes, for 9.1 × the tokens."),
        (20, 10, 1, 12, ""),
    ],
)
def test_the_hint_needs_ten_turns_or_votes(
    n_stated: int, n_changed: int, wins: int, losses: int, expected: str
) -> None:
    nothing = Median(0, None, None)
    one = HeavyWorth(
        *("h", "k", "Heavy", "Kimi", 20, n_stated, n_changed),
        *(Difference(0, None, None), Median(20, 9.13, None), nothing, wins, losses, 0),
    )
    assert one.hint == expected
