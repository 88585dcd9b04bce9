"""What heavy's presets save, and how often they change the majority: simulated over the shapes of a log, or of theory.

    python -m tests.benchmarks.heavy_presets [--db LOG] [--turns 4000] [--seed 1]

A shape is how the answers to one prompt fall into results. With ``--db`` the shapes are those of the log's heavy runs
that launched all their trajectories; without it, and if the log has none, they are those of theory: the leading result
has probability p, the rest is spread over some rivals. Each simulated turn draws eight answers, with log-normal lengths
(sigma 0.5) that do not depend on the result, and lets the app's own stop rule and waves decide.

``launches``, ``tokens`` and ``time`` are means, the last two as shares of full; a cancelled one is billed as far as
it was written. ``cost`` is in single answers (e.g. 1k prompt, 8k reasoning, 1k answer at 0.60 / 2.50 USD), with
one aggregation that reads the answers, skipped when all results agree. ``changed``: the majority is another result than
all eight would give; where all eight tie, none is counted.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kimi_ui.core.heavy.options import plan_of
from kimi_ui.core.heavy.pool import clusters_of
from kimi_ui.core.heavy.stopping import decided
from kimi_ui.log.reader import LogReader

WIDTH = 8
PRESETS = ("full", "thrifty", "fast")
PROMPT, REASONING, ANSWER, IN, OUT = 1_000, 8_000, 1_000, 0.60, 2.50
SINGLE = PROMPT * IN + (REASONING + ANSWER) * OUT

Shape = tuple[str, tuple[float, ...]]
THEORY: list[Shape] = [
    ("p = .95", (0.95, *[0.0125] * 4)),
    ("p = .80", (0.80, *[0.05] * 4)),
    ("p = .60", (0.60, *[0.10] * 4)),
    ("p = .60, one rival", (0.60, 0.40)),
    ("p = .30, six rivals", (0.30, *[0.7 / 6] * 6)),
]


def shapes_of(path: Path) -> list[Shape]:
    """The shapes of the log's full runs with stated results, alike ones once."""
    reader = LogReader(path)
    query = "SELECT turn_id, attempt_id FROM heavy_metrics WHERE launched = width AND usable > 2 AND stopped_at IS NULL"
    found: Counter[tuple[int, ...]] = Counter()
    for turn_id, attempt_id in reader.rows(query):
        turn = reader.turn(turn_id)
        if turn is not None and (clusters := clusters_of(turn.fold(), attempt_id, turn.prompt)[0]).n_stated:
            found[clusters.sizes] += 1
    return [
        (f"{'-'.join(map(str, sizes))} (n = {n})", tuple(size / sum(sizes) for size in sizes))
        for sizes, n in found.most_common()
    ]


def simulated(preset: str, answers: Sequence[int], lengths: Sequence[float]) -> tuple[int, float, float, Counter[int]]:
    """Launches, answers' worth of tokens, time, and the answers in hand at the end."""
    lane = {"width": WIDTH, "preset": preset, "skip_unanimous": True}
    plan = plan_of(lane, {}, "chat")
    now, launched, counted = 0.0, 0, Counter[int]()
    for target in plan.waves:
        wave = sorted(range(launched, target), key=lambda k: lengths[k])
        launched = target
        for place, k in enumerate(wave):
            counted[answers[k]] += 1
            out = WIDTH - counted.total()
            sizes = sorted(counted.values(), reverse=True)
            if plan.stops and out and decided(sizes, out) is not None:
                cut = sum(min(lengths[late], lengths[k]) for late in wave[place + 1 :])
                spent = sum(lengths[done] for done in range(launched) if done not in wave[place + 1 :])
                return launched, spent + cut, now + lengths[k], counted
        now += lengths[wave[-1]]
    return launched, sum(lengths[:launched]), now, counted


def cost_of(tokens: float, n_launched: int, counted: Counter[int]) -> float:
    """In single answers."""
    spent = n_launched * PROMPT * IN + tokens * (REASONING + ANSWER) * OUT
    if len(counted) > 1:
        spent += (PROMPT + counted.total() * ANSWER) * IN + (REASONING + ANSWER) * OUT
    return spent / SINGLE


def leader(counted: Counter[int]) -> int | None:
    first = counted.most_common(2)
    return None if len(first) > 1 and first[0][1] == first[1][1] else first[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--db", type=Path)
    parser.add_argument("--turns", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    shapes = (shapes_of(options.db) if options.db else []) or THEORY
    print(f"{'shape':<24}{'preset':<9}{'launches':>9}{'tokens':>8}{'time':>7}{'cost':>7}{'changed':>9}")
    for name, shares in shapes:
        rng = random.Random(options.seed)
        turns = [
            (rng.choices(range(len(shares)), shares, k=WIDTH), [rng.lognormvariate(-0.125, 0.5) for _ in range(WIDTH)])
            for _ in range(options.turns)
        ]
        full = [simulated("full", *turn) for turn in turns]
        for preset in PRESETS:
            runs = [simulated(preset, *turn) for turn in turns]
            n = len(runs)
            changed = sum(leader(run[3]) != leader(all8[3]) and leader(all8[3]) is not None
                          for run, all8 in zip(runs, full, strict=True))  # fmt: skip
            print(
                f"{name:<24}{preset:<9}{sum(run[0] for run in runs) / n:>9.2f}"
                f"{sum(run[1] for run in runs) / sum(run[1] for run in full):>8.0%}"
                f"{sum(run[2] for run in runs) / sum(run[2] for run in full):>7.0%}"
                f"{sum(cost_of(run[1], run[0], run[3]) for run in runs) / n:>6.1f}×{changed / n:>9.2%}"
            )


if __name__ == "__main__":
    main()
