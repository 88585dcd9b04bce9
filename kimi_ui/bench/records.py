"""Runs of the benchmark in the log: their rows, and reading them back as ``results.Run``.

A run's plan is written whole before the first request. The attempts are turns of kind ``bench`` in the same log as
chat; an item of the plan names its turn before that is sent, so nothing has to be written to join the two.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from .. import __version__, utc
from ..core.lane import LaneSpec
from ..log.reader import ID_BATCH, LogReader
from ..log.records import Op, op_of, to_json
from ..log.store import Rows, Transaction, owned
from .plan import Item
from .results import Run, RunLane, Sample, Trajectory, majority

RUNNING, DONE, STOPPED, BUDGET, DECIDED, INTERRUPTED = "running", "done", "stopped", "budget", "decided", "interrupted"

PATHS = ("tokenizer", "gguf")  # of this machine; a GGUF file's name is the lane's model
_NOT_ANSWERS = ("label", "price", "api_key_env", *PATHS, "stand_in_for", "how_to_get_real")
"""Fields of a lane that its answers do not depend on."""

_FIGURES = (
    *("ttft_ms", "ttfo_ms", "e2e_ms", "tpot_ms", "decode_tps", "cost_usd"),
    *("input_tokens", "output_tokens", "reasoning_tokens", "token_source", "started_at_utc"),
)
_SUMMED = ("e2e_ms", "cost_usd", "input_tokens", "output_tokens", "reasoning_tokens")
LOST = ("open", "interrupted", "stopped")  # statuses of attempts without an end of their own


class RunIsRunning(Exception):
    """Another process, or another thread of this one, runs this run now. The text is a sentence."""


class NoSuchRun(Exception):
    """There is no run with this id. The text is a sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Head:
    """The row of ``benchmarks``."""

    id: str
    owner: str
    boot_id: str
    started_at_utc: str
    ended_at_utc: str | None
    state: str
    state_reason: str
    size: str
    suite_version: int
    seed: int
    epochs: int
    order_seed: int
    budget_usd: float | None
    app_version: str


class RunHead(NamedTuple):
    """A run in a list. ``n_done``: items with an outcome, of ``n_planned``. ``cost_usd``: the sum of the known costs,
    None if none is; ``n_unpriced``: answers whose cost is not known."""

    id: str
    started_at_utc: str
    ended_at_utc: str | None
    state: str
    state_reason: str
    size: str
    lanes: tuple[str, ...]
    n_planned: int
    n_done: int
    n_right: int
    cost_usd: float | None
    n_unpriced: int


class Sent(NamedTuple):
    """A top-level attempt of an item, the newest of its turn, in the order of the turns.

    ``is_lost``: it has no end of its own, because its process died or it was stopped, so it is sent again.
    """

    turn_id: str
    seq: int
    attempt_id: str | None
    is_lost: bool


class Cost(NamedTuple):
    """What an attempt of an item cost; None: not known. ``wrote``: it gave some text. ``may_be_billed``: it was cut off
    after it was sent, so a server may bill it all the same."""

    position: int
    attempt_id: str
    usd: float | None
    wrote: bool
    may_be_billed: bool


# Rows


def config_of(spec: LaneSpec, specs: Mapping[str, LaneSpec]) -> dict[str, Any]:
    """A lane's configuration without keys and without paths of this machine; heavy's with that of its plain lane."""
    found = asdict(spec)
    for name in PATHS:
        found.pop(name, None)
    if spec.of:
        found["inner"] = config_of(specs[spec.of], specs)
    return found


def config_sha(spec: LaneSpec, specs: Mapping[str, LaneSpec]) -> str:
    """A fingerprint of what the lane's answers and times depend on; its price, label and key are not among that."""

    def relevant(one: LaneSpec) -> dict[str, Any]:
        fields = {name: value for name, value in asdict(one).items() if name not in _NOT_ANSWERS}
        return fields | ({"inner": relevant(specs[one.of])} if one.of else {})

    text = orjson.dumps(relevant(spec), option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(text).hexdigest()[:16]


def head_op(head: Head) -> Op:
    return op_of("benchmarks", asdict(head))


def lane_op(run_id: str, position: int, spec: LaneSpec, specs: Mapping[str, LaneSpec]) -> Op:
    inner = specs.get(spec.of, spec)
    row = {
        "run_id": run_id,
        "position": position,
        "lane": spec.id,
        "label": spec.label,
        "model": inner.model,
        "config_sha": config_sha(spec, specs),
        "config": to_json(config_of(spec, specs)),
    }
    return op_of("benchmark_lanes", row)


def item_op(run_id: str, item: Item) -> Op:
    return op_of("benchmark_items", {"run_id": run_id, **item._asdict()})


def verdict_op(attempt_id: str, verdict: str, reason: str, **fields: Any) -> Op:
    """A verdict on an attempt. ``fields``: extracted, grader, grader_version, backend, level, where there are any."""
    row = {
        "verdict_id": uuid.uuid4().hex,
        "attempt_id": attempt_id,
        "verdict": verdict,
        "extracted": None,
        "reason": reason,
        "grader": "",
        "grader_version": "",
        "backend": None,
        "level": None,
        "graded_at_utc": utc.now_text(),
        **fields,
    }
    return op_of("benchmark_verdicts", row)


def claim(log: Transaction, run_id: str, boot_id: str, budget_usd: float | None) -> set[str]:
    """Mark a run as run by this process. Raises ``RunIsRunning``, ``NoSuchRun``."""
    state = next(log.rows("SELECT state FROM benchmarks WHERE id = :id", id=run_id), None)
    if state is None:
        raise NoSuchRun(f"There is no run {run_id}; `python -m kimi_ui bench runs` lists them.")
    if state[0] == RUNNING:
        raise RunIsRunning(f"The run {run_id} is running already, here or in another process; wait for it or stop it.")
    log.execute(
        """
        UPDATE benchmarks SET state = 'running', state_reason = '', ended_at_utc = NULL, boot_id = :boot_id,
            budget_usd = :budget_usd
        WHERE id = :id
        """,
        id=run_id,
        boot_id=boot_id,
        budget_usd=budget_usd,
    )
    return set()


def add_warm_ups(log: Transaction, run_id: str, items: Iterable[Item]) -> set[str]:
    """Add a start of a run: its warm-ups at the end of the plan, with the start's number. Processes that start at the
    same time get different ones."""
    log.execute("UPDATE benchmarks SET state = state WHERE id = :id", id=run_id)  # the others wait for this row
    query = "SELECT max(position), max(warm_up) FROM benchmark_items WHERE run_id = :id"
    ((last, start),) = log.rows(query, id=run_id)
    for at, item in enumerate(items, start=last + 1):
        op = item_op(run_id, item._replace(position=at, warm_up=start + 1))
        log.execute(op.sql, **op.row)
    return set()


def worker_op(run_id: str, boot_id: str, name: str, at_a_time: int) -> Op:
    """That the process ``boot_id`` works on a run: on which machine, and with how many items at a time of a server."""
    row = {
        "run_id": run_id,
        "boot_id": boot_id,
        "name": name,
        "app_version": __version__,
        "at_a_time": at_a_time,
        "joined_at_utc": utc.now_text(),
    }
    return op_of("benchmark_workers", row)


# Reading


def runs(log: LogReader, owner: str | None = None) -> list[RunHead]:
    """All runs, newest first; only those of ``owner`` if given."""
    heads = f"""
        SELECT run_id AS id, started_at_utc, ended_at_utc, state, state_reason, size, n_planned, n_done, n_right
        FROM bench_runs WHERE {"TRUE" if owner is None else owned(owner)} ORDER BY started_at_utc DESC, run_id
    """
    costs = """
        SELECT i.run_id, sum(m.cost_usd), count(*) FILTER (WHERE m.cost_usd IS NULL AND m.output_tokens IS NOT NULL)
        FROM benchmark_items i JOIN turns f ON f.turn_id = i.turn_id
        JOIN turns t ON t.conversation_id = f.conversation_id JOIN measured m ON m.turn_id = t.turn_id
        GROUP BY i.run_id
    """
    with log.snapshot() as rows:
        lanes: dict[str, list[str]] = {}
        for run_id, label in rows.rows("SELECT run_id, label FROM benchmark_lanes ORDER BY run_id, position"):
            lanes.setdefault(run_id, []).append(label)
        cost = {run_id: {"cost_usd": usd, "n_unpriced": n} for run_id, usd, n in rows.rows(costs)}
        no_cost = {"cost_usd": None, "n_unpriced": 0}
        return [
            RunHead(**row, lanes=tuple(lanes.get(row["id"], ())), **cost.get(row["id"], no_cost))
            for row in rows.records(heads, owner=owner)
        ]


def ended_as(log: LogReader, states: Iterable[str], owner: str | None = None) -> list[str]:
    """The ids of the runs in one of these states, newest first; only those of ``owner`` if given."""
    query = f"""
        SELECT id FROM benchmarks WHERE state IN :states AND {"TRUE" if owner is None else owned(owner)}
        ORDER BY started_at_utc DESC, id
    """
    return [run_id for (run_id,) in log.rows(query, states=list(states), owner=owner)]


def find(log: LogReader, name: str) -> str:
    """The id of a run by the beginning of its id, or "last". Raises ``NoSuchRun``."""
    ids = [str(run_id) for (run_id,) in log.rows("SELECT id FROM benchmarks ORDER BY started_at_utc DESC, id")]
    found = ids[:1] if name == "last" else [run_id for run_id in ids if name and run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"Several runs begin with {name}" if found else f"There is no run {name}"
    raise NoSuchRun(f"{what}; `python -m kimi_ui bench runs` lists them.")


def head(log: Rows, run_id: str) -> Head:
    """The row of a run. Raises ``NoSuchRun``."""
    row = next(log.records("SELECT * FROM benchmarks WHERE id = :id", id=run_id), None)
    if row is None:
        raise NoSuchRun(f"There is no run {run_id}; `python -m kimi_ui bench runs` lists them.")
    return Head(**{name: row[name] for name in Head.__dataclass_fields__})


def load(log: LogReader, run_id: str) -> Run:
    """A whole run. Raises ``NoSuchRun``."""
    with log.snapshot() as rows:
        of = head(rows, run_id)
        return Run(
            id=of.id,
            started_at_utc=of.started_at_utc,
            state=of.state,
            state_reason=of.state_reason,
            size=of.size,
            ended_at_utc=of.ended_at_utc,
            suite_version=of.suite_version,
            seed=of.seed,
            epochs=of.epochs,
            budget_usd=of.budget_usd,
            lanes=lanes(rows, run_id),
            samples=tuple(samples(rows, run_id)),
        )


def lanes(log: Rows, run_id: str) -> tuple[RunLane, ...]:
    """The lanes of a run, as they were when it began."""
    query = "SELECT lane, label, model, config_sha, config FROM benchmark_lanes WHERE run_id = :id ORDER BY position"
    found = []
    for lane, label, model, sha, text in log.rows(query, id=run_id):
        config = orjson.loads(text)
        inner = config.get("inner", config)
        found.append(
            RunLane(
                id=lane,
                label=label,
                model=model,
                provider=config["provider"],
                config_sha=sha,
                priced=inner["price"] is not None,
                of=config["of"] or None,
                stand_in=bool(inner["stand_in_for"]),
            )
        )
    return tuple(found)


def items(log: Rows, run_id: str) -> list[Item]:
    """The plan of a run, warm-ups included, in order."""
    query = f"SELECT {', '.join(Item._fields)} FROM benchmark_items WHERE run_id = :id ORDER BY position"
    return [Item(*row) for row in log.rows(query, id=run_id)]


def finished(log: Rows, run_id: str, positions: Sequence[int] | None = None) -> set[int]:
    """The positions of items that have an outcome, of these if given."""
    query = f"""
        SELECT position FROM bench_verdicts
        WHERE run_id = :id AND outcome <> 'not-run' {"" if positions is None else "AND position IN :positions"}
    """
    batches = [None] if positions is None else _batches(positions)
    return {position for batch in batches for (position,) in log.rows(query, id=run_id, positions=batch)}


def under_way(log: Rows, run_id: str) -> list[tuple[int, str, str, str]]:
    """What was sent of a run and has not ended: each item's position, case, lane and the process that sent it."""
    query = """
        SELECT i.position, i.case_id, i.lane, a.boot_id
        FROM benchmark_items i
        JOIN turns f ON f.turn_id = i.turn_id
        JOIN turns t ON t.conversation_id = f.conversation_id
        JOIN attempts a ON a.turn_id = t.turn_id
        WHERE i.run_id = :id AND a.status = 'open' AND a.parent_id IS NULL
        ORDER BY i.position, a.attempt_no
    """
    return [(position, case, lane, boot_id) for position, case, lane, boot_id in log.rows(query, id=run_id)]


def sent(log: Rows, run_id: str, positions: Iterable[int] | None = None) -> dict[int, list[Sent]]:
    """What was sent of each item that has a turn in the log: the newest attempt of each of its turns, in order."""
    query = f"""
        SELECT i.position, t.turn_id, t.seq, a.attempt_id, a.status, a.retry_in_s
        FROM benchmark_items i
        JOIN turns f ON f.turn_id = i.turn_id
        JOIN turns t ON t.conversation_id = f.conversation_id
        LEFT JOIN attempts a ON a.turn_id = t.turn_id AND a.lane = i.lane AND a.parent_id IS NULL
        WHERE i.run_id = :id {"" if positions is None else "AND i.position IN :positions"}
        ORDER BY i.position, t.seq, a.attempt_no, a.started_at_utc, a.attempt_id
    """
    found: dict[int, dict[int, Sent]] = {}
    for batch in [None] if positions is None else _batches(list(positions)):
        for position, turn_id, seq, attempt_id, status, retry_in_s in log.rows(query, id=run_id, positions=batch):
            is_lost = status is None or status in LOST or retry_in_s is not None
            found.setdefault(position, {})[seq] = Sent(turn_id, seq, attempt_id, is_lost)
    return {position: list(by_seq.values()) for position, by_seq in found.items()}


def costs(log: Rows, run_id: str) -> list[Cost]:
    """The cost of every attempt of a run, superseded ones and warm-ups included; heavy's is that of the whole run."""
    query = """
        SELECT i.position, m.attempt_id, m.cost_usd, m.output_tokens IS NOT NULL,
               m.status IN ('interrupted', 'stopped', 'incomplete', 'timeout')
        FROM benchmark_items i
        JOIN turns f ON f.turn_id = i.turn_id
        JOIN turns t ON t.conversation_id = f.conversation_id
        JOIN measured m ON m.turn_id = t.turn_id
        WHERE i.run_id = :id
    """
    return [
        Cost(position, attempt_id, usd, bool(wrote), bool(cut))
        for position, attempt_id, usd, wrote, cut in log.rows(query, id=run_id)
    ]


def samples(log: Rows, run_id: str, positions: Sequence[int] | None = None) -> list[Sample]:
    """The samples of a run in planned order; only those at these ``positions`` if given."""
    query = f"""
        SELECT * FROM bench_verdicts WHERE run_id = :id {"" if positions is None else "AND position IN :positions"}
        ORDER BY position
    """
    rows = [
        row
        for batch in ([None] if positions is None else _batches(positions))
        for row in log.records(query, id=run_id, positions=batch)
    ]
    tries = sent(log, run_id, positions)
    judged = [row for row in rows if row["attempt_id"]]
    wanted = {one.attempt_id for row in judged for one in tries[row["position"]] if one.attempt_id}
    wanted |= {row["attempt_id"] for row in judged}  # which is not the newest if two processes sent the item
    measured = figures(log, sorted(wanted))
    trajectories = _trajectories(log, [row["attempt_id"] for row in judged])
    return [_sample(row, tries.get(row["position"], []), measured, trajectories) for row in rows]


def _sample(
    row: Mapping[str, Any],
    tries: Sequence[Sent],
    figures: Mapping[str, Mapping[str, Any]],
    trajectories: Mapping[str, tuple[Trajectory, ...]],
) -> Sample:
    attempt_id = row["attempt_id"]
    measured = dict(figures.get(attempt_id, dict.fromkeys(_FIGURES)))
    if attempt_id and len(tries) > 1:
        for name in _SUMMED:
            values = [figures.get(one.attempt_id or "", {}).get(name) for one in tries]
            measured[name] = None if None in values else sum(value for value in values if value is not None)
    of_heavy = trajectories.get(attempt_id, ()) if len(tries) == 1 else ()
    return Sample(
        case=row["case_id"],
        category=row["category"],
        template=row["template"],
        lane=row["lane"],
        epoch=row["epoch"],
        outcome=row["outcome"],
        extracted=row["extracted"],
        reason=row["reason"] or "",
        grader=row["grader"] or "",
        grader_version=row["grader_version"] or "",
        backend=row["backend"],
        level=row["level"],
        turn_id=row["turn_id"],
        attempt_id=attempt_id,
        **measured,
        trajectories=of_heavy,
        majority=majority(of_heavy, row["grader"] or ""),
    )


def figures(log: Rows, attempt_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The figures of these top-level attempts that have ended.

    From ``measured``, the cache of ``attempt_metrics``: to compile that view takes SQLite 50 ms for each connection.
    """
    query = f"SELECT attempt_id, {', '.join(_FIGURES)} FROM measured WHERE attempt_id IN :ids"
    return {row.pop("attempt_id"): row for batch in _batches(attempt_ids) for row in log.records(query, ids=batch)}


def _trajectories(log: Rows, attempt_ids: Sequence[str]) -> dict[str, tuple[Trajectory, ...]]:
    """The trajectories of these attempts, those of heavy, with their newest verdicts."""
    query = """
        SELECT c.parent_id, c.k_index, c.attempt_id, v.verdict, v.extracted
        FROM attempts c LEFT JOIN benchmark_verdicts v ON v.attempt_id = c.attempt_id
        WHERE c.parent_id IN :ids AND c.role = 'trajectory'
        ORDER BY c.parent_id, c.k_index, c.attempt_no, v.number
    """
    found: dict[str, dict[int, Trajectory]] = {}
    for batch in _batches(attempt_ids):
        for parent_id, k, attempt_id, verdict, extracted in log.rows(query, ids=batch):
            found.setdefault(parent_id, {})[k] = Trajectory(k + 1, verdict or "not-run", extracted, attempt_id)
    return {parent_id: tuple(by_number.values()) for parent_id, by_number in found.items()}


def _batches(values: Sequence[Any]) -> list[list[Any]]:
    return [list(values[start : start + ID_BATCH]) for start in range(0, len(values), ID_BATCH)]
