"""What a run sends and in which order, what fits, what it may cost; and heavy's majority."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from kimi_ui.bench import suite
from kimi_ui.bench.early_stop import EarlyStop
from kimi_ui.bench.plan import AHEAD, Item, PlanError, choose, plan, sendable, unfit, warm_ups, worst_usd
from kimi_ui.bench.results import Sample, Trajectory, majority
from kimi_ui.core.lane import FREE, LaneSpec, Price
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.heavy import HeavyLane
from kimi_ui.providers.ollama.provider import OllamaLane

PLAIN = LaneSpec("a", "A", "openai", "m", "http://x.test", price=Price(1.0, 2.0), params={"max_tokens": 1000})
HEAVY = HeavyLane("h", "H", of="a", width=4)
OTHER = replace(PLAIN, id="b", label="B", base_url="http://y.test")
SPECS = {"a": PLAIN, "h": HEAVY, "b": OTHER}
SERVERS = {"a": ("http://x.test",), "h": ("http://x.test",), "b": ("http://y.test",)}


def planned(epochs: int = 2, order_seed: int = 1) -> list[Item]:
    number = itertools.count()
    cases = choose(suite.SEED).cases
    return plan(cases, ("a", "h", "b"), epochs, order_seed, lambda: f"t{next(number)}", {("swaps-1", "a"): "too long"})


def test_the_cases_of_each_size() -> None:
    quick, full = choose(1), choose(1, "full")
    assert (quick.size, len(quick.cases), full.size, len(full.cases)) == ("quick", 20, "full", 156)
    assert Counter(case.category for case in quick.cases).keys() == set(suite.CATEGORIES)
    math = choose(1, categories=["math"])
    assert (math.size, len(math.cases)) == ("chosen", 30)
    assert len(choose(1, "quick", ["math"]).cases) == 4
    assert [case.id for case in choose(1, ids=["jugs-1"]).cases] == ["jugs-1"]
    for wrong in ({"categories": ["poetry"]}, {"ids": ["jugs-99"]}, {"categories": ["math"], "ids": ["jugs-1"]}):
        with pytest.raises(PlanError):
            choose(1, **wrong)  # type: ignore[arg-type]


def test_lanes_alternate_case_by_case_in_an_order_of_the_seed() -> None:
    items = planned()
    assert [item.position for item in items] == list(range(2 * 20 * 3))
    for start in range(0, len(items), 3):
        three = items[start : start + 3]
        assert len({item.case_id for item in three}) == 1
        assert {item.lane for item in three} == {"a", "h", "b"}
    assert len({tuple(item.lane for item in items[at : at + 3]) for at in range(0, 60, 3)}) > 1
    assert [item.case_id for item in items[:60]] != [item.case_id for item in items[60:]]
    assert planned()[5][:7] == items[5][:7]
    assert [item.case_id for item in planned(order_seed=2)] != [item.case_id for item in items]
    unsent = [item for item in items if item.turn_id is None]
    assert [(item.case_id, item.lane, item.not_sent) for item in unsent] == [("swaps-1", "a", "too long")] * 2


def test_one_warm_up_for_each_model_with_its_shortest_prompt() -> None:
    cases = {case.id: case for case in choose(suite.SEED).cases}
    found = warm_ups(planned(), cases, SPECS, lambda: "t")
    assert [(item.position, item.warm_up) for item in found] == [(0, 1), (1, 1)]
    assert {item.lane for item in found} == {"a", "b"}
    shortest = min(cases.values(), key=lambda case: len(case.prompt))
    assert {item.case_id for item in found if item.lane == "b"} == {shortest.id}
    assert warm_ups([], cases, SPECS, lambda: "t") == []


def test_lanes_of_one_server_take_turns_and_none_runs_far_ahead() -> None:
    items = [item for item in planned() if item.turn_id]
    first = list(sendable(items, [], SERVERS, 3))
    assert len(first) == 2
    assert {SERVERS[item.lane] for item in first} == {("http://x.test",), ("http://y.test",)}
    assert first[0] is items[0]
    stuck = next(item for item in first if item.lane == "b")
    waiting = [item for item in items if item.lane != "b" or item.position > stuck.position]
    far = [item for item in waiting if item.position >= stuck.position + 3 * AHEAD]
    assert list(sendable(far, [stuck], SERVERS, 3)) == []
    assert len(list(sendable(items, [], SERVERS, 3, at_a_time=2))) == 4
    warm = Item(200, "swaps-1", "", "", "a", 1, 1, "t", None)
    assert list(sendable([warm, *items], [], SERVERS, 3)) == [warm]
    assert list(sendable(items, [warm], SERVERS, 3)) == []
    spread = SERVERS | {"b": ("http://x.test", "http://y.test", "http://z.test")}
    assert [item.lane for item in sendable(items, [stuck], spread, 3)].count("b") == 2


def test_a_prompt_that_does_not_fit_is_named_with_both_numbers() -> None:
    small = OllamaLane("o", "O", model="m", num_ctx=4096)
    words = unfit(3500, small, small)
    assert "3,500" in words
    assert "4,096" in words
    assert unfit(3000, small, small) == ""
    assert unfit(10**6, PLAIN, PLAIN) == ""  # its context is not known
    limited = replace(small, params={"max_tokens": 100})
    assert unfit(3900, limited, limited) == ""
    assert OllamaLane("c", "C", model="kimi-k2:1t-cloud").context_tokens is None
    assert replace(small, params={"num_ctx": 9000}).context_tokens == 9000
    assert EmbeddedLane("e").context_tokens == 8192


def test_the_most_that_a_request_can_cost() -> None:
    assert worst_usd(500, PLAIN, PLAIN) == pytest.approx((500 + 2 * 1000) / 1e6)
    one = 500 + 2 * 1000
    assert worst_usd(500, HEAVY, PLAIN) == pytest.approx((4 * one + 500 + 4 * 1000 + 2 * 1000) / 1e6)
    assert worst_usd(500, replace(PLAIN, price=FREE, params={}), replace(PLAIN, price=FREE, params={})) == 0
    for unknown in (replace(PLAIN, price=None), replace(PLAIN, params={})):
        with pytest.raises(PlanError, match="lanes file"):
            worst_usd(1, unknown, unknown)


def judged(case: str, lane: str, outcome: str, epoch: int = 1) -> Sample:
    unknown = dict.fromkeys(Sample.__dataclass_fields__)
    return Sample(**{**unknown, "case": case, "lane": lane, "outcome": outcome, "epoch": epoch})  # type: ignore[arg-type]


def test_a_run_may_end_early_only_once_every_pair_is_decided() -> None:
    def decided_after(**lanes: str) -> int | None:
        """After how many cases; a lane is given as a letter for each case: right, wrong, unparsed."""
        early, words = EarlyStop(lanes), {"r": "right", "w": "wrong", "u": "unparsed"}
        for n in range(len(next(iter(lanes.values())))):
            for lane, outcomes in lanes.items():
                early.add(judged(f"c{n}", lane, words[outcomes[n]]))
                early.add(judged(f"c{n}", lane, words[outcomes[n]], epoch=2))  # repeats prove nothing
            if early.is_decided:
                return n + 1
        return None

    assert decided_after(a="r" * 30, b="w" * 30) == 8  # 8 to 0 for one pair, as the reference says
    assert decided_after(a="r" * 30, b="r" * 30) is None
    assert decided_after(a="r" * 30, b="u" * 30) is None
    assert decided_after(a="r" * 30) is None
    assert decided_after(a="r" * 30, b="w" * 30, c="w" * 30) is None
    three = decided_after(a="r" * 60, b="w" * 30 + "r" * 30, c="w" * 60)
    assert three is not None
    assert three > 38


def test_the_majority_of_trajectories() -> None:
    def told(*answers: tuple[str, str | None]) -> list[Trajectory]:
        return [Trajectory(k, outcome, text, f"a{k}") for k, (outcome, text) in enumerate(answers, 1)]  # type: ignore[arg-type]

    assert majority(told(("right", "1/2"), ("right", "0.5"), ("wrong", "7")), "number") == "1/2"
    assert majority(told(("wrong", "Bo  B"), ("wrong", "bo b"), ("right", "Al")), "text") == "Bo  B"
    assert majority(told(("right", "4"), ("wrong", "5")), "number") is None
    assert majority(told(("unparsed", None), ("truncated", None)), "number") is None
    assert majority([], "number") is None
    assert majority(told(("right", "def f"), ("right", "def g")), "code") is None
