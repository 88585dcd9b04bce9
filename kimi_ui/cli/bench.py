"""``bench``: the benchmark's cases, the grading of an answer, and the sandbox for code; ``bench_run`` runs it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from . import bench_export, bench_preferences, bench_report, bench_run, bench_work
from .common import CommandError, printable

if TYPE_CHECKING:
    from ..bench.graders import Verdict
    from ..bench.suite import Case


def add(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="run the benchmark over the lanes; list its cases, grade an answer, test the sandbox",
        description="The benchmark: cases made from a seed, deterministic graders, a sandbox for models' code. Without "
        "a PART it runs: 20 cases, or those that the options name, in every lane. With KIMI_UI_BUS, other processes "
        "and machines take part in the run: `bench work`.",
    )
    bench_run.add_options(bench)
    parts = bench.add_subparsers(metavar="PART")
    bench_run.add_runs(parts)
    bench_work.add(parts)

    listed = parts.add_parser("list", help="list the cases", description="The cases of the suite, in order.")
    _add_seed(listed)
    listed.add_argument(
        "--category", action="append", default=[], metavar="C", help="only this category; may be repeated"
    )
    listed.add_argument("--reference", action="store_true", help="with an answer that is right (with --json)")
    listed.add_argument("--json", action="store_true", help="one JSON object per line, with the prompt")
    listed.set_defaults(run=run_list)

    graded = parts.add_parser(
        "grade",
        help="grade the answer on standard input",
        description="Grade an answer from standard input; for several turns it is a JSON array with a string a turn.",
    )
    graded.add_argument("case", metavar="CASE_ID", help="a case of `bench list`")
    _add_seed(graded)
    graded.add_argument(
        "--unsandboxed",
        action="store_true",
        help="where there is no sandbox, run code that a model wrote with all your rights; the verdict says so",
    )
    graded.add_argument("--json", action="store_true", help="one JSON object")
    graded.set_defaults(run=run_grade)

    boxed = parts.add_parser(
        "sandbox",
        help="attack the sandbox and say what it contained",
        description="Choose the sandbox as a run does, and try all attacks on it.",
    )
    boxed.add_argument(
        "--backend", choices=("bwrap", "unshare", "wasm"), help="this one instead of the first that works"
    )
    boxed.add_argument("--json", action="store_true", help="one JSON object")
    boxed.set_defaults(run=run_sandbox)

    bench_report.add(parts)
    bench_export.add(parts)
    bench_preferences.add(parts)


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, metavar="S", help="seed of names and numbers instead of the suite's own")


def run_list(options: argparse.Namespace) -> int:
    from ..bench import suite

    wrong = sorted(set(options.category) - set(suite.CATEGORIES))
    if wrong:
        raise CommandError(f"There is no category {wrong[0]}; choose among {', '.join(suite.CATEGORIES)}.")
    for case in suite.cases(_seed(options)):
        if options.category and case.category not in options.category:
            continue
        if options.json:
            print(json.dumps(_as_dict(case, options.reference), ensure_ascii=False))
        else:
            first = next(line for line in case.prompt.splitlines() if line.strip())
            print(f"{case.id:24} {case.category:13} {case.grader:12} {printable(first)[:70]}")
    return 0


def _as_dict(case: Case, reference: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": case.id,
        "category": case.category,
        "template": case.template,
        "grader": case.grader,
        "prompt": case.prompt,
    }
    if case.turns:
        found["turns"] = list(case.turns)
    if case.context_tokens:
        found["context_tokens"] = case.context_tokens
    if reference:
        found["reference"] = case.reference
    return found


def run_grade(options: argparse.Namespace) -> int:
    from ..bench import graders, sandbox, suite

    case = suite.case(options.case, _seed(options))
    if case is None:
        raise CommandError(f"There is no case {printable(options.case)}; `python -m kimi_ui bench list` shows them.")
    answer = sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        verdict = graders.grade(
            case, suite.answers_of(case, answer), get_sandbox=lambda: sandbox.choose(options.unsandboxed)
        )
    finally:
        sandbox.close()
        graders.close()
    print(json.dumps({"case": case.id, **verdict.as_dict()}, ensure_ascii=False) if options.json else _told(verdict))
    return 0


def _told(verdict: Verdict) -> str:
    lines = [f"{verdict.verdict}: {verdict.reason}"]
    if verdict.extracted is not None:
        lines.append(f"extracted: {verdict.extracted}")
    lines += [f"  {part.name}: {part.verdict} {part.reason}".rstrip() for part in verdict.parts]
    if verdict.sandbox is not None:
        lines.append(f"sandbox: {verdict.sandbox.backend} {verdict.sandbox.version}, {verdict.sandbox.level}")
    return printable("\n".join(lines))


def run_sandbox(options: argparse.Namespace) -> int:
    from ..bench import sandbox

    try:
        chosen = sandbox.choose(only=options.backend)
        attacks = sandbox.try_all(chosen)
    finally:
        sandbox.close()
    held = sum(contained for _, contained in attacks)
    if options.json:
        found = {
            **chosen.stamp._asdict(),
            "sentence": chosen.sentence,
            "reasons": list(chosen.reasons),
            "attacks": [{"name": name, "contained": contained} for name, contained in attacks],
        }
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(chosen.sentence)
        for name, contained in attacks:
            print(f"{'contained' if contained else 'NOT CONTAINED':14} {name}")
        if attacks:
            print(f"{held} of {len(attacks)} attacks contained.")
    return 0 if attacks and held == len(attacks) else 1


def _seed(options: argparse.Namespace) -> int:
    from ..bench import suite

    return suite.SEED if options.seed is None else options.seed
