"""The report of a run as HTML, Markdown and JSON: what it says, and that hostile text stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.bench import runner, suite
from kimi_ui.bench.plan import Chosen
from kimi_ui.bench.report import FORMATS, body, report
from kimi_ui.bench.report.texts import Text, Texts
from kimi_ui.bench.results import Outcome, Run
from kimi_ui.bench.start import Wanted
from kimi_ui.bench.summary import summarise
from kimi_ui.cli.main import main
from tests.support.bench_model import cases, lanes
from tests.support.bench_runs import lane, run, sample, simulated, verdicts
from tests.support.browser import launched, new_context
from tests.support.engine_run import running

HOSTILE = (
    "</pre></details></style><script>document.title='owned'</script><img src=https://example.com/x>"
    "\u202e\x1b[2J {{ 7*7 }}"
)
STRENGTH = {"kimi": 0.75, "kimi-heavy": 0.8, "qwen": 0.5}


def whole(**changes: Any) -> Run:
    return simulated(STRENGTH, cases=40, epochs=2, heavy=("kimi-heavy", "kimi"), unpriced=["qwen"], **changes)


def texts(made: Run) -> Texts:
    attempts = [
        id
        for one in made.samples
        if one.attempt_id
        for id in (one.attempt_id, *(each.attempt_id for each in one.trajectories))
    ]
    return Texts(
        {one.turn_id: Text("How many pens? " + HOSTILE, 900) for one in made.samples if one.turn_id},
        dict.fromkeys(attempts, Text("Answer: 42 " + HOSTILE, 9_000)),
        dict.fromkeys(attempts, Text("Let me count. " + HOSTILE, 100)),
    )


class Reader(HTMLParser):
    """Tags and attributes of a document, and every URL in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.urls: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


@pytest.fixture(scope="module")
def made() -> Run:
    return whole()


def test_hostile_text_stays_text_and_nothing_is_fetched(made: Run) -> None:
    html = report(summarise(made), "html", texts(made))
    read = Reader(html)
    assert not read.tags & {"script", "img", "iframe", "link", "object", "form", "a"}
    assert not [name for name in read.attributes if name.startswith("on") or name == "style"]
    assert read.urls == []
    assert "&lt;script&gt;document.title" in html
    assert "{{ 7*7 }}" in html, "a model's text is no template"


def test_names_and_verdicts_are_escaped_too() -> None:
    hostile = [lane("kimi", HOSTILE), lane("qwen", "A | B")]
    samples = [
        sample("x<b>-1", "kimi", "wrong", extracted=HOSTILE, reason=HOSTILE, category="math"),
        *verdicts("qwen", "r"),
    ]
    made = run(hostile, samples)
    assert not Reader(report(summarise(made), "html")).tags & {"script", "img", "b>"}
    parts = report(summarise(made), "md").split("\n\n")
    tables = [part.splitlines() for part in parts if part.startswith("|")]
    assert len(tables) >= 4
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table}) == 1, table
        assert not re.search(r"(?<!\\)<", "".join(table))


def test_a_cut_text_says_how_to_see_the_rest(made: Run) -> None:
    html = report(summarise(made), "html", texts(made))
    turn = next(one.turn_id for one in made.samples if one.turn_id)
    assert f"python -m kimi_ui export {turn}" in html
    assert "more characters are not shown here" in html


@pytest.mark.parametrize("form", ["html", "md"])
@pytest.mark.parametrize(
    "words",
    [
        *("right answers", "delivered", "differences by category", "could have shown", "not shown"),
        *("first token", "first word of the answer", "time to a right answer", "cost of a right answer", "unknown"),
        *("sandbox or time limit", "unreadable", "cut", "server failed", "flips"),
        *("oracle@8", "majority@8", "hybrid", "selection loss", "was it worth it?", "nothing to gain", "why?"),
        *("which explanation the data support", "which lane to take", "suggestive", "supported"),
        *("beside the first report", "$0 (local)", "38 to 96 %"),
        *("shuffled labels", "graders called 0 of", "unshare (isolated)", "--full --seed 20261101 --epochs 2"),
    ],
)
def test_what_a_reader_looks_for_is_there(made: Run, form: str, words: str) -> None:
    said = report(summarise(made), form).lower().replace("\\", "")
    assert words in said


def test_json_has_every_sample_with_its_epochs(made: Run) -> None:
    loaded = json.loads(report(summarise(made), "json"))
    cells = [cell for row in loaded["grid"] for cell in row["cells"].values()]
    assert sum(map(len, cells)) == len(made.samples)
    assert {one["epoch"] for cell in cells for one in cell} == {1, 2}


def test_marks_show_each_epoch() -> None:
    outcomes: tuple[Outcome, ...] = ("right", "wrong", "truncated")
    samples = [sample("sums0-1", "kimi", outcome, epoch) for epoch, outcome in enumerate(outcomes, start=1)]
    html = body(summarise(run([lane("kimi")], samples, epochs=3)))
    assert "●○–" in html
    assert "Kimi K2: right, wrong, cut at the token limit" in html


def test_a_run_of_nothing_makes_a_report() -> None:
    for form in FORMATS:
        assert report(summarise(run([lane("kimi")], verdicts("kimi", "---"), state="interrupted")), form)
        assert report(summarise(run([], [])), form)


@pytest.mark.browser
def test_the_file_opens_from_a_disk_and_its_cells_open(made: Run, tmp_path: Path) -> None:
    """In a browser: no script, no request, no error; it fits a telephone; a cell shows answer and trajectories."""
    path = tmp_path / "report.html"
    path.write_text(report(summarise(made), "html", texts(made)), encoding="utf-8")
    problems: list[str] = []
    with launched() as browser:
        for width in (1600, 390):
            context = new_context(browser, viewport={"width": width, "height": 900}, color_scheme="dark")
            page = context.new_page()
            page.on("console", lambda message: problems.append(message.text))
            page.on(
                "request", lambda request: problems.append(request.url) if "report.html" not in request.url else None
            )
            page.goto(path.as_uri())
            assert page.title().startswith("Benchmark of 20 November 2026")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            row = page.locator(".br-row:not(.br-row-head)").first
            row.locator(".br-cell > summary").nth(1).click()
            cell = row.locator(".br-cell[open]")
            assert "Answer: 42" in cell.locator("pre").first.inner_text()
            cell.locator(".br-trajectories summary").first.click()
            assert cell.locator(".br-trajectories li pre").first.is_visible()
            assert cell.bounding_box()["width"] > 0.8 * row.bounding_box()["width"]
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 15, 17)"
            context.close()
    assert problems == []


def test_the_terminal_writes_reports_of_logged_runs_and_compares_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.sqlite3"
    where = ["--db", str(log)]
    chosen = Chosen("chosen", cases())
    with running(log, *lanes(cases(), ("jugs-1",))) as run:
        ids = [
            runner.begin(run.engine, run.turns, Wanted(chosen, suite.SEED, names, epochs=2)).run().id
            for names in (("good", "poor", "heavy"), ("good", "poor"))
        ]
    target = tmp_path / "report.html"
    assert main(["bench", "report", ids[0], "-o", str(target), *where]) == 0
    html = target.read_text(encoding="utf-8")
    assert "I am sure." in html, "what a model wrote"
    assert "Let me see." in html, "its reasoning"
    assert html.count("T2 <b") == 2 * 3, "heavy's trajectories, none of a conversation"
    capsys.readouterr()

    assert main(["bench", "report", ids[0], "--format", "json", *where]) == 0
    loaded = json.loads(capsys.readouterr().out)
    shares = {lane["lane"]["id"]: lane["overall"]["graded"]["value"] for lane in loaded["lanes"]}
    assert shares == {"good": 1.0, "poor": 0.75, "heavy": 0.75}
    assert loaded["heavy"][0]["worth"]["did not help"] == 2

    assert main(["bench", "report", ids[0], "--format", "md", *where]) == 0
    assert "| jugs-1 | reasoning | ●● | ○○ | ○○ |" in capsys.readouterr().out

    assert main(["bench", "compare", *ids, *where]) == 0
    said = capsys.readouterr().out
    assert "compared case by case" in said
    assert "Heavy: only in the first run." in said
    assert main(["bench", "compare", *ids, "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["is_paired"] is True

    assert main(["bench", "report", "nothing", *where]) == 2
    assert "bench runs" in capsys.readouterr().err
