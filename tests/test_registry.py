"""The registry: every provider's keys are declared once, and a new provider is one file and one line."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from kimi_ui.cli import main
from kimi_ui.config import ConfigError, read_settings
from kimi_ui.core.lane import FREE
from kimi_ui.lanes_file import parse_lanes, write_lanes
from kimi_ui.providers import registry
from kimi_ui.providers.roster import Roster
from kimi_ui.web.lanes import LaneRoutes
from kimi_ui.web.visitor import VisibleTurns
from tests.support import echo_provider
from tests.support.echo_provider import Echo, EchoLane
from tests.support.engine_run import running, started

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 60

LANES = """
[[lane]]
id = "back"
provider = "echo"
model = "cave"
aloud = true
[[lane]]
id = "backs"
provider = "heavy"
of = "back"
width = 3
"""


@pytest.fixture(autouse=True)
def with_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line in the registry."""
    monkeypatch.setitem(registry.PROVIDERS, "echo", Echo)


@pytest.fixture
def lanes(tmp_path: Path) -> Path:
    path = tmp_path / "lanes.toml"
    path.write_text(LANES)
    return path


@contextmanager
def roster_of(path: Path) -> Iterator[Roster]:
    made = Roster(read_settings(lanes=str(path), env={}))
    yield made
    asyncio.run(made.aclose())


def test_a_provider_fits_into_one_short_file() -> None:
    assert Path(echo_provider.__file__).read_text().count("\n") <= MOST_LINES


def test_a_new_provider_s_lanes_are_read_and_written() -> None:
    back, backs = specs = parse_lanes(LANES, registry.lane_classes())
    assert back == EchoLane("back", model="cave", aloud=True)
    assert back.price == FREE
    assert backs.of == "back"
    assert parse_lanes(write_lanes(specs), registry.lane_classes()) == specs


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("pause_ms = 1001", 'lanes.toml line 6, lane "back": pause_ms must be a whole number from 0 to 1000.'),
        ('aloud = "yes"', 'lanes.toml line 6, lane "back": aloud must be true or false.'),
        ("quorum = 2", 'lanes.toml line 6, lane "back": quorum belongs to heavy lanes, not to echo; remove it.'),
        ("pause = 2", 'lanes.toml line 6, lane "back": unknown key \'pause\'; did you mean "pause_ms".'),
    ],
)
def test_a_mistake_in_a_new_provider_s_lane_gives_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_lanes(LANES.replace("aloud = true", line), registry.lane_classes())
    assert str(caught.value) == sentence


def test_a_new_provider_answers_through_the_engine(lanes: Path, tmp_path: Path) -> None:
    with roster_of(lanes) as roster:
        providers = [roster.provider(spec.id) for spec in roster.specs]
        with running(tmp_path / "log.sqlite3", *providers) as run:
            turn = run.engine.send("hello cave")
            folds, rows = run.folds(turn), run.rows(turn)
    assert (folds["back"].status, folds["back"].answer) == ("ok", "HELLO CAVE ")
    assert folds["back"].reasoning == "It wants an echo."
    assert folds["backs"].answer == "HELLO CAVE "
    row = next(row for row in rows["back"] if row["role"] == "single")
    assert (row["provider"], row["request_model"], row["cost_usd"]) == ("echo", "cave", 0.0)
    assert sorted(row["role"] for row in rows["backs"]) == ["heavy", *["trajectory"] * 3]


def test_doctor_lists_a_new_provider(lanes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--lanes", str(lanes), "--db", str(tmp_path / "log.sqlite3")]
    assert main(["doctor", *options, "--json"]) == 0
    back, backs = map(json.loads, capsys.readouterr().out.splitlines())
    assert (back["provider"], back["via"], back["model"], back["thinking"]) == ("echo", "echo", "cave", True)
    assert (backs["via"], backs["model"]) == ("heavy of back", "3 × cave")


def test_the_lanes_tab_shows_a_new_provider(lanes: Path) -> None:
    with roster_of(lanes) as roster, started(roster) as run:
        routes = LaneRoutes(roster, run.engine.pulls, run.turns, VisibleTurns(run.turns)).routes()
        page = TestClient(Starlette(routes=routes))
        back, backs = page.get("/kimi/lanes").json()["lanes"]
        assert (back["via"], back["has_models"], back["can_pull"]) == ("echo", True, "")
        assert (backs["via"], backs["has_models"]) == ("heavy of back", False)
        assert page.post("/kimi/lanes/back/check").json()["ok"]
        changed = page.get("/kimi/lanes-file", params={"lane": "back", "model": "canyon"}).text
    assert parse_lanes(changed, registry.lane_classes())[0] == EchoLane("back", model="canyon", aloud=True)


def test_the_readme_names_exactly_the_keys_that_each_provider_has() -> None:
    text = (ROOT / "kimi_ui/providers/README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \|", text, re.MULTILINE)
    shipped = {name: cls for name, cls in registry.lane_classes().items() if name != "echo" and not cls.is_shipped}
    documented = {name: {key for key, lanes in rows if lanes == "all" or name in lanes.split(", ")} for name in shipped}
    assert documented == {name: set(cls.file_keys()) for name, cls in shipped.items()}


def test_no_module_compares_provider_names() -> None:
    """The class of its lanes declares the abilities of a provider, see ``core.lane.LaneSpec``."""
    named = re.compile(r"provider\s*(==|!=|===|!==|in|not in)\s*[(\[{\"']")
    sources = [*(ROOT / "kimi_ui").rglob("*.py"), *(ROOT / "assets").rglob("*.js")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if named.search(line)
    ]
    assert not found, found
