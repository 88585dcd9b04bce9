"""A run of the benchmark over the real engine and log: what it sends, grades and records, and how it goes on after any
end."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.bench import records, runner, suite
from kimi_ui.bench.plan import Chosen, PlanError
from kimi_ui.bench.results import Sample
from kimi_ui.bench.start import CannotRun, Wanted
from kimi_ui.cli.main import main
from kimi_ui.core.events import Answer, Failure, Finish, Flag
from kimi_ui.core.lane import Price
from kimi_ui.log.conversations import list_conversations
from kimi_ui.log.reader import LogReader
from kimi_ui.log.search import search
from kimi_ui.providers.base import ChatRequest, Provider, ProviderError
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.stats import sample as stats
from tests.support.bench_model import cases, knowing, lanes
from tests.support.engine_run import Run, running
from tests.support.killed_runs import found_in, killed_run
from tests.support.scripted import ScriptedProvider

PRICED: dict[str, Any] = {"price": Price(1.0, 2.0), "params": {"max_tokens": 1000}}


def wanted(*ids: str, lane: tuple[str, ...] = ("good", "poor", "heavy"), **fields: Any) -> Wanted:
    return Wanted(Chosen("chosen", cases(*ids)), suite.SEED, lane, order_seed=3, **fields)


@contextmanager
def opened(path: Path, *providers: Provider) -> Iterator[Run]:
    with running(path, *(providers or lanes(cases(), ("jugs-1",)))) as run:
        yield run


def finished(run: Run, want: Wanted, **options: Any) -> tuple[records.Head, list[Sample]]:
    told: list[Sample] = []
    head = runner.begin(run.engine, run.turns, want).run(on_sample=told.append, **options)
    return head, told


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def test_a_run_is_sent_graded_and_recorded(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite3"
    seen: list[runner.Progress] = []
    with opened(log) as run:
        going = runner.begin(run.engine, run.turns, wanted("jugs-1", "stock-1", epochs=2))
        assert not rows(log, "SELECT 1 FROM turns")  # the whole plan is there before the first request
        assert rows(log, "SELECT count(*) FROM benchmark_items") == [(2 * 3 * 2 + 2,)]
        told: list[Sample] = []
        head = going.run(seen.append, told.append)
        found = records.load(run.reader, head.id)
    assert (head.state, head.state_reason, found.state, found.epochs) == ("done", "", "done", 2)
    assert len(found.samples) == len(told) == 12
    assert set(told) == set(found.samples)
    assert (seen[0].done, seen[0].left_s, seen[-1].done, seen[-1].left_s) == (0, None, 12, 0.0)
    outcome = {(one.case, one.lane): one.outcome for one in found.samples}
    assert {lane for (case, lane), what in outcome.items() if what != "right"} == {"poor", "heavy"}
    assert {case for (case, lane), what in outcome.items() if what != "right"} == {"jugs-1"}
    for one in found.samples:
        assert one.turn_id
        assert one.attempt_id
        assert one.e2e_ms is not None
        assert one.cost_usd is None  # without a price it is not known
        messages = len(next(case for case in cases() if case.id == one.case).turns) or 1
        requests = messages * (3 if one.lane == "heavy" and one.case != "jugs-1" else 1)
        assert one.input_tokens is not None
        assert one.input_tokens >= 200 * requests or one.lane == "heavy"
        is_heavy = one.lane == "heavy" and one.case != "stock-1"
        assert [k.outcome for k in one.trajectories] == ([one.outcome] * 2 if is_heavy else [])
    assert {one.majority for one in found.samples if (one.case, one.lane) == ("jugs-1", "heavy")} == {"123456"}
    by_id = {lane.id: lane for lane in found.lanes}
    assert (by_id["heavy"].of, by_id["heavy"].model, by_id["good"].priced, by_id["good"].stand_in) == (
        "poor", "m-2", False, False,
    )  # fmt: skip


def test_turns_of_a_run_are_bench_turns_of_the_same_log(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite3"
    script = knowing(cases())
    unfinished = """
        SELECT count(*) FROM attempts a JOIN turns t ON t.turn_id = a.turn_id
        JOIN turns later ON later.conversation_id = t.conversation_id AND later.seq > t.seq WHERE a.status = 'open'
    """

    def watching(request: ChatRequest) -> Any:
        """A kill now must not lose the end of an earlier turn of this conversation."""
        assert rows(log, unfinished) == [(0,)]
        return script(request)

    with opened(log, ScriptedProvider(lanes(cases())[0].spec, [watching])) as run:
        head, _ = finished(run, wanted("jugs-1", "stock-1", lane=("good",), owner="me"))
        case = cases("jugs-1")[0]
        chat = run.engine.send(case.prompt, lanes=["good"], owner="me")
        run.folds(chat)
        run.writer.flush().result()
        kinds = Counter(kind for (kind,) in run.reader.rows("SELECT kind FROM turns"))
        assert kinds == {"chat": 1, "bench": 1 + 1 + len(cases("stock-1")[0].turns)}  # and the warm-up
        assert [one.conversation_id for one in list_conversations(run.reader, "me")] == [chat.conversation_id]
        assert {one.conversation_id for one in search(run.reader, "me", case.prompt[:20])} == {chat.conversation_id}
        measured = stats.load(run.reader, stats.Filters(kind="bench"))
        assert sum(series.statuses.total() for series in measured.series) == kinds["bench"]
        turn = run.reader.turn(records.load(run.reader, head.id).samples[0].turn_id or "")
        assert turn is not None
        assert turn.fold().newest("good")
    summary = rows(log, "SELECT lane, sum(n_planned), sum(n_right), sum(n_not_run) FROM bench_summary GROUP BY lane")
    assert summary == [("good", 2, 2, 0)]
    assert rows(log, "SELECT state, n_planned, n_done, n_right FROM bench_runs") == [("done", 2, 2, 2)]
    (of,) = records.runs(LogReader(log))
    assert (of.lanes, of.n_done, of.cost_usd) == (("Good",), 2, None)


def test_failures_are_kept_apart_by_their_cause(tmp_path: Path) -> None:
    known = cases("jugs-1", "congruences-1", "keywords-1")
    script = knowing(known)

    def failing(request: Any) -> Any:
        at = next(case.id for case in known if request.messages[0].content.startswith(case.prompt))
        if not request.params.get("fails") and at == "jugs-1":
            return [ProviderError(Failure("upstream", "The model server broke.", "Send again."))]
        if at == "congruences-1":
            return [Answer("Answer: "), Finish("length")]
        return [Flag("context_truncated", "40 of about 90 tokens"), *script(request)]

    good = ScriptedProvider(lanes(known)[0].spec, [script, failing])
    heavy = HeavyProvider(HeavyLane("heavy", "Heavy", of="good", width=2, quorum=2), good)
    with opened(tmp_path / "log.sqlite3", good, heavy) as run:
        head, told = finished(run, wanted("jugs-1", "congruences-1", "keywords-1", lane=("good", "heavy")))
    by_case = {one.case: one for one in told if one.lane == "good"}
    assert head.state == "done"
    assert {(one.case, one.outcome) for one in told} == {
        ("jugs-1", "endpoint"), ("congruences-1", "truncated"), ("keywords-1", "context"),
    }  # fmt: skip
    assert len(told) == 6
    assert "broke" in by_case["jugs-1"].reason
    assert by_case["jugs-1"].grader_version == ""
    assert "40 of about 90" in by_case["keywords-1"].reason


def test_a_lane_that_does_not_answer_ends_the_run_at_its_warm_up(tmp_path: Path) -> None:
    spec = lanes(cases())[0].spec
    broken = ScriptedProvider(spec, [[ProviderError(Failure("auth", "The key is refused.", "Set another."))]])
    with opened(tmp_path / "log.sqlite3", broken) as run:
        head, told = finished(run, wanted(lane=("good",)))
        assert (head.state, told, len(broken.requests)) == ("stopped", [], 1)
        assert "The key is refused. Set another." in head.state_reason
        broken.scripts = [knowing(cases())]
        again = runner.resume(run.engine, run.turns, head.id)
        assert again.run().state == "done"
        with pytest.raises(CannotRun, match="is done"):
            runner.resume(run.engine, run.turns, head.id)


def test_a_prompt_beyond_the_context_is_not_sent(tmp_path: Path) -> None:
    (good, *_) = lanes(cases())
    assert isinstance(good, ScriptedProvider)

    class Small(type(good.spec)):  # type: ignore[misc]
        @property
        def context_tokens(self) -> int:
            return 1150

    good.spec = Small(**vars(good.spec))
    with opened(tmp_path / "log.sqlite3", good) as run:
        head, told = finished(run, wanted("jugs-1", "keywords-1", "stock-1", lane=("good",)))
    outcomes = {one.case: one.outcome for one in told}
    assert head.state == "done"
    assert outcomes["stock-1"] == "context"
    assert Counter(outcomes.values())["right"] >= 1
    unfit = next(one for one in told if one.outcome == "context")
    assert "1,150" in unfit.reason
    assert (unfit.turn_id, unfit.e2e_ms) == (None, None)


def test_a_budget_is_kept_before_each_send(tmp_path: Path) -> None:
    providers = lanes(cases(), **PRICED)
    with opened(tmp_path / "log.sqlite3", *providers) as run:
        # A request costs 200 in and 50 out = 0.0003; at most it could cost about 0.0022.
        want = wanted("jugs-1", "congruences-1", "keywords-1", lane=("good",), budget_usd=0.0027)
        seen: list[Any] = []
        told: list[Sample] = []
        head = runner.begin(run.engine, run.turns, want).run(seen.append, told.append)
        assert head.state == "budget"
        assert 1 <= len(told) < 3
        assert seen[-1].spent_usd <= 0.0027
        assert told[0].cost_usd == pytest.approx(0.0003)
        again = runner.resume(run.engine, run.turns, head.id, budget_usd=1.0)
        assert again.progress.spent_usd == pytest.approx(seen[-1].spent_usd)
        assert again.run().state == "done"
        with pytest.raises(PlanError, match="price of Unpriced"):
            unpriced = ScriptedProvider(replace(providers[0].spec, label="Unpriced", price=None), [knowing(cases())])
            with running(tmp_path / "other.sqlite3", unpriced) as other:
                runner.begin(other.engine, other.turns, want)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    log, hold = tmp_path / "log.sqlite3", threading.Event()
    known = cases()
    script = knowing(known)
    runs: list[runner.Runner] = []

    def stopping(_: Any) -> list[Any]:
        runs[0].stop()
        return [Answer("Well, "), hold]

    held = ScriptedProvider(lanes(known)[0].spec, [script, script, stopping])  # the warm-up, an item, and one more
    with opened(log, held) as run:
        going = runner.begin(run.engine, run.turns, wanted(lane=("good",)))
        runs.append(going)
        with pytest.raises(records.RunIsRunning):
            runner.resume(run.engine, run.turns, going.head.id)
        told: list[Sample] = []
        head = going.run(on_sample=told.append)
        assert (head.state, head.state_reason) == ("stopped", runner.EXPLORATORY)
        assert len(told) == 1
        statuses = Counter(status for (status,) in rows(log, "SELECT status FROM attempts WHERE parent_id IS NULL"))
        assert statuses == {"ok": 2, "stopped": 1}
        before = records.load(run.reader, head.id)
        assert Counter(one.outcome for one in before.samples) == {"right": 1, "not-run": 3}
        held.scripts = [script]
        assert runner.resume(run.engine, run.turns, head.id).run().state == "done"
        found = found_in(log)
        assert (found.items, found.lost, found.twice) == (4, 0, 0)


def test_a_changed_lane_is_not_resumed_and_ends_a_run(tmp_path: Path) -> None:
    with opened(tmp_path / "log.sqlite3") as run:
        going = runner.begin(run.engine, run.turns, wanted(lane=("good", "heavy")))
        going.stop()
        head = going.run()
        engine_specs = {spec.id: spec for spec in run.engine.specs}
        poor = run.engine._roster.provider("poor")
        poor.spec = replace(engine_specs["poor"], params={"temperature": 0.1})
        with pytest.raises(CannotRun, match="Heavy is not configured as it was"):
            runner.resume(run.engine, run.turns, head.id)
        poor.spec = replace(engine_specs["poor"], label="Another name", price=Price(1, 1))
        again = runner.resume(run.engine, run.turns, head.id)  # neither is what an answer depends on
        poor.spec = replace(engine_specs["poor"], model="another")
        ended = again.run()
        assert ended.state == "stopped"
        assert "was changed while the run went on" in ended.state_reason


def test_an_answer_without_its_verdict_is_graded_without_a_request(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite3"
    providers = lanes(cases(), ("jugs-1",))
    with opened(log, *providers) as run:
        head, _ = finished(run, wanted("jugs-1", "stock-1", lane=("poor",)))
    with closing(sqlite3.connect(log)) as db, db:
        db.execute("DELETE FROM benchmark_verdicts")
        db.execute("UPDATE benchmarks SET state = 'interrupted'")
    (_, poor, _) = providers = lanes(cases(), ("jugs-1",))
    assert isinstance(poor, ScriptedProvider)
    with opened(log, *providers) as run:
        told: list[Sample] = []
        assert runner.resume(run.engine, run.turns, head.id).run(on_sample=told.append).state == "done"
    assert {(one.case, one.outcome) for one in told} == {("jugs-1", "wrong"), ("stock-1", "right")}
    assert poor.requests == []


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite3"
    killed_run(log, 3, random.Random(4), epochs=1, longest_s=0.5)
    found = found_in(log)
    assert (found.items, found.lost, found.twice) == (12, 0, 0)
    assert rows(log, "SELECT state FROM benchmarks") == [("done",)]
    assert rows(log, "SELECT sum(n_not_run), sum(n_right), sum(n_wrong) FROM bench_summary") == [(0, 10, 2)]


LANES = """
[[lane]]
id = "small"
provider = "embedded"
think = false
params = { max_tokens = 20 }

[[lane]]
id = "small-heavy"
provider = "heavy"
of = "small"
width = 2
quorum = 2
"""


@pytest.mark.slow
def test_the_quick_suite_on_the_embedded_stand_in_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lanes.toml").write_text(LANES)
    db = ["--db", str(tmp_path / "log.sqlite3")]
    where = ["--lanes", str(tmp_path / "lanes.toml"), *db]
    assert main(["bench", "--quick", "--case", "swaps-1", "--case", "run-lengths-1", "--json", *where]) == 0
    *samples, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (end["state"], end["done"], end["planned"], end["spent_usd"]) == ("done", 4, 4, 0.0)
    assert {(one["case"], one["lane"]) for one in samples} == {
        (case, lane) for case in ("swaps-1", "run-lengths-1") for lane in ("small", "small-heavy")
    }
    for one in samples:
        assert one["outcome"] in ("right", "wrong", "unparsed", "truncated")
        assert one["ttft_ms"] > 0
        assert len(one["trajectories"]) == (2 if one["lane"] == "small-heavy" else 0)
    assert main(["bench", "runs", *db]) == 0
    listed = capsys.readouterr().out
    assert end["run"] in listed
    assert "done" in listed
