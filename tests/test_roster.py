"""Presets and roster: the provider of a lane, why no better one is used, and changes that take effect while running."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kimi_ui.chat.lanes import LaneChanges
from kimi_ui.config import ConfigError, Settings, read_settings
from kimi_ui.core.lane import Price
from kimi_ui.core.turn import TurnLog
from kimi_ui.engine.engine import UnknownLane
from kimi_ui.providers import presets, roster
from kimi_ui.providers.base import ChatRequest
from kimi_ui.providers.embedded.backend import EmbeddedBackend
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.embedded.weights import WeightsStore
from kimi_ui.providers.heavy import HeavyLane
from kimi_ui.providers.ollama.provider import OllamaState, probe
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from kimi_ui.providers.roster import Roster
from tests.support.engine_run import started
from tests.support.upstream import Upstream
from tests.support.waiting import ended, until

ALL_KEYS = {gateway.key_name: f"key-of-{gateway.name}" for gateway in presets.GATEWAYS}
Keep = Callable[[Roster], Roster]
NO_OLLAMA = {"OLLAMA_HOST": "127.0.0.1:9"}  # the discard port, where nothing answers

LANES = """
[[lane]]
id = "one"
provider = "openai"
base_url = "{base_url}"
model = "m-1000-2-2"
"""


@pytest.fixture(autouse=True)
def no_lanes_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the default lanes file, which does not exist unless a test writes it."""
    path = tmp_path / "default-lanes.toml"
    monkeypatch.setattr(roster, "default_lanes_path", lambda: path)
    return path


@pytest.fixture
def closed_after() -> Iterator[Keep]:
    """Registers a roster to be closed at the end."""
    kept: list[Roster] = []

    def keep(made: Roster) -> Roster:
        kept.append(made)
        return made

    yield keep
    for each in kept:
        asyncio.run(each.aclose())


@pytest.fixture
def make(closed_after: Keep) -> Callable[..., Roster]:
    """Makes rosters that have finished their probes; they are closed at the end."""

    def make_roster(settings: Settings | None = None, **env: str) -> Roster:
        made = closed_after(Roster(settings or read_settings(env=NO_OLLAMA | env)))
        made.settle()
        return made

    return make_roster


@pytest.mark.parametrize("gateway", presets.GATEWAYS, ids=lambda gateway: gateway.name)
def test_the_first_gateway_with_a_key_serves_the_lane(gateway: presets.Gateway, make: Callable[..., Roster]) -> None:
    later = presets.GATEWAYS[presets.GATEWAYS.index(gateway) :]
    kimi, heavy, qwen = make(**{each.key_name: "x" for each in later}).specs
    assert isinstance(heavy, HeavyLane)
    assert (kimi.id, kimi.provider, kimi.base_url, kimi.model) == ("kimi", "openai", gateway.base_url, gateway.model)
    assert kimi.api_key_env == gateway.key_name
    assert kimi.price == gateway.price
    assert not kimi.stand_in_for
    assert (heavy.id, heavy.of, heavy.width, heavy.quorum, heavy.stand_in_for) == ("kimi-heavy", "kimi", 8, 6, "")
    assert heavy.model == gateway.model
    assert qwen.provider == "embedded"


def test_presets_are_dated_priced_and_send_nothing_kimi_refuses() -> None:
    for gateway in presets.GATEWAYS:
        assert gateway.price.as_of
        assert gateway.price.input > 0
        assert gateway.price.output > gateway.price.input
        assert gateway.base_url.startswith("https://")
        assert not {"temperature", "top_p", "n"} & {*gateway.params, *gateway.extra_body}


def test_without_anything_each_lane_is_a_labelled_stand_in(make: Callable[..., Roster]) -> None:
    made = make()
    kimi, heavy, qwen = made.specs
    assert [spec.provider for spec in made.specs] == ["embedded", "heavy", "embedded"]
    assert kimi.stand_in_for == "Kimi K2.6"
    assert kimi.how_to_get_real == "CHUTES_API_KEY=your-chutes-key"
    assert heavy.stand_in_for == "Kimi K2.6 heavy"
    assert heavy.how_to_get_real == kimi.how_to_get_real
    assert qwen.stand_in_for == "Qwen3-Coder:30B"
    assert "ollama pull qwen3-coder:30b" in qwen.how_to_get_real
    assert isinstance(kimi, EmbeddedLane)
    assert kimi.think is None
    assert isinstance(qwen, EmbeddedLane)
    assert qwen.think is False
    assert kimi.price == Price(0.0, 0.0)
    kimi_served, _, qwen_served = made.servings
    assert all(name in kimi_served.why_not_better for name in ALL_KEYS)
    assert "No Ollama answers at http://127.0.0.1:9" in qwen_served.why_not_better
    assert all(serving.is_stand_in for serving in made.servings)


def test_ollama_with_the_model_serves_the_qwen_lane(upstream: Upstream, make: Callable[..., Roster]) -> None:
    upstream.alias("qwen3-coder:30b", "m-1000-0-5")
    qwen = make(OLLAMA_HOST=upstream.ollama_url, **ALL_KEYS).specs[2]
    assert (qwen.provider, qwen.base_url, qwen.model) == ("ollama", upstream.ollama_url, "qwen3-coder:30b")
    assert qwen.price == Price(0.0, 0.0)
    assert not qwen.stand_in_for


@pytest.mark.parametrize(
    ("listed", "model"),
    [
        (["kimi-k2.6:cloud"], "kimi-k2.6:cloud"),
        (["kimi-k2:1t-cloud", "kimi-k2.6:cloud", "kimi-k2.5:cloud"], "kimi-k2.6:cloud"),
        (["kimi-k2.10:cloud", "kimi-k2.9:cloud"], "kimi-k2.10:cloud"),
        (["Kimi-K3:cloud", "kimi-k2.6:cloud"], "Kimi-K3:cloud"),
        (["gpt-oss:120b-cloud", "kimi-vl:7b", "qwen3:8b"], ""),
        ([], ""),
    ],
)
def test_the_newest_kimi_of_ollamas_cloud(listed: list[str], model: str) -> None:
    assert presets.kimi_in_cloud(listed) == model


def test_kimi_on_ollamas_cloud_serves_the_kimi_lanes(upstream: Upstream, make: Callable[..., Roster]) -> None:
    upstream.alias("kimi-k2.6:cloud", "m-1000-5-5", remote=True)
    made = make(OLLAMA_HOST=upstream.ollama_url)
    kimi, heavy = made.specs[:2]
    assert (kimi.provider, kimi.model, heavy.of) == ("ollama", "kimi-k2.6:cloud", kimi.id)
    assert kimi.price is None
    served = made.serving("kimi")
    assert (served.via, served.is_stand_in) == ("Ollama's cloud", False)
    assert "runs at ollama.com" in served.why
    assert "ollama signin" in served.why
    assert made.serving("kimi-heavy").via == "heavy of Ollama's cloud"
    assert made.provider("kimi").line(ChatRequest(())) is None, "it does not queue for this machine"


def test_a_key_comes_before_ollamas_cloud(upstream: Upstream, make: Callable[..., Roster]) -> None:
    upstream.alias("kimi-k2.6:cloud", "m-1000-5-5", remote=True)
    made = make(OLLAMA_HOST=upstream.ollama_url, MOONSHOT_API_KEY="sk-test-0123456789")
    assert made.serving("kimi").via == "Moonshot"


def test_a_cloud_model_has_no_price_of_this_machine() -> None:
    qwen = presets.qwen_on_ollama("http://127.0.0.1:11434")
    assert qwen.with_model("llama3:8b").price == qwen.price
    assert qwen.with_model("kimi-k2.6:cloud").price is None


def test_a_missing_ollama_model_gives_the_pull_command(upstream: Upstream, make: Callable[..., Roster]) -> None:
    made = make(OLLAMA_HOST=upstream.ollama_url)
    serving = made.serving("qwen")
    assert serving.is_stand_in
    assert serving.how_to_get_real == "ollama pull qwen3-coder:30b"
    assert "runs but has no qwen3-coder:30b" in serving.why_not_better
    assert made.ollama.running
    assert made.ollama.models


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:80", "http://box:80"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:99", "http://127.0.0.1:99"),
        ("[::1]:99", "http://[::1]:99"),
        ("[::1]", "http://[::1]:11434"),
        ("https://box.example", "https://box.example:443"),
        ("http://box:1/sub/", "http://box:1/sub"),
        (' "box:80" ', "http://box:80"),
        ("'https://box:1'", "https://box:1"),
        ("::1", "http://[::1]:11434"),
        ("::", "http://127.0.0.1:11434"),
        ("http://[::1]", "http://[::1]:80"),
        ("box:abc", "http://box:11434"),
        ("box:99999", "http://box:11434"),
        ("box:", "http://box:11434"),
        ("http://", "http://127.0.0.1:80"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(value: str, url: str) -> None:
    assert presets.ollama_url({"OLLAMA_HOST": value}) == url


def test_another_server_is_not_mistaken_for_ollama(upstream: Upstream) -> None:
    assert probe(upstream.base_url, 0.5).running is False  # /v1/api/tags: a 404


def test_an_ollama_that_does_not_answer_delays_nothing(
    closed_after: Keep, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "PROBE_TIMEOUT_S", 0.5)

    async def silent(_request: object) -> object:
        await asyncio.sleep(60)
        yield b""

    upstream.script("GET /api/tags", silent)  # type: ignore[arg-type]
    settings = read_settings(env={"OLLAMA_HOST": upstream.ollama_url})
    made = closed_after(Roster(settings))
    assert made.specs[2].provider == "embedded"  # known before Ollama has said anything
    made.settle()
    assert made.ollama.running is False


def test_a_pulled_model_and_a_new_key_take_effect_without_a_restart(
    closed_after: Keep, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"OLLAMA_HOST": upstream.ollama_url}
    made = closed_after(Roster(read_settings(env=env), lambda: env))
    made.settle()
    kimi, qwen, heavy = made.provider("kimi"), made.provider("qwen"), made.provider("kimi-heavy")
    assert made.specs == (kimi.spec, heavy.spec, qwen.spec)
    assert heavy.spec.model == kimi.spec.model
    made.refresh()
    assert made.provider("kimi") is kimi  # nothing has changed, so the provider is the same
    env["CHUTES_API_KEY"] = "new"
    upstream.alias("qwen3-coder:30b", "m-1000-0-5")
    monkeypatch.setattr(roster, "PROBE_EVERY_S", 0.0)
    made.refresh()
    made.settle()
    assert [spec.provider for spec in made.specs] == ["openai", "heavy", "ollama"]
    assert made.provider("qwen") is not qwen
    heavy, kimi = made.provider("kimi-heavy"), made.provider("kimi")
    env["CHUTES_API_KEY"] = "another"
    made.refresh()
    assert made.provider("kimi") is not kimi  # a client holds its key, so another key means another client
    assert made.provider("kimi-heavy") is not heavy


def test_changes_of_the_lanes_file_take_effect_and_running_turns_keep_their_provider(
    tmp_path: Path, upstream: Upstream, make: Callable[..., Roster]
) -> None:
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url))
    made = make(read_settings(lanes=str(path), env={}))
    running = made.provider("one")
    assert made.serving("one").why == "The lanes file says so."
    assert made.lanes_path == path
    path.write_text(LANES.format(base_url=upstream.base_url).replace("one", "other"))  # of another size, too
    made.refresh()
    assert [spec.id for spec in made.specs] == ["other"]
    assert made.provider("one") is running  # a turn that was just sent keeps its provider
    with pytest.raises(KeyError):
        made.provider("never")


def test_a_change_in_mid_turn_leaves_the_running_turn_and_its_log_as_they_were(
    tmp_path: Path, upstream: Upstream, make: Callable[..., Roster]
) -> None:
    path = tmp_path / "lanes.toml"
    lane = LANES.format(base_url=upstream.base_url).replace("m-1000-2-2", "m-200-40-40")
    path.write_text(lane + 'extra_body = { reasoning = { effort = "low" } }\n')
    made = make(read_settings(lanes=str(path), env={}))
    changes = LaneChanges(made)
    with started(made) as run:
        first = run.engine.send("?")
        until(lambda: first.fold().folds)
        values = {"model": "m-1000-2-2", "extra_body": '{ reasoning = { effort = "high" } }'}
        changes.change(changes.read().version, [{"op": "set", "lane": "one", "values": values}])
        ended(run.engine.send("?", conversation_id=first.conversation_id))
        ended(first)
        rows = run.reader.rows("select request_model, settings from attempts")
        assert {model: json.loads(settings) for model, settings in rows} == {
            "m-200-40-40": {"extra_body": {"reasoning": {"effort": "low"}}},
            "m-1000-2-2": {"extra_body": {"reasoning": {"effort": "high"}}},
        }
        assert first.fold().newest("one").outcome() == "ok"
        path.write_text(lane.replace('"one"', '"two"'))
        with pytest.raises(UnknownLane, match="still configured"):
            run.engine.retry(first.turn_id, "one")
        stored = run.turns.conversation(first.conversation_id)
        assert [turn.fold().newest("one").answer != "" for turn in stored] == [True, True], "it stays readable"


def test_a_lanes_file_that_becomes_invalid_does_not_change_the_lanes(
    tmp_path: Path, make: Callable[..., Roster]
) -> None:
    path = tmp_path / "lanes.toml"
    good = LANES.format(base_url="http://127.0.0.1:9/v1")
    path.write_text(good)
    made = make(read_settings(lanes=str(path), env={}))
    path.write_text(good + "modle = 1\n")
    made.refresh()
    assert "unknown key 'modle'" in made.problem
    assert [spec.id for spec in made.specs] == ["one"]
    path.unlink()
    made.refresh()
    assert "is gone" in made.problem
    assert [spec.id for spec in made.specs] == ["one"]
    path.write_text(good.replace('"one"', '"back"'))
    made.refresh()
    assert made.problem == ""
    assert [spec.id for spec in made.specs] == ["back"]


def test_an_invalid_lanes_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lanes.toml"
    path.write_text("[[lane]]\n")
    with pytest.raises(ConfigError, match="every lane needs provider"):
        Roster(read_settings(lanes=str(path), env={}))


def test_the_engine_always_reports_the_lanes_of_the_current_file(
    no_lanes_file_of_the_user: Path, make: Callable[..., Roster]
) -> None:
    """An estimate with old prices would let a turn exceed a budget without asking."""
    with started(make()) as run:
        assert len(run.engine.specs) == 3
        no_lanes_file_of_the_user.write_text(LANES.format(base_url="http://127.0.0.1:9/v1"))
        assert [spec.id for spec in run.engine.specs] == ["one"]


def test_a_replaced_provider_is_closed_once_no_turn_uses_it(
    no_lanes_file_of_the_user: Path,
    make: Callable[..., Roster],
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[str] = []
    close = OpenAICompatible.aclose

    async def noted(provider: OpenAICompatible) -> None:
        closed.append(provider.spec.model)
        await close(provider)

    monkeypatch.setattr(OpenAICompatible, "aclose", noted)
    made = make()
    with started(made) as run:
        engine = run.engine

        def ask(model: str) -> TurnLog:
            lanes = LANES.format(base_url=upstream.base_url).replace("m-1000-2-2", model)
            no_lanes_file_of_the_user.write_text(lanes)
            return engine.send("?")

        ended(ask("m-1000-2-2"))
        slow = ask("m-50-1000-10")
        ended(ask("m-1000-3-30"))
        assert slow.lanes[0].model not in closed, "it still answers"
        engine.stop(slow.turn_id)
        until(lambda: closed == ["m-1000-2-2", "m-50-1000-10"])
        no_lanes_file_of_the_user.unlink()
        made.refresh()
        asyncio.run_coroutine_threadsafe(made.close_retired(), engine.loop).result(60)
        assert len(closed) == 2
        assert made.provider("one").spec.model == "m-1000-3-30", "of a lane that has just gone"


def test_a_new_default_lanes_file_takes_effect(no_lanes_file_of_the_user: Path, make: Callable[..., Roster]) -> None:
    made = make()
    assert made.lanes_path is None
    assert len(made.specs) == 3
    no_lanes_file_of_the_user.write_text(LANES.format(base_url="http://127.0.0.1:9/v1"))
    made.refresh()
    assert [spec.id for spec in made.specs] == ["one"]
    no_lanes_file_of_the_user.unlink()
    made.refresh()
    assert len(made.specs) == 3


def test_a_configured_lane_without_its_key_says_which_variable_to_set(
    tmp_path: Path, make: Callable[..., Roster]
) -> None:
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url="http://127.0.0.1:9/v1") + 'api_key_env = "SOME_KEY"\n')
    made = make(read_settings(lanes=str(path), env={}))
    serving = made.serving("one")
    assert (serving.why_not_better, serving.how_to_get_real) == ("SOME_KEY is not set.", "SOME_KEY=your-key")
    assert not serving.is_stand_in
    assert made.specs[0].provider == "openai"
    check = asyncio.run(made.check("one"))
    assert not check.ok
    assert "SOME_KEY" in check.problem


def test_a_key_is_sent_to_the_server_and_is_in_no_repr(
    tmp_path: Path, upstream: Upstream, make: Callable[..., Roster]
) -> None:
    upstream.key = "canary-key"
    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url) + 'api_key_env = "SOME_KEY"\n')
    assert "SOME_KEY" not in os.environ
    made = make(read_settings(lanes=str(path), env={"SOME_KEY": "canary-key"}))
    check = asyncio.run(made.check("one", probe=True))
    assert check.ok
    assert check.key_valid
    assert check.dialect == "reasoning_content"
    assert asyncio.run(made.models_of("one")) == sorted(upstream.models)
    assert "canary" not in repr(made.servings) + repr(made.specs) + repr(made.settings) + repr(made.provider("one"))


def test_checking_heavy_checks_the_lane_it_is_made_of(
    upstream: Upstream, tmp_path: Path, make: Callable[..., Roster]
) -> None:
    path = tmp_path / "lanes.toml"
    path.write_text(
        LANES.format(base_url=upstream.base_url) + '[[lane]]\nid = "h"\nprovider = "heavy"\nof = "one"\nwidth = 2\n'
    )
    made = make(read_settings(lanes=str(path), env={}))
    assert made.serving("h").model == "2 × m-1000-2-2"
    assert asyncio.run(made.check("h")).reachable


def test_a_refresh_without_changes_makes_no_request(upstream: Upstream, make: Callable[..., Roster]) -> None:
    made = make(OLLAMA_HOST=upstream.ollama_url)
    asked = len(upstream.requests)
    specs = made.specs
    for _ in range(50):
        made.refresh()
    assert made.specs is specs
    assert len(upstream.requests) == asked


def test_warming_up_starts_the_model_only_where_a_lane_needs_it(
    closed_after: Keep, tmp_path: Path, upstream: Upstream
) -> None:
    class Counted(EmbeddedBackend):
        starts = 0

        def warm_up(self) -> None:
            self.starts += 1

    path = tmp_path / "lanes.toml"
    path.write_text(LANES.format(base_url=upstream.base_url))
    for settings, starts in ((read_settings(lanes=str(path), env={}), False), (read_settings(env=NO_OLLAMA), True)):
        backend = Counted(WeightsStore())
        made = closed_after(Roster(settings, backend=backend))
        made.warm_up()
        assert bool(backend.starts) == starts


def test_start_up_does_not_wait_for_a_slow_ollama(
    closed_after: Keep, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe runs in its own thread: the constructor returns while it is still waiting."""
    monkeypatch.setattr(roster, "PROBE_TIMEOUT_S", 60)
    answer = threading.Event()

    async def slow(request: object) -> object:
        await asyncio.to_thread(answer.wait)
        yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    upstream.script("GET /api/tags", slow)  # type: ignore[arg-type]
    made = closed_after(Roster(read_settings(env={"OLLAMA_HOST": upstream.ollama_url})))
    assert made.ollama.running is None
    answer.set()
    made.settle(60)
    assert upstream.requests
    assert made.ollama.running is False


@pytest.mark.parametrize("host", ["a b", "a:b:c", "a..b", "x\ny", "http://[", "[::1"])
def test_an_invalid_ollama_host_counts_as_not_running(host: str) -> None:
    url = presets.ollama_url({"OLLAMA_HOST": host})
    assert probe(url, 0.5) == OllamaState(url, False)
