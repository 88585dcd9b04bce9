"""``bench``: its output for people and programs, its exit codes, and what mistakes say."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kimi_ui.bench import suite
from kimi_ui.cli import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


Bench = Callable[..., Done]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs ``kimi-ui bench`` with these arguments and this standard input."""

    def run(*arguments: str, given: str | bytes = "") -> Done:
        data = given.encode() if isinstance(given, str) else given
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        try:
            code = main(["bench", *arguments])
        except SystemExit as refused:
            code = int(refused.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def listed(bench: Bench, *arguments: str) -> list[dict[str, Any]]:
    done = bench("list", "--json", *arguments)
    assert done.code == 0
    return [json.loads(line) for line in done.out.splitlines()]


def grade(bench: Bench, case_id: str, answer: str | bytes, *arguments: str) -> dict[str, Any]:
    done = bench("grade", case_id, "--json", *arguments, given=answer)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_list_prints_one_line_per_case(bench: Bench) -> None:
    cases = listed(bench)
    assert [case["id"] for case in cases] == [case.id for case in suite.cases()]
    assert {"id", "category", "template", "grader", "prompt"} <= cases[0].keys()
    assert "reference" not in cases[0]
    assert listed(bench, "--seed", "5")[0]["prompt"] != cases[0]["prompt"]


@pytest.mark.slow
def test_a_reference_from_list_is_right_for_grade(bench: Bench) -> None:
    cases = {case["id"]: case for case in listed(bench, "--seed", "5", "--reference")}
    for case_id in ("jugs-1", "run-lengths-1", "top-spenders-1", "surds-3", "verse-2", "one-needle-1", "stock-1"):
        verdict = grade(bench, case_id, cases[case_id]["reference"], "--seed", "5")
        assert verdict["verdict"] == "right", verdict
        assert verdict["case"] == case_id
        assert verdict["reason"]
    assert len(cases["stock-1"]["turns"]) >= 5


def test_grade_reports_its_findings_and_where_code_ran(bench: Bench) -> None:
    wrong = grade(bench, "jugs-1", "I count.\n\nAnswer: 1000")
    assert (wrong["verdict"], wrong["extracted"], wrong["sandbox"]) == ("wrong", "1000", None)
    code = grade(bench, "run-lengths-1", "```python\ndef squeeze(text):\n    return text\n```")
    assert code["verdict"] == "wrong"
    assert code["sandbox"]["level"] == "isolated"
    assert grade(bench, "jugs-1", b"\xff\xfe")["verdict"] == "unparsed"
    assert grade(bench, "jugs-1", "")["extracted"] is None


def test_grade_as_text(bench: Bench) -> None:
    done = bench("grade", "jugs-1", given="Answer: 1000")
    assert done.code == 0
    assert done.out.startswith("wrong: The expected answer is ")
    assert "extracted: 1000" in done.out


def test_list_as_text_by_category(bench: Bench) -> None:
    done = bench("list", "--category", "multi_turn")
    assert len(done.out.splitlines()) == 12


@pytest.mark.slow
def test_sandbox_lists_each_attack(bench: Bench) -> None:
    done = bench("sandbox", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["level"] == "isolated"
    assert len(found["attacks"]) >= 20
    assert all(attack["contained"] for attack in found["attacks"])


def test_mistakes_are_one_sentence_with_the_remedy(bench: Bench) -> None:
    unknown = bench("grade", "nothing-1")
    assert unknown.code == 2
    assert "bench list" in unknown.err
    category = bench("list", "--category", "poetry")
    assert category.code == 2
    assert "reasoning" in category.err
    none = bench("sandbox", "--backend", "bwrap")
    assert none.code in (0, 1)


def test_options_of_a_run_that_contradict_each_other_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = ["--db", str(tmp_path / "log.sqlite3")]
    with pytest.raises(SystemExit):
        main(["bench", "--quick", "--full", *log])
    for wrong, words in (
        (["--epochs", "0"], "--epochs"),
        (["--budget", "much"], "--budget"),
        (["--lane", "nobody", "--case", "jugs-1"], "choose among kimi"),
        (["--case", "nothing-1"], "bench list"),
        (["--resume", "last"], "bench runs"),
        (["--resume", "last", "--quick"], "leave --quick out"),
    ):
        assert main(["bench", *wrong, *log]) == 2
        told = capsys.readouterr()
        assert words in told.err
        assert told.out == ""
