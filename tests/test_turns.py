"""Turns in memory over the log: memory is newer, a fork shares its origin's turns, a cached fold equals a fresh one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui import turns as turns_module
from kimi_ui.core.branches import Fork
from kimi_ui.core.events import (
    CONNECTED,
    Answer,
    End,
    Entry,
    Event,
    Finish,
    Flag,
    Meta,
    Opened,
    Phase,
    Promoted,
    Reasoning,
    Relabel,
    Usage,
)
from kimi_ui.core.turn import Exchange, LaneInfo, TurnFold, TurnLog
from kimi_ui.turns import Turns
from tests.support.engine_run import turns_at
from tests.support.turns import attempt, ended, turn, unique


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[Turns]:
    with turns_at(tmp_path / "log.sqlite3") as turns:
        yield turns


def said(answer: str, **fields: Any) -> TurnLog:
    """An ended turn of lane a that is not stored yet; its conversation is "c" by default."""
    fields = {"conversation_id": "c"} | fields
    return turn((attempt("a"), ended([(1, Reasoning("Hm.")), (2, Answer(answer))])), closed=False, **fields)


def run(turns: Turns, log: TurnLog, close: bool = True) -> TurnLog:
    """Run a turn as an engine does: open it, append its entries, and close it unless it stays open."""
    entries, log.entries = log.entries, []
    turns.open(log)
    log.entries += entries
    if close:
        turns.close(log)
    return log


def let_go(turns: Turns, *logs: TurnLog) -> None:
    """Drop these closed turns from memory; the log keeps them."""
    turns.writer.flush().result()
    for log in logs:
        turns.forget(log.conversation_id)


def prompts(logs: Sequence[TurnLog]) -> list[str]:
    return [log.prompt for log in logs]


async def test_a_turn_is_taken_from_memory_or_read_from_the_log(turns: Turns) -> None:
    log = run(turns, said("yes"))
    assert turns.get(log.turn_id) is log
    assert await turns.find(log.turn_id) is log
    let_go(turns, log)
    for back in (turns.get(log.turn_id), await turns.find(log.turn_id)):
        assert back is not log
        assert back == log
    assert turns.get("nothing") is None
    assert await turns.find("nothing") is None


def test_a_turn_in_memory_is_preferred_to_the_log(turns: Turns) -> None:
    first = run(turns, said("one", prompt="q0", owner="me"))
    let_go(turns, first)
    second = run(turns, said("two", prompt="q1", seq=1, owner="me"))
    turns.writer.flush().result()
    third = run(turns, said("three", prompt="q2", seq=2, owner="me"), close=False)
    assert prompts(turns.conversation("c")) == ["q0", "q1", "q2"]
    assert turns.conversation("c")[1] is second
    assert turns.recent("c") == [second, third]
    assert turns.live() == turns.live("me") == [third]
    assert turns.live("you") == []
    assert [bool(log.entries) for log in turns.conversation("c", with_entries=False)] == [False, True, True]
    again = attempt("a")
    second.entries.append(Entry("a", again.attempt_id, 0, Opened(again.as_dict())))  # not in the log yet
    second.entries += [Entry("a", again.attempt_id, 1, event) for event in (Answer("better"), End("ok"))]
    assert turns.history("c", "a") == [
        Exchange(0, "q0", "one", "Hm."),
        Exchange(1, "q1", "better", ""),
        Exchange(2, "q2", "three", "Hm."),
    ]
    assert [exchange.seq for exchange in turns.history("c", "a", 1)] == [0]
    assert turns.history("c", "b") == []
    assert (turns.next_seq("c"), turns.next_seq("nothing")) == (3, 0)
    assert (turns.owner_of("c"), turns.owner_of("nothing")) == ("me", None)


@pytest.mark.parametrize("stored", ["nothing", "the origin", "both"])
def test_a_fork_shares_the_turns_before_it(turns: Turns, stored: str) -> None:
    origin = [run(turns, said(f"a{seq}", prompt=f"q{seq}", seq=seq)) for seq in range(3)]
    fork = run(turns, said("else", prompt="q1!", seq=1, conversation_id="d", forked_from="c", forked_at=1))
    turns.writer.flush().result()
    if stored != "nothing":
        let_go(turns, *origin)
    if stored == "both":
        let_go(turns, fork)
    then = run(turns, said("and", prompt="q2!", seq=2, conversation_id="d"))
    turns.writer.flush().result()
    assert prompts(turns.conversation("d")) == ["q0", "q1!", "q2!"]
    assert prompts(turns.conversation("c")) == ["q0", "q1", "q2"]
    assert [exchange.answer for exchange in turns.history("d", "a", then.seq)] == ["a0", "else"]
    assert turns.forks("d") == [Fork("c"), Fork("d", "c", 1)]


def test_a_fork_that_the_log_does_not_know_yet_has_the_stored_turns_before_it(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go(turns, *(run(turns, said(f"a{seq}", prompt=f"q{seq}", seq=seq)) for seq in range(3)))
    monkeypatch.setattr(turns.writer, "open_turn", lambda turn: Future())
    monkeypatch.setattr(turns.writer, "follow", lambda turn: None)
    run(turns, said("else", prompt="q1!", seq=1, conversation_id="d", forked_from="c", forked_at=1))
    run(turns, said("other", prompt="q0!", seq=0, conversation_id="e", forked_from="d", forked_at=0))
    assert prompts(turns.conversation("d")) == ["q0", "q1!"]
    assert [exchange.answer for exchange in turns.history("d", "a")] == ["a0", "else"]
    assert prompts(turns.conversation("e")) == ["q0!"]
    assert (turns.next_seq("d"), turns.next_seq("e")) == (2, 1)


def test_only_the_newest_closed_turns_stay_in_memory(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "RECENT_TURNS", 2)
    running = run(turns, said("on and on", seq=0), close=False)
    closed = [run(turns, said("x", seq=seq)) for seq in range(1, 5)]
    assert turns.recent("c") == [running, *closed[2:]]
    turns.writer.flush().result()
    assert turns.conversation("c") == [running, *closed]
    turns.forget("c")
    assert turns.recent("c") == [running]


def test_a_promotion_after_the_end_is_kept_and_written(turns: Turns) -> None:
    log = run(turns, turn((attempt("a"), ended([(1, Reasoning("42"))], "no_answer")), closed=False))
    (attempt_id,) = log.fold().attempts
    promoted = Entry("a", attempt_id, 2_000_000, Promoted())
    let_go(turns, log)
    back = turns.get(log.turn_id)
    assert back is not None
    turns.add(back, promoted)
    assert back.closed
    assert turns.get(log.turn_id) is back
    turns.reopen(back)
    turns.add(back, promoted)
    assert not back.closed, "a lane of it is running"
    turns.close(back)
    let_go(turns, back)
    (exchange,) = turns.history(log.conversation_id, "a")
    assert exchange.answer == "42"


# -- the fold that is cached on a turn

LANES = ("a", "b")
text = st.sampled_from(["word ", "a longer piece ", "漢字", ""])
happening: st.SearchStrategy[Event] = st.one_of(
    st.builds(Reasoning, text),
    st.builds(Answer, text),
    st.builds(Relabel),
    st.builds(Usage, output_tokens=st.integers(0, 9)),
    st.builds(Meta, response_model=st.sampled_from(["m", None])),
    st.builds(Flag, st.sampled_from(["late", "cut"]), text),
    st.builds(Phase, st.just(CONNECTED)),
    st.builds(Finish, st.just("stop")),
    st.builds(End, st.sampled_from(["ok", "no_answer"])),
    st.builds(Promoted),
)


@st.composite
def entries(draw: Any) -> list[Entry]:
    """Entries of some attempts, each with a child, in any interleaving; and events of lanes before an attempt."""
    opened: list[tuple[str, str]] = []
    made: list[Entry] = []
    for _ in range(draw(st.integers(1, 25))):
        lane = draw(st.sampled_from(LANES))
        what = draw(st.sampled_from(["open", "child", "preparing", *["event"] * 6]))
        if what == "preparing":
            made.append(Entry(lane, "", len(made), Phase("preparing", str(len(made)))))
        elif what == "open" or not opened or what == "child":
            parent = draw(st.sampled_from(opened))[1] if what == "child" and opened else None
            new = attempt(lane, parent_id=parent)
            opened.append((lane, new.attempt_id))
            made.append(Entry(lane, new.attempt_id, 0, Opened(new.as_dict())))
        else:
            lane, attempt_id = draw(st.sampled_from(opened))
            made.append(Entry(lane, attempt_id, len(made), draw(happening)))
    return made


def empty_turn() -> TurnLog:
    return TurnLog(unique("turn"), "c", 0, "?", tuple(LaneInfo(lane, lane, "openai", "m") for lane in LANES))


def contents(fold: TurnFold) -> Any:
    """Everything a fold holds, with its texts joined: the number of their pieces does not matter."""
    for one in fold.folds.values():
        assert one.reasoning is not None
        assert one.written_answer is not None
    return repr(fold)


@given(entries(), st.data())
def test_a_cached_fold_equals_a_fresh_one_and_never_changes(made: list[Entry], data: st.DataObject) -> None:
    log = empty_turn()
    seen: list[tuple[int, TurnFold, Any]] = []
    for entry in made:
        log.append(entry)
        if data.draw(st.booleans()):
            fold = log.fold()
            seen.append((len(log.entries), fold, contents(fold)))
    assert log.fold() is log.fold()
    seen.append((len(made), log.fold(), contents(log.fold())))
    for n, fold, then in seen:
        assert contents(fold) == then, "later entries have changed it"
        assert then == contents(TurnFold.of(log).apply_all(made[:n]))
    one_by_one = TurnFold.of(log)
    for entry in made:
        one_by_one.apply(entry)
    assert contents(log.fold()) == contents(one_by_one), "runs of text add up to the same"


def test_a_turn_is_folded_on_many_threads_while_it_grows() -> None:
    log, one = empty_turn(), attempt("a")
    n_words = 3000
    words = [Entry("a", one.attempt_id, n, Answer(f"{n} ")) for n in range(n_words)]
    whole = "".join(f"{n} " for n in range(n_words))
    problems: list[str] = []
    start = threading.Barrier(5)

    def look() -> None:
        start.wait()
        n_seen = 0
        while n_seen < n_words:
            fold = log.fold()
            newest = fold.newest("a")
            answer, n = (newest.answer, newest.n_chunks) if newest else ("", 0)
            if not whole.startswith(answer) or answer.count(" ") != n or n < n_seen:
                problems.append(f"{n} words make {answer[-20:]!r} after {n_seen}")
                return
            n_seen = n

    readers = [threading.Thread(target=look) for _ in range(4)]
    for reader in readers:
        reader.start()
    start.wait()
    log.append(Entry("a", one.attempt_id, 0, Opened(one.as_dict())))
    for word in words:
        log.append(word)
    for reader in readers:
        reader.join()
    assert problems == []
