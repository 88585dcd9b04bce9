"""Spending and budgets in the log: by user and day, by conversation, after deletions and restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.budget import Budget, Spent
from kimi_ui.core.events import Answer, Event, Usage
from kimi_ui.core.owner import LOCAL
from kimi_ui.log.budgets import BudgetLog
from kimi_ui.log.costs import spent_on, spent_on_day
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from tests.support.log import store, writing
from tests.support.turns import Timed, attempt, ended, turn

PRICE = (1.0, None, 2.0, "2026")
COUNTED = Usage(input_tokens=1_000_000, output_tokens=10)
EACH_USD = 1.0 + 10 * 2.0 / 1e6
TODAY, TOMORROW = "2026-11-21", "2026-11-22"  # attempts are on the first day


def run(lane: str, *events: Event, **fields: Any) -> tuple[Attempt, list[Timed]]:
    return attempt(lane, **fields), ended([(1, Answer("a word")), *((2.0, event) for event in events)])


def usd(amount: float) -> object:
    return pytest.approx(amount)


def test_heavy_counts_its_children_once_and_unpriced_answers_are_counted_separately(
    place: Place, tmp_path: Path
) -> None:
    heavy = attempt("h", role="heavy")
    children = [run("h", COUNTED, role="trajectory", parent_id=heavy.attempt_id, price=PRICE) for _ in range(3)]
    refused = (attempt("c", price=PRICE), ended([], "error"))  # no text and no usage: its cost counts as zero
    logs = [
        turn(run("a", COUNTED, price=PRICE), run("b"), refused, conversation_id="c", owner="me"),
        turn((heavy, ended([(9, Answer("x"))])), *children, conversation_id="d", owner="me"),
        turn(run("a", price=PRICE, input_chars=4), conversation_id="e", owner="you"),
    ]
    with writing(place) as writer:
        store(writer, *logs)
    reader = LogReader(place)
    assert spent_on(reader, ["c"]) == (usd(EACH_USD), 1, 0)
    assert spent_on(reader, ["c", "d", "nothing"]) == (usd(4 * EACH_USD), 1, 0)
    assert spent_on_day(reader, "me", TODAY) == (usd(4 * EACH_USD), 1, 0)
    assert spent_on_day(reader, "you", TODAY) == (usd((1 + 2 * 2.0) / 1e6), 0, 1)
    assert spent_on_day(reader, "me", TOMORROW) == spent_on_day(reader, "nobody", TODAY) == Spent()
    assert spent_on_day(LogReader(tmp_path / "none"), "me", TODAY) == spent_on(reader, []) == Spent()


def test_a_retry_counts_on_its_own_day_not_on_the_day_of_its_turn(place: Place) -> None:
    later = run("a", COUNTED, price=PRICE, attempt_no=2, sent_ms=1e8, started_at_utc=f"{TOMORROW}T00:00:00.000+00:00")
    with writing(place) as writer:
        store(writer, turn(run("a", COUNTED, price=PRICE), later, conversation_id="c", owner="me"))
    reader = LogReader(place)
    assert spent_on_day(reader, "me", TODAY).usd == spent_on_day(reader, "me", TOMORROW).usd == usd(EACH_USD)
    assert spent_on(reader, ["c"]).usd == usd(2 * EACH_USD)


def test_spending_includes_deleted_conversations(place: Place) -> None:
    kept = turn(run("a", COUNTED, price=PRICE), conversation_id="kept", owner="me")
    gone = turn(run("a", COUNTED, price=PRICE), run("b"), conversation_id="gone", owner="me")
    free = turn(run("a", COUNTED, price=(0.0, None, 0.0, "")), conversation_id="free", owner="me")
    with writing(place) as writer:
        store(writer, kept, gone, free)
        for conversation in ("gone", "free"):
            writer.delete_conversation(conversation, "me").result()
        reader = LogReader(place)
        assert spent_on_day(reader, "me", TODAY) == (usd(2 * EACH_USD), 1, 0)
        assert spent_on(reader, ["gone"]) == Spent()
        writer.delete_conversation("kept", "me").result()
        assert spent_on_day(reader, "me", TODAY) == (usd(2 * EACH_USD), 1, 0)
    assert reader.rows("SELECT * FROM spent_deleted") == [
        ("me", TODAY, usd(EACH_USD), 1, 0),
        ("me", TODAY, usd(EACH_USD), 0, 0),
    ]


def test_a_budget_survives_a_restart_and_is_in_nobody_elses_copy(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(place) as writer:
        store(writer, turn(run("a", COUNTED, price=PRICE), conversation_id="c", owner="you"))
        budgets = BudgetLog(writer, LogReader(place))
        assert budgets.of("me") == Budget()
        budgets.keep("me", Budget(1.0, None))
        budgets.keep("me", Budget(None, 0.25))
        budgets.keep("you", Budget(3.0))
        assert budgets.of("me") == Budget(None, 0.25)
        assert budgets.of(LOCAL) == Budget(3.0)
        BudgetLog(writer, LogReader(place)).keep("they", Budget(2.0))  # as another process does
        writer.flush().result()
        monkeypatch.setattr("kimi_ui.log.budgets.READ_FOR_S", 0)
        assert (budgets.of("they"), budgets.of("me")) == (Budget(2.0), Budget(None, 0.25))
        budgets.forget()
        assert budgets.of(LOCAL) == Budget(2.0)
        writer.delete_conversation("c", "you").result()
    reader = LogReader(place)
    assert BudgetLog(writer, reader).of("me") == Budget(None, 0.25)
    reader.copy(tmp_path / "mine.sqlite3", "me")
    mine = LogReader(tmp_path / "mine.sqlite3")
    budgets = BudgetLog(writer, mine)
    assert budgets.of("me") == Budget(None, 0.25)
    assert budgets.of("you") == Budget()
    assert spent_on_day(reader, "you", TODAY).usd == usd(EACH_USD)
    assert spent_on_day(mine, "you", TODAY) == Spent()
