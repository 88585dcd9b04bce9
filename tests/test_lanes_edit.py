"""Changes of a lanes file: what is kept, what is said, and that nothing is lost whatever happens to the file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.chat.lanes import CHANGED, FIRST, FileChanged, LaneChanges
from kimi_ui.config import ConfigError, read_settings
from kimi_ui.lanes_edit import edited
from kimi_ui.lanes_file import LaneMistake, parse_file
from kimi_ui.lanes_form import CHOICE, LINES, NUMBER, TABLE, TEXT, fields_of, shown, values_of
from kimi_ui.providers import presets, registry, roster
from kimi_ui.providers.roster import Roster

CLASSES = registry.lane_classes()
NO_OLLAMA = {"OLLAMA_HOST": "127.0.0.1:9"}

FILE = """\
# My lanes.
# Prices as of July.

# The fast one
[[lane]]
id = "a"          # never change this
label = "Fast"
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "m1"      # was m0
price = { input = 0.50, output = 1.5 }
# temperature is left to the server
[lane.limits]
total_s = 900     # patience

# --- local ---

[[lane]]
id = "b"
provider = "ollama"
base_url = "http://127.0.0.1:9"
model = "q:30b"

[[lane]]
id = "h"
provider = "heavy"
of = "a"
system = \"\"\"
Two lines,
[[lane]] in one of them.
\"\"\"
"""


def none_shipped(lane: str) -> Mapping[str, Any]:
    raise AssertionError(lane)


def change(text: str, *changes: dict[str, Any]) -> str:
    return edited(text, changes, CLASSES, "lanes.toml", none_shipped)


def ids(text: str) -> list[str]:
    return [spec.id for spec in parse_file(text, CLASSES).in_use]


PLAIN = FILE.replace("[[lane]] in one of them", "and more")


def test_setting_keys_changes_their_lines_alone() -> None:
    values = {"label": "Quick", "params": {"max_tokens": 9}, "limits": {"total_s": 60}}
    new = change(PLAIN, {"op": "set", "lane": "a", "values": values})
    expected = (
        PLAIN.replace('"Fast"', '"Quick"')
        .replace("total_s = 900     # patience", "total_s = 60     # patience")
        .replace("1.5 }\n", "1.5 }\nparams = {max_tokens = 9}\n")
    )
    assert sorted(filter(None, new.splitlines())) == sorted(filter(None, expected.splitlines()))
    assert new.startswith(PLAIN[: PLAIN.index("label")])
    assert new.endswith(PLAIN[PLAIN.index("# --- local") :])
    assert change(PLAIN, {"op": "set", "lane": "a", "values": {"label": "Fast"}}) == PLAIN, "nothing has changed"


def test_servers_are_a_line_each_in_the_form_and_keep_theirs_in_the_file() -> None:
    cls = CLASSES["openai"]
    texts = shown({"base_url": ["http://a/v1", "http://b/v1"], "model": "m"})
    assert texts == {"base_url": "http://a/v1\nhttp://b/v1", "model": "m"}
    for text, value in (
        ("http://a/v1\n\n  http://b/v1\n", ["http://a/v1", "http://b/v1"]),
        (" http://a/v1\n", "http://a/v1"),
    ):
        assert values_of(cls, {"base_url": text}, "a") == {"base_url": value}
    two = ["http://127.0.0.1:9/v1", "http://b/v1"]
    new = change(PLAIN, {"op": "set", "lane": "a", "values": {"base_url": two}})
    assert new == PLAIN.replace('"http://127.0.0.1:9/v1"', '["http://127.0.0.1:9/v1", "http://b/v1"]')
    lines = '[\n    "http://a/v1",  # the fast one\n    # "http://spare/v1",\n    "http://b/v1",\n]'
    text = PLAIN.replace('"http://127.0.0.1:9/v1"', lines)
    fewer = change(text, {"op": "set", "lane": "a", "values": {"base_url": ["http://a/v1", "http://c/v1"]}})
    assert fewer == text.replace('"http://b/v1",\n', '"http://c/v1"\n')
    turned = change(text, {"op": "set", "lane": "a", "values": {"base_url": ["http://b/v1", "http://a/v1"]}})
    assert parse_file(turned, CLASSES).lanes[0].servers == ("http://b/v1", "http://a/v1")
    with pytest.raises(LaneMistake, match=r'line 9, lane "a": base_url entry 2 is the same server as entry 1'):
        change(text, {"op": "set", "lane": "a", "values": {"base_url": ["http://a/v1", "http://a/v1"]}})


def test_another_model_takes_the_old_ones_price_along_and_a_removed_key_its_line() -> None:
    new = change(PLAIN, {"op": "set", "lane": "a", "values": {"model": "m2", "label": None}})
    assert 'model = "m2"      # was m0\n' in new
    assert "price" not in new.partition("# --- local")[0].replace("# Prices", "")
    assert "label" not in new
    kept = change(PLAIN, {"op": "set", "lane": "a", "values": {"model": "m2", "price": {"input": 1, "output": 2}}})
    assert "price = { input = 1, output = 2 }" in kept


def test_another_provider_keeps_what_its_lanes_have_too() -> None:
    values = {"provider": "openai", "base_url": "http://127.0.0.1:9/v1"}
    (_, lane, _) = parse_file(change(PLAIN, {"op": "set", "lane": "b", "values": values}), CLASSES).lanes
    assert (lane.provider, lane.model, lane.base_url) == ("openai", "q:30b", "http://127.0.0.1:9/v1")
    with pytest.raises(LaneMistake) as caught:
        change(PLAIN, {"op": "set", "lane": "b", "values": {"provider": "heavy"}})
    assert (caught.value.lane, caught.value.key) == ("b", "of")
    assert caught.value.problem == 'a heavy lane needs of = "…".'


def test_lanes_move_and_go_with_their_comments() -> None:
    moved = change(PLAIN, {"op": "move", "lane": "b", "to": 0})
    assert ids(moved) == ["b", "a", "h"]
    assert moved.startswith('# My lanes.\n# Prices as of July.\n\n# --- local ---\n\n[[lane]]\nid = "b"')
    assert "\n\n# The fast one\n[[lane]]\n" in moved
    assert change(moved, {"op": "move", "lane": "b", "to": 1}) == PLAIN
    assert ids(change(PLAIN, {"op": "move", "lane": "a", "to": 99})) == ["b", "h", "a"]
    gone = change(PLAIN, {"op": "remove", "lane": "b"})
    assert ids(gone) == ["a", "h"]
    assert "local" not in gone
    assert "# temperature is left to the server" in gone
    copied = change(PLAIN, {"op": "duplicate", "lane": "a"})
    assert ids(copied) == ["a", "a-2", "b", "h"]
    assert 'label = "Fast 2"' in copied
    assert copied.count("# patience") == 2
    assert copied.count("# The fast one") == 1
    assert ids(change(copied, {"op": "duplicate", "lane": "a-2"})) == ["a", "a-2", "a-3", "b", "h"]
    with pytest.raises(ConfigError, match="of names a lane that is not in this file"):
        change(PLAIN, {"op": "remove", "lane": "a"})


def test_a_renamed_lane_is_renamed_wherever_it_is_named() -> None:
    text = change(PLAIN, {"op": "save_set", "set": "both"}, {"op": "set", "lane": "a", "values": {"id": "fast"}})
    file = parse_file(text, CLASSES)
    assert (file.lanes[2].of, file.sets, file.use) == ("fast", {"both": ("fast", "b", "h")}, "both")


def test_sets_choose_lanes_and_their_order_and_keep_the_others() -> None:
    text = change(
        PLAIN,
        {"op": "save_set", "set": "small"},
        {"op": "remove", "lane": "h"},
        {"op": "move", "lane": "b", "to": 0},
        {"op": "add", "values": {"id": "c", "provider": "ollama", "base_url": "http://127.0.0.1:9", "model": "c:1b"}},
    )
    file = parse_file(text, CLASSES)
    assert [spec.id for spec in file.in_use] == ["b", "a", "c"]
    assert [spec.id for spec in file.lanes] == ["a", "b", "h", "c"]
    everything = change(text, {"op": "use", "set": ""})
    assert ids(everything) == ["a", "b", "h", "c"]
    assert "use =" not in everything
    assert ids(change(everything, {"op": "use", "set": "small"})) == ["b", "a", "c"]
    assert ids(change(text, {"op": "include", "lane": "h"})) == ["b", "a", "c", "h"]
    assert ids(change(text, {"op": "remove_set", "set": "small"})) == ["a", "b", "h", "c"]
    many = "".join(f'[[lane]]\nid = "l{n}"\nprovider = "embedded"\n' for n in range(9))
    assert ids(f'use = "two"\n{many}[[set]]\nname = "two"\nlanes = ["l8", "l0"]\n') == ["l8", "l0"]
    for head, tail, words in (
        ("", "", "has 9 lanes; give 1 to 6"),
        ('use = "tow"\n', '[[set]]\nname = "two"\nlanes = ["l8"]\n', 'there is no set "tow"; did you mean "two"'),
        ('use = "x"\n', '[[set]]\nname = "x"\nlanes = []\n', r'line 29, set "x": lanes must be a list of 1 to 6'),
        ('use = "x"\n', '[[set]]\nname = "x"\nlanes = ["l9"]\n', r'no lane has the id "l9"; use one of l0, l1'),
        ('use = "x"\n', '[[set]]\nname = "x"\nlanes = ["l1", "l1"]\n', "a lane is in it twice"),
        ('use = "x"\n', '[[set]]\nname = "x"\nlanes = ["l1"]\nof = 1\n', "unknown key 'of'"),
        ('use = "x"\n', '[[set]]\nlanes = ["l1"]\n', "set 1: name must be text"),
        ("use = 1\n", "", "line 1: use must be the name of a set in quotes"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_file(head + many + tail, CLASSES)
    with pytest.raises(ConfigError, match="h is made of a, which is not in it"):
        change(PLAIN, {"op": "save_set", "set": "x"}, {"op": "remove", "lane": "a"})


@pytest.mark.parametrize(
    "text",
    [
        FILE,
        'lane = [{ id = "a", provider = "embedded" }]\n',
        '[["lane"]]\nid = "a"\nprovider = "embedded"\n',
    ],
)
def test_a_form_that_blocks_do_not_cover_is_left_to_an_editor(text: str) -> None:
    parse_file(text, CLASSES)
    with pytest.raises(ConfigError, match="cannot change; change it in an editor"):
        change(text, {"op": "duplicate", "lane": "a"})


def test_a_form_has_a_field_for_every_key_and_says_what_it_means() -> None:
    for cls in CLASSES.values():
        fields = {field.key: field for field in fields_of(cls)}
        assert fields.keys() == set(cls.file_keys())
        assert all(field.meaning for field in fields.values()), "providers/README.md has no row for it"
        assert fields["id"].needed
    ollama = {field.key: field for field in fields_of(CLASSES["ollama"])}
    kinds = {
        key: ollama[key].kind for key in ("model", "base_url", "num_ctx", "params", "price", "think", "send_reasoning")
    }
    assert kinds == {
        "model": TEXT,
        "base_url": LINES,
        "num_ctx": NUMBER,
        "params": TABLE,
        "price": TABLE,
        "think": CHOICE,
        "send_reasoning": CHOICE,
    }
    assert ollama["think"].choices == ("true", "false", "low", "medium", "high", "max")
    assert (ollama["model"].needed, ollama["label"].needed) == (True, False)
    assert "{ first_token_s = 300" in ollama["limits"].default


# -- the file on disk


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Roster, LaneChanges, Path]]:
    def make(text: str | None = None, **env: str) -> tuple[Roster, LaneChanges, Path]:
        path = tmp_path / "config" / "lanes.toml"
        monkeypatch.setattr(roster, "default_lanes_path", lambda: path)
        if text is not None:
            path.parent.mkdir()
            path.write_bytes(text.encode())
        lanes = Roster(read_settings(env=NO_OLLAMA | env))
        lanes.settle()
        return lanes, LaneChanges(lanes), path

    return make


def test_without_a_file_the_first_change_makes_one_that_goes_on_as_before(made: Any) -> None:
    lanes, changes, path = made(MOONSHOT_API_KEY="canary-0123456789")
    before = lanes.specs
    assert not changes.read().version
    values = {"id": "new", "provider": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m", "params": "{ n = 1"}
    with pytest.raises(LaneMistake, match="params is not written as TOML"):
        changes.change("", [{"op": "add", "values": values}])
    assert not path.exists()
    changes.change("", [{"op": "add", "values": values | {"params": "{ top_p = 0.5 }", "label": ""}}])
    assert path.read_text().startswith(FIRST)
    assert lanes.specs[:3] == before, "a shipped lane is still served by the best route"
    assert lanes.specs[3].params == {"top_p": 0.5}
    assert lanes.serving("kimi").via == "Moonshot"
    changes.change(changes.read().version, [{"op": "set", "lane": "kimi", "values": {"label": "K2"}}])
    assert lanes.specs[0].label == "K2"
    assert lanes.specs[0].model == before[0].model, "its keys are its own now"
    assert lanes.serving("kimi-heavy").via == "heavy of api.moonshot.ai" or lanes.specs[1].of == "kimi"
    assert "canary" not in path.read_text()
    with pytest.raises(ConfigError, match="A stand-in answers in the lane Qwen3-Coder:30B"):
        changes.change(changes.read().version, [{"op": "set", "lane": "qwen", "values": {"label": "Q"}}])
    for _ in range(2):
        changes.undo(changes.read().version)
    assert not path.exists()
    assert lanes.specs == before
    assert not changes.can_undo("")


def test_a_page_that_does_not_know_the_files_newest_version_changes_nothing(made: Any) -> None:
    lanes, changes, path = made(PLAIN)
    first = changes.read().version
    changes.change(first, [{"op": "set", "lane": "b", "values": {"label": "B"}}])
    with pytest.raises(FileChanged, match="Nothing was saved"):
        changes.change(first, [{"op": "remove", "lane": "h"}])
    second = changes.read().version
    path.write_text(path.read_text() + "# by hand\n")
    with pytest.raises(FileChanged, match=CHANGED[:20]):
        changes.change(second, [{"op": "remove", "lane": "h"}])
    with pytest.raises(FileChanged):
        changes.undo(second)
    assert not changes.can_undo(changes.read().version), "it would take back what was written by hand"
    assert [spec.id for spec in lanes.specs] == ["a", "b", "h"]
    assert path.read_text().endswith("# by hand\n")
    path.write_text("[[lane]\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        changes.change(changes.read().version, [{"op": "remove", "lane": "h"}])
    assert path.read_text() == "[[lane]\n"


def test_the_file_is_replaced_whole_with_its_rights_its_line_ends_and_through_a_link(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, changes, path = made(PLAIN.replace("\n", "\r\n"))
    real = tmp_path / "dotfiles.toml"
    path.rename(real)
    path.symlink_to(real)
    real.chmod(0o640)
    changes.change(changes.read().version, [{"op": "set", "lane": "a", "values": {"label": "Quick"}}])
    assert path.is_symlink()
    assert real.read_bytes() == PLAIN.replace('"Fast"', '"Quick"').replace("\n", "\r\n").encode()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    before = real.read_bytes()
    remove = [{"op": "remove", "lane": "h"}]

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(ConfigError, match=r"cannot be written \(No space left"):
        patch.setattr(os, "fsync", fails)
        changes.change(changes.read().version, remove)
    real.chmod(0o440)
    with pytest.raises(ConfigError, match=r"cannot be written \(it is read-only\), so nothing was changed. Make"):
        changes.change(changes.read().version, remove)
    assert real.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"config", "dotfiles.toml"}


def test_the_switch_for_thinking_knows_each_providers_field() -> None:
    for gateway in presets.GATEWAYS:
        lane = presets.kimi_at(gateway)
        labels = [choice.label for choice in lane.thinking_choices]
        assert labels[:3] == ["As the model does", "Off", "On"]
        assert lane.thinking_choices[2].keys == {"extra_body": lane.extra_body}, "as it is shipped"
    (text, *_) = (
        choice.keys for choice in CLASSES["openai"]("x", base_url="https://api.groq.com/openai/v1").thinking_choices
    )
    assert text == {"params": None}
    assert [choice.keys["think"] for choice in presets.qwen_on_ollama("http://x").thinking_choices] == [
        None,
        False,
        True,
        "low",
        "medium",
        "high",
        "max",
    ]
