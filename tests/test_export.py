"""Exported files: what they contain and what not, and that the HTML page needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.assets import ASSETS
from kimi_ui.bench import report
from kimi_ui.cli import bench_report
from kimi_ui.cli import export as export_command
from kimi_ui.core.attachments import Attachment, fold
from kimi_ui.core.events import Answer, Event, Failure, Finish, Reasoning, Usage
from kimi_ui.core.portable import import_turns
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.view.bundle import CannotBundle, bundle_scripts
from kimi_ui.view.export import EXPORTS, export, file_name
from kimi_ui.web import benchmark
from tests.support.hostile_html import violations
from tests.support.turns import attempt, ended, turn

CANARY = "canary-key-93"
THOUGHT = "thethought"
HOSTILE = (
    "</script><script>alert(1)</script><!-- <img src=https://evil.example/x onerror=alert(2)> "
    "![x](https://evil.example/y)"
)


def exported_turn(answer: str = "It is **42**.", prompt: str = "Why?", **fields: Any) -> TurnLog:
    events: list[tuple[float, Event]] = [(200, Reasoning(f"{THOUGHT} ```` {HOSTILE}")), (900, Answer(answer))]
    events += [(910, Usage(input_tokens=3, output_tokens=9, reasoning_tokens=4))]
    failed: list[tuple[float, Event]] = [(5, Failure("auth", "The key was refused.", "Set another."))]
    lanes = (LaneInfo("a", "Kimi <K2>", "openai", "k2", stand_in_for="Kimi"), LaneInfo("b", "Qwen", "ollama", "q"))
    base_url = f"https://me:{CANARY}@h.example/v1?key={CANARY}"
    return turn(
        (attempt("a", base_url=base_url, tokenizer=f"/{CANARY}"), ended(events)),
        (attempt("b"), ended(failed, "error")),
        lanes=lanes, prompt=prompt, owner=CANARY, **fields,
    )  # fmt: skip


def text_of(kind: str, *turns: TurnLog, title: str = "A title", reasoning: bool = True) -> str:
    return export(turns, title, kind, reasoning=reasoning).data.decode()


class Page(HTMLParser):
    """The elements of a page, and the text of each script and style."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.raw.append((self.cdata_elem, data))

    def policy(self) -> str:
        return next(a["content"] or "" for tag, a in self.elements if a.get("http-equiv") == "Content-Security-Policy")

    def data(self) -> Any:
        return next(json.loads(text) for tag, text in self.raw if text.startswith('{"replays"'))


@pytest.mark.parametrize("kind", EXPORTS)
def test_no_export_contains_a_key_an_owner_or_a_path_of_this_machine(kind: str) -> None:
    assert CANARY not in text_of(kind, exported_turn())


@pytest.mark.parametrize("kind", EXPORTS)
def test_reasoning_is_exported_unless_it_is_left_out(kind: str) -> None:
    assert THOUGHT in text_of(kind, exported_turn())
    without = text_of(kind, exported_turn(), reasoning=False)
    assert THOUGHT not in without
    assert "42" in without


def test_markdown_says_who_answered_what_and_how_fast() -> None:
    prompt = fold("Sum <b>this</b> up.", [Attachment("notes.txt", "```\nnotes\n```")])
    text = text_of("md", exported_turn(prompt=prompt), exported_turn(seq=1), title="On *this*")
    assert text.startswith(
        "# On *this*\n\n## 1. Prompt\n\n*2026-11-21T12:00:00.000+00:00*\n\n> Sum &lt;b>this&lt;/b> up."
    )
    assert "<summary>Attached: notes.txt</summary>\n\n````text\n```\nnotes\n```\n````" in text
    assert "### Kimi &lt;K2> · k2 · stand-in for Kimi\n\n*ok · first token 0.20 s · first answer token 0.90 s" in text
    assert "9 tokens (usage) · at h.example*" in text
    assert "It is **42**." in text
    assert "## 2. Prompt" in text
    assert "> The key was refused. Set another." in text
    assert f"`````text\n{THOUGHT} ````" in text  # a fence longer than the longest inside


def test_a_markdown_export_contains_each_trajectory_of_heavy() -> None:
    heavy = attempt("a", role="heavy", provider="heavy")
    inner: dict[str, Any] = {"parent_id": heavy.attempt_id, "provider": "heavy"}
    drafts = [attempt("a", role="trajectory", k_index=k, **inner) for k in range(2)]
    log = turn(
        (heavy, ended([(900, Answer("It is 42."))])),
        (drafts[0], ended([(100, Reasoning(THOUGHT)), (300, Answer("Draft </details> **42**"))])),
        (drafts[1], ended([(5, Failure("rate_limit", "Too many requests.", "Wait."))], "error")),
        (attempt("a", role="aggregator", **inner), ended([(800, Answer("It is 42."))])),
        lanes=(LaneInfo("a", "Heavy", "heavy", "k2"),),
    )
    text = text_of("md", log)
    assert "\n\n<details>\n<summary>Trajectory T1 · ok · first token 0.10 s" in text
    assert f"text\n{THOUGHT}\n" in text
    assert "Draft &lt;/details> **42**\n\n</details>\n\n<details>\n<summary>Trajectory T2 · error</summary>" in text
    assert "> Too many requests. Wait.\n\n</details>" in text
    assert text.count("It is 42.") == 1, "the aggregator's answer is heavy's"
    assert THOUGHT not in text_of("md", log, reasoning=False)


def test_a_json_export_is_read_back() -> None:
    (back,) = import_turns(json.loads(text_of("json", exported_turn(answer="half \ud800 of a pair"))))
    assert back.lanes[0].label == "Kimi <K2>"
    text_of("json", exported_turn()).encode("ascii")


def test_the_page_allows_nothing_but_its_own_script_and_style() -> None:
    page = Page(text_of("html", exported_turn()))
    assert not [a for _, a in page.elements if a.keys() & {"src", "href", "srcset", "data", "action"}]
    assert {tag for tag, _ in page.elements} == {
        "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "noscript", "main", "script",
    }  # fmt: skip
    policy = dict(part.strip().split(" ", 1) for part in page.policy().split(";"))
    assert policy.pop("default-src") == "'none'"
    hashes = {
        tag: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for tag, text in page.raw
        if not text.startswith('{"replays"')
    }
    assert (policy.pop("script-src"), policy.pop("style-src")) == (hashes["script"], hashes["style"])
    assert set(policy.values()) == {"'none'"}
    assert not re.findall(r"https?://(?!x\.example)[\w.]+", " ".join(text for tag, text in page.raw if tag == "style"))


def test_hostile_text_closes_no_element_of_the_page() -> None:
    hostile = exported_turn(answer=HOSTILE, prompt=HOSTILE)
    page = Page(text_of("html", hostile, title=HOSTILE))
    plain = Page(text_of("html", exported_turn(), title="A title"))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.data()["replays"][0]["turn"]["prompt"] == HOSTILE
    parts = [frame["frame"]["lanes"].get("a", {}) for frame in page.data()["replays"][0]["frames"]]
    html = [text for part in parts for text in (*part.get("blocks", ()), part.get("tail", ""), part.get("whole", ""))]
    assert "alert(1)" in "".join(html)
    assert [violation for text in html for violation in violations(text)] == []


def test_the_terminal_and_the_page_offer_each_format() -> None:
    """Both repeat the list: the terminal in order to start fast, the page because it is another language."""

    def menu(script: str, name: str) -> set[str]:
        entries = (ASSETS / script).read_text("utf-8").partition(f"const {name} = [")[2].partition("];")[0]
        return set(re.findall(r'\["(\w+)", ', entries))

    assert set(export_command.FORMATS) == menu("base/export_menu.js", "FORMATS") == set(EXPORTS)
    assert set(bench_report.FORMATS) == set(report.FORMATS)
    assert menu("benchmark_tab/result.js", "DOWNLOADS") == set(benchmark.FORMATS) == {*report.FORMATS, "csv"}


def test_file_names_are_plain() -> None:
    assert file_name("Why is *the* sky/blue?", "md") == "kimi-why-is-the-sky-blue.md"
    assert file_name("../../etc/passwd\0", "json") == "kimi-etc-passwd.json"
    assert file_name("天气", "html") == "kimi-export.html"
    assert file_name("é" * 300, "html") == f"kimi-{'e' * 60}.html"


def test_the_bundle_contains_every_module_the_page_needs() -> None:
    script = bundle_scripts(ASSETS, ["turn/replay.js"], {"base/bus.js": "export const chat = 1;"})
    names = re.findall(r'^modules\["([\w./]+)"\] = ', script, re.MULTILINE)
    assert names[-1] == "turn/replay.js"
    assert {"turn/turn.js", "lane/lane.js", "base/bus.js"} <= set(names)
    used = set(re.findall(r'= modules\["([\w./]+)"\];', script))
    assert used <= set(names)
    for name in used:  # a module is defined before it is used
        assert script.index(f'modules["{name}"] = (') < script.index(f'= modules["{name}"];')


@pytest.mark.parametrize(
    "module",
    [
        'import x from "./a.js";',
        'import * as x from "./a.js";',
        'const x = await import("./a.js");',
        "export default 1;",
        'export { x } from "./a.js";',
        "export * from './a.js';",
        'const x = "</script>";',
        "const x = '<!--';",
        "const here = import.meta.url;",
    ],
)
def test_a_module_the_bundle_does_not_understand_is_refused(module: str, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("export const x = 1;\n")
    with pytest.raises(CannotBundle):
        bundle_scripts(tmp_path, ["b.js"], {"b.js": module})


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = 1;\n')
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = 1;\n')
    with pytest.raises(CannotBundle):
        bundle_scripts(tmp_path, ["a.js"], {})


def test_a_turn_without_events_is_exported() -> None:
    empty = exported_turn()
    empty.entries.clear()
    for kind in EXPORTS:
        assert export([empty], "x", kind).data


def test_an_attempt_with_nothing_but_a_finish_is_exported() -> None:
    silent = turn((attempt("a"), [(5, Finish("stop"))]))
    for kind in EXPORTS:
        assert export([silent], "x", kind).data
