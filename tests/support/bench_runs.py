"""Builds runs of the benchmark as values, as ``bench.records.load`` returns them, without a log.

made = run([lane("kimi"), lane("qwen")], [sample("sums-1", "kimi"), sample("sums-1", "qwen", "wrong")])
made = simulated({"kimi": 0.8, "qwen": 0.6}, cases=120, heavy=("kimi-heavy", "kimi"))
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kimi_ui.bench.results import Outcome, Run, RunLane, Sample, Trajectory, majority

CATEGORIES = ("reasoning", "coding", "math", "creative")
GRADERS = {"coding": "code", "creative": "constraints"}
PACE = {"kimi": (900.0, 22_000.0, 0.005), "kimi-heavy": (950.0, 28_000.0, 0.045), "qwen": (120.0, 6_000.0, 0.0)}
"""Per lane: typical ms to the first token, ms in all, dollars."""


def lane(id: str, label: str = "", **changes: Any) -> RunLane:
    fields: dict[str, Any] = {
        "id": id,
        "label": label or {"kimi": "Kimi K2", "kimi-heavy": "Kimi K2 heavy", "qwen": "Qwen3-Coder:30B"}.get(id, id),
        "model": f"model-of-{id}",
        "provider": "openai",
        "config_sha": f"sha-{id}",
        "priced": True,
        "of": None,
        "stand_in": False,
    }
    return RunLane(**{**fields, **changes})


def sample(case: str, lane: str, outcome: Outcome = "right", epoch: int = 1, **changes: Any) -> Sample:
    """A sample with plausible figures; its category and template are those of the case's name, its ids are unique."""
    template = case.rpartition("-")[0] or case
    category = changes.pop("category", "math")
    sent = outcome not in ("not-run", "context")
    graded = sent and outcome != "endpoint"
    fields: dict[str, Any] = {
        "case": case,
        "category": category,
        "template": template,
        "lane": lane,
        "epoch": epoch,
        "outcome": outcome,
        "extracted": {"right": "42", "wrong": "41"}.get(outcome),
        "reason": {"right": "It equals the expected answer."}.get(outcome, f"It is {outcome}."),
        "grader": GRADERS.get(category, "number"),
        "grader_version": "1",
        "backend": "unshare" if category == "coding" and graded else None,
        "level": "isolated" if category == "coding" and graded else None,
        "turn_id": f"turn-{lane}-{case}-{epoch}" if sent else None,
        "attempt_id": f"attempt-{lane}-{case}-{epoch}" if sent else None,
        "started_at_utc": "2026-11-20T10:00:00.000+00:00" if sent else None,
        "ttft_ms": 500.0 if graded else None,
        "ttfo_ms": 1500.0 if graded else None,
        "e2e_ms": 10_000.0 if graded else None,
        "tpot_ms": 20.0 if graded else None,
        "decode_tps": 50.0 if graded else None,
        "cost_usd": 0.01 if graded else None,
        "input_tokens": 200 if graded else None,
        "output_tokens": 500 if graded else None,
        "reasoning_tokens": 300 if graded else None,
        "token_source": "usage" if graded else None,
    }
    return Sample(**{**fields, **changes})


def run(lanes: Sequence[RunLane], samples: Iterable[Sample], **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "id": "b7f3a2c1",
        "started_at_utc": "2026-11-20T10:00:00.000+00:00",
        "ended_at_utc": "2026-11-20T11:30:00.000+00:00",
        "state": "done",
        "state_reason": "",
        "size": "full",
        "suite_version": 1,
        "seed": 20261101,
        "epochs": 1,
        "budget_usd": None,
        "lanes": tuple(lanes),
        "samples": tuple(samples),
    }
    return Run(**{**fields, **changes})


def verdicts(lane: str, outcomes: str, **changes: Any) -> list[Sample]:
    """A sample per letter, three to a template: right, wrong, unparsed, truncated, time (l)imit, endpoint, context, -
    not run; a space is no sample."""
    named: dict[str, Outcome] = {
        "r": "right",
        "w": "wrong",
        "u": "unparsed",
        "t": "truncated",
        "l": "time_limit",
        "e": "endpoint",
        "c": "context",
        "-": "not-run",
    }
    return [
        sample(f"sums{i // 3}-{i % 3 + 1}", lane, named[letter], **changes)
        for i, letter in enumerate(outcomes)
        if letter != " "
    ]


def simulated(
    strength: Mapping[str, float],
    *,
    cases: int = 120,
    epochs: int = 1,
    seed: int = 1,
    heavy: tuple[str, str] | None = None,
    width: int = 8,
    unpriced: Iterable[str] = (),
    failures: float = 0.03,
    **changes: Any,
) -> Run:
    """A run in which each lane is right with its ``strength``, more often on easy cases. ``heavy``: it and its plain
    lane."""
    rng = random.Random(seed)
    of = dict([heavy]) if heavy else {}
    lanes = [lane(id, of=of.get(id), priced=id not in set(unpriced)) for id in strength]
    found = []
    for number in range(cases):
        category = CATEGORIES[number * len(CATEGORIES) // cases]
        case = f"{category[:4]}{number // 3}-{number % 3 + 1}"
        ease = rng.uniform(-0.25, 0.25)
        for epoch in range(1, epochs + 1):
            for one in lanes:
                found.append(_drawn(rng, case, category, one, strength[one.id] + ease, epoch, width, failures))
    return run(lanes, found, epochs=epochs, **changes)


def _drawn(
    rng: random.Random, case: str, category: str, lane: RunLane, p: float, epoch: int, width: int, failures: float
) -> Sample:
    outcome: Outcome = "right" if rng.random() < p else "wrong"
    if rng.random() < failures:
        outcome = rng.choice(("unparsed", "truncated", "time_limit", "endpoint"))
    first, whole, cost = PACE.get(lane.id, PACE["kimi"])
    spread = rng.lognormvariate(0, 0.35)
    fields: dict[str, Any] = {"category": category}
    if outcome != "endpoint":
        fields |= {
            "ttft_ms": first * spread,
            "ttfo_ms": whole * spread * 0.6,
            "e2e_ms": whole * spread,
            "cost_usd": cost * spread if lane.priced else None,
            "decode_tps": None if lane.of else 1_876_000 / whole / rng.uniform(0.9, 1.1),
            "output_tokens": round(1_800 * spread * (9 if lane.of else 1)),
        }
    if lane.of and outcome != "endpoint":
        grader = GRADERS.get(category, "number")
        drawn: list[Outcome] = ["right" if rng.random() < p else "wrong" for _ in range(width)]
        fields["trajectories"] = tuple(
            Trajectory(k, verdict, "42" if verdict == "right" else str(rng.randint(38, 41)), f"{case}-{epoch}-t{k}")
            for k, verdict in enumerate(drawn, start=1)
        )
        fields["majority"] = majority(fields["trajectories"], grader)
    return sample(case, lane.id, outcome, epoch, **fields)
