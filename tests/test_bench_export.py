"""A run as files: every sample is there once, an unknown is empty, and a log of Inspect has our denominator."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.bench.export import COLUMNS, csv_text, json_lines
from kimi_ui.bench.inspect_log import SCORER, write_logs
from kimi_ui.bench.results import Run
from kimi_ui.cli.main import main
from kimi_ui.log.reader import LogReader
from tests.support.example_report import LABEL, MOST_BYTES, TARGET
from tests.support.exported_run import FORMULA, make

ROOT = Path(__file__).resolve().parent.parent
Made = tuple[Run, LogReader]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("run") / "log.sqlite3")


def strict(text: str | bytes) -> Any:
    """JSON as strict readers take it: NaN is not a number."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def logs(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The files of each lane's log, by lane and name."""
    found = {}
    for path in write_logs(*made, tmp_path_factory.mktemp("inspect")):
        with zipfile.ZipFile(path) as log:
            found[path.stem.rpartition("_")[2].partition("-")[2]] = {
                name: strict(log.read(name)) for name in log.namelist()
            }
    return found


def test_csv_has_a_row_a_sample_and_keeps_zero_and_unknown_apart(made: Made) -> None:
    run, _ = made
    rows = list(csv.DictReader(io.StringIO(csv_text(run))))
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["case"], row["lane"], row["epoch"], row["outcome"]) for row in rows] == [
        (one.case, one.lane, str(one.epoch), one.outcome) for one in run.samples
    ]
    assert (rows[0]["cost_usd"], rows[1]["reasoning_tokens"]) == ("0.0", "0")
    assert {rows[0]["decode_tps"], rows[3]["ttft_ms"], rows[3]["output_tokens"], rows[6]["cost_usd"]} == {""}
    assert [row["trajectories_right"] for row in rows] == ["", "", "", "", "1", "", "", ""]
    assert rows[6]["extracted"] == f"'{FORMULA}"


def test_json_lines_have_the_texts(made: Made) -> None:
    lines = [strict(line) for line in json_lines(*made)]
    assert len(lines) == 8
    first, talk, heavy = lines[0], lines[2], lines[4]
    assert (first["prompt"], first["reasoning"]) == ("How many litres?", "Let me count.")
    assert first["answer"].endswith("Answer: 5")
    assert [one["answer"] for one in talk["turns"]] == ["Stored.", "Answer: 3"]
    assert (talk["prompt"], talk["answer"]) == ("How many?", "Answer: 3")
    assert [(one["number"], one["outcome"], one["answer"]) for one in heavy["trajectories"]] == [
        (1, "right", "Answer: 5"),
        (2, "wrong", "Answer: 6"),
    ]
    assert (lines[3]["prompt"], lines[3]["answer"], lines[3]["e2e_ms"]) == (None, None, None)
    assert lines[6]["answer"] == FORMULA


def test_an_inspect_log_has_a_lanes_samples_and_only_verdicts_as_scores(logs: dict[str, dict[str, Any]]) -> None:
    assert logs.keys() == {"kimi", "kimi-heavy", "silent"}
    kimi = logs["kimi"]
    right, cut = kimi["samples/jugs-1_epoch_1.json"], kimi["samples/jugs-1_epoch_2.json"]
    talk = kimi["samples/stock-1_epoch_1.json"]
    assert (right["scores"][SCORER]["value"], right["scores"][SCORER]["answer"]) == ("C", "5")
    assert right["metadata"]["ttft_ms"] == 10.0  # the first reasoning token
    assert right["model_usage"]["openai/kimi/k2"]["output_tokens"] == 5
    assert [one["type"] for one in right["messages"][1]["content"]] == ["reasoning", "text"]
    assert (cut["limit"], "scores" in cut, "error" in cut) == ({"type": "token", "limit": 64}, False, False)
    assert cut["output"]["choices"][0]["stop_reason"] == "max_tokens"
    assert (talk["scores"][SCORER]["value"], len(talk["messages"])) == ("I", 4)
    assert "samples/jugs-2_epoch_1.json" not in kimi
    assert len(kimi["summaries.json"]) == 4
    heavy = logs["kimi-heavy"]["samples/jugs-1_epoch_1.json"]
    assert [one["answer"] for one in heavy["metadata"]["trajectories"]] == ["Answer: 5", "Answer: 6"]


def test_accuracy_is_over_what_was_judged_and_absent_where_nothing_was(logs: dict[str, dict[str, Any]]) -> None:
    (score,) = logs["kimi"]["header.json"]["results"]["scores"]
    assert (score["scored_samples"], score["unscored_samples"]) == (3, 1)
    assert score["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    (whole,) = logs["kimi-heavy"]["header.json"]["results"]["scores"]
    assert whole["metrics"]["accuracy"]["value"] == 1.0
    (none,) = logs["silent"]["header.json"]["results"]["scores"]
    assert (none["scored_samples"], none["unscored_samples"], none["metrics"]) == (0, 2, {})
    unparsed = logs["silent"]["samples/keywords-1_epoch_1.json"]
    assert unparsed["error"]["message"] == "unparsed: It says so."
    failed = logs["silent"]["samples/jugs-1_epoch_1.json"]
    assert (failed["error"]["message"], "model_usage" in failed) == ("endpoint: The server failed.", False)


def test_the_command_writes_each_format_and_names_a_run_that_is_not_there(
    made: Made, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    _, reader = made
    command, log = ["bench", "export"], ["--db", str(reader.place)]
    files = ["--csv", str(tmp_path / "a.csv"), "--jsonl", "-", "--inspect", str(tmp_path / "logs")]
    assert main([*command, "run0", *files, *log]) == 0
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert sum(line.startswith("{") for line in lines) == 8
    assert len((tmp_path / "a.csv").read_text().splitlines()) > 8
    assert len(list((tmp_path / "logs").glob("*.eval"))) == 3
    assert main([*command, "nothing", "--csv", "-", *log]) == 2
    assert b"bench runs" in capsysbinary.readouterr().err
    assert main([*command, "run0", *log]) == 2


def test_the_views_answer_the_questions_of_the_readme(made: Made) -> None:
    _, reader = made
    text = (ROOT / "kimi_ui/log/README.md").read_text(encoding="utf-8")
    queries = [one for one in re.findall(r"/\*.*?\*/\s*(select.*?);", text, re.DOTALL) if "bench_" in one]
    assert {view for one in queries for view in re.findall(r"bench_\w+", one)} == {
        "bench_runs", "bench_verdicts", "bench_summary",
    }  # fmt: skip
    assert all(reader.rows(one) for one in queries)


def test_the_shipped_example_says_what_it_is_and_is_small() -> None:
    text = TARGET.read_text(encoding="utf-8")
    assert LABEL in text
    assert len(text.encode()) < MOST_BYTES
    assert "bench/example.html" in (ROOT / "README.md").read_text(encoding="utf-8")
