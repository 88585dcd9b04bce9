"""Settings and the lanes file: precedence, and every mistake named with its place and remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui import config, lanes_file
from kimi_ui.config import ConfigError, read_environment, read_settings
from kimi_ui.core.lane import Limits, Price
from kimi_ui.lanes_file import write_lanes
from kimi_ui.providers import presets, registry
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.heavy import HeavyLane
from kimi_ui.providers.ollama.provider import OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAILane
from kimi_ui.web.guard import known_hosts

CLASSES = registry.lane_classes()
parse_lanes = partial(lanes_file.parse_lanes, classes=CLASSES)
read_lanes_file = partial(lanes_file.read_lanes_file, classes=CLASSES)

DESIGN_EXAMPLE = """
[[lane]]
id = "kimi"
label = "Kimi K2"
provider = "openai"
base_url = "https://llm.chutes.ai/v1"
api_key_env = "CHUTES_API_KEY"
model = "moonshotai/Kimi-K2.6-TEE"
params = { max_tokens = 32768 }
extra_body = {}
price = { input = 0.66, cached_input = 0.33, output = 3.50, as_of = 2026-07-01 }
[lane.limits]
first_token_s = 300
idle_s = 120
total_s = 1800

[[lane]]
id = "kimi-heavy"
label = "Kimi K2 heavy"
provider = "heavy"
of = "kimi"
width = 8
quorum = 6
"""


def test_the_documented_lanes_file_reads_into_specs(tmp_path: Path) -> None:
    path = tmp_path / "lanes.toml"
    path.write_text(DESIGN_EXAMPLE)
    assert read_lanes_file(path) == [
        OpenAILane(
            id="kimi",
            label="Kimi K2",
            provider="openai",
            base_url="https://llm.chutes.ai/v1",
            api_key_env="CHUTES_API_KEY",
            model="moonshotai/Kimi-K2.6-TEE",
            params={"max_tokens": 32768},
            price=Price(input=0.66, cached_input=0.33, output=3.5, as_of="2026-07-01"),
            limits=Limits(300, 120, 1800),
        ),
        HeavyLane(id="kimi-heavy", label="Kimi K2 heavy", provider="heavy", of="kimi", width=8, quorum=6),
    ]


def test_every_optional_key_reaches_its_spec(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tiktoken.model"
    tokenizer.write_text("")
    local, stand_in, heavy = parse_lanes(f"""
[[lane]]
id = "local"
provider = "ollama"
model = "qwen3-coder:30b"
base_url = "http://127.0.0.1:11434/"
think = "high"
num_ctx = 16384
keep_alive = "30m"
tokenizer = "{tokenizer}"
system = "Be brief."
send_reasoning = true
price = {{ input = 0, output = 0 }}
[[lane]]
id = "small"
provider = "embedded"
think = false
params.temperature = 0.2
[[lane]]
id = "h"
provider = "heavy"
of = "local"
width = 4
""")
    assert isinstance(local, OllamaLane)
    assert isinstance(stand_in, EmbeddedLane)
    assert isinstance(heavy, HeavyLane)
    assert (local.label, local.base_url, local.think, local.num_ctx) == (
        "local",
        "http://127.0.0.1:11434",
        "high",
        16384,
    )
    assert (local.keep_alive, local.tokenizer, local.system, local.send_reasoning) == (
        "30m",
        str(tokenizer),
        "Be brief.",
        True,
    )
    assert local.price == Price(0.0, 0.0)
    assert (stand_in.think, stand_in.params) == (False, {"temperature": 0.2})
    assert (heavy.width, heavy.enough) == (4, 3)


SERVERS = ("http://h/v1", "http://h:2/v1")
LANE = '[[lane]]\nid = "a"\nprovider = "openai"\nmodel = "m"\nbase_url = "http://h/v1"\n'
HEAVY = LANE + '[[lane]]\nid = "h"\nprovider = "heavy"\n'

MISTAKES = {
    "unknown key": (LANE + 'modle = "x"', "line 6", 'did you mean "model"'),
    "unknown key, none near": (LANE + "zzz = 1", "line 6", "use one of id, label"),
    "key of another provider": (LANE + 'of = "a"', "line 6", "belongs to heavy lanes"),
    "duplicate id": (LANE + LANE, "line 7", "give each lane its own"),
    "no lanes": ("", "has 0 lanes", "1 to 6"),
    "seven lanes": (LANE * 7, "has 7 lanes", "1 to 6"),
    "single brackets": ('[lane]\nid = "a"', "line 1", "[[lane]] in double brackets"),
    "other top table": (LANE + "[other]\nx = 1", "line 6", "put everything under [[lane]]"),
    "lane is a value": ("lane = 3", "lanes are tables", "[[lane]]"),
    "bad TOML": (LANE + "params = ]", "not valid TOML", "line 6"),
    "no id": ('[[lane]]\nprovider = "embedded"', "line 1, lane 1", 'id = "…"'),
    "id with a space": ('[[lane]]\nid = "a b"\nprovider = "embedded"', "line 2", "letters, digits"),
    "no provider": ('[[lane]]\nid = "a"', 'lane "a"', 'provider = "…"'),
    "unknown provider": ('[[lane]]\nid = "a"\nprovider = "olama"', "line 3", 'did you mean "ollama"'),
    "no model": ('[[lane]]\nid = "a"\nprovider = "ollama"', "line 1", 'model = "…"'),
    "no base_url": ('[[lane]]\nid = "a"\nprovider = "openai"\nmodel = "m"', "line 1", 'base_url = "…"'),
    "url scheme": (LANE.replace("http:", "ftp:"), "line 5", "http:// or https://"),
    "url without host": (LANE.replace("//h/", "///"), "line 5", "name a host"),
    "url with a bad port": (LANE.replace("//h/", "//h:port/"), "line 5", "not a URL"),
    "url with userinfo": (LANE.replace("//h/", "//u:canary@h/"), "line 5", "user name or password"),
    "url with a query": (LANE.replace("/v1", "/v1?key=canary"), "line 5", "without '?'"),
    "url with an empty query": (LANE.replace("/v1", "/v1?"), "line 5", "without '?'"),
    "url with a blank": (LANE.replace("//h/", "//h h/"), "line 5", "blanks or line ends"),
    "url with a line end": (LANE.replace("//h/", "//h/\\n"), "line 5", "blanks or line ends"),
    "no url in a list": (LANE.replace('"http://h/v1"', "[]"), "line 5", "must name 1 to 64 servers"),
    "url twice": (LANE.replace('"http://h/v1"', '["http://h/v1", "http://h/v1/"]'), "line 5", "as entry 1; name each"),
    "url in a list, with userinfo": (
        LANE.replace('"http://h/v1"', '["http://h/v1", "http://u:canary@h"]'),
        "line 5",
        "entry 2 must not contain a user name",
    ),
    "no url, in a list": (LANE.replace('"http://h/v1"', "[8000]"), "line 5", "entry 1 must be an address in quotes"),
    "url as a number": (LANE.replace('"http://h/v1"', "8000"), "line 5", "text in quotes"),
    "literal key": (LANE + 'api_key_env = "sk-canary"', "line 6", "never the key itself"),
    "literal key that looks like a name": (LANE + 'api_key_env = "cpk_canary12"', "line 6", "never the key itself"),
    "key under its own name": (LANE + 'api_key = "sk-canary"', "line 6", "put it in .env"),
    "text where a number belongs": (LANE + 'limits = { idle_s = "9" }', "line 6", "number of seconds"),
    "zero limit": (LANE + "[lane.limits]\ntotal_s = 0", "line 7", "seconds above 0"),
    "unknown limit": (LANE + "[lane.limits]\nidle = 1", "line 7", 'did you mean "idle_s"'),
    "negative price": (LANE + "price = { input = 1, output = -2 }", "line 6", "not negative"),
    "infinite price": (LANE + "price = { input = inf, output = 2 }", "line 6", "must be a number"),
    "price without output": (LANE + "price = { input = 1 }", "line 6", "output = …"),
    "unknown price": (LANE + "price = { inptu = 1, output = 1 }", "line 6", 'did you mean "input"'),
    "price date": (LANE + 'price = { input = 1, output = 1, as_of = "July" }', "line 6", "like 2026-07-01"),
    "price date as a number": (LANE + "price = { input = 1, output = 1, as_of = 2026 }", "line 6", "like 2026-07-01"),
    "price date as zero": (LANE + "price = { input = 1, output = 1, as_of = 0 }", "line 6", "like 2026-07-01"),
    "price date as false": (LANE + "price = { input = 1, output = 1, as_of = false }", "line 6", "like 2026-07-01"),
    "price date as a list": (LANE + "price = { input = 1, output = 1, as_of = [] }", "line 6", "like 2026-07-01"),
    "price date as a week": (LANE + 'price = { input = 1, output = 1, as_of = "2026-W05" }', "line 6", "2026-07-01"),
    "price beyond counting": (LANE + f"price = {{ input = 1{'0' * 400}, output = 1 }}", "line 6", "must be a number"),
    "limit beyond counting": (LANE + f"limits = {{ idle_s = 1{'0' * 400} }}", "line 6", "must be a number"),
    "nested without end": (LANE + f"params = {{ stop = {'[' * 5000}", "too deeply", "flatten it"),
    "nested by dots": (LANE + f"params.{'.'.join('a' * 600)} = 1", 'lane "a"', "flatten it"),
    "params not a table": (LANE + "params = 3", "line 6", "must be a table"),
    "params the app sends": (LANE + "params = { stream = false }", "line 6", "the app sends it itself"),
    "params JSON cannot carry": (LANE + "params = { stop = 2026-01-01 }", "line 6", "JSON cannot carry"),
    "label not text": (LANE + "label = 3", "line 6", "text in quotes"),
    "flag not a flag": (LANE + 'send_reasoning = "yes"', "line 6", "true or false"),
    "think level": ('[[lane]]\nid = "a"\nprovider = "ollama"\nmodel = "m"\nthink = "very"', "line 5", "low, medium"),
    "no tokenizer file": (LANE + 'tokenizer = "/nowhere/x"', "line 6", "does not exist"),
    "tokenizer of nobody": (LANE + 'tokenizer = "~nobody-here/x"', "line 6", "does not exist"),
    "tokenizer that is no path": (LANE + 'tokenizer = "a\\u0000"', "line 6", "does not exist"),
    "heavy of nothing": (HEAVY, "line 6", 'of = "…"'),
    "heavy of unknown": (HEAVY + 'of = "b"', "line 9", "use one of a"),
    "heavy of heavy": (HEAVY + 'of = "h"', "line 9", "not heavy itself"),
    "width too small": (HEAVY + 'of = "a"\nwidth = 1', "line 10", "from 2 to 32"),
    "width too large": (HEAVY + 'of = "a"\nwidth = 33', "line 10", "from 2 to 32"),
    "quorum above width": (HEAVY + 'of = "a"\nwidth = 4\nquorum = 5', "line 11", "from 1 to 4"),
    "quorum zero": (HEAVY + 'of = "a"\nquorum = 0', "line 10", "from 1 to 32"),
    "quorum not a number": (HEAVY + 'of = "a"\nquorum = "x"', "line 10", "must be a whole number"),
    "params the app sends, in a table of their own": (
        LANE + "[lane.params]\nn = 2",
        "line 7",
        "the app sends it itself",
    ),
    "provider not text": ('[[lane]]\nid = "a"\nprovider = 3', "line 3", "text in quotes"),
    "limits not a table": (LANE + "limits = 3", "line 6", "must be a table"),
    "width not whole": (HEAVY + 'of = "a"\nwidth = true', "line 10", "whole number"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_sentence_with_its_place_and_remedy(mistake: str) -> None:
    text, place, remedy = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        parse_lanes(text)
    message = str(caught.value)
    assert place in message
    assert remedy in message
    assert message.startswith("lanes.toml")
    assert message.endswith(".")
    assert "\n" not in message
    assert "canary" not in message  # a possible key is never repeated


@given(st.text(max_size=200) | st.builds(lambda tail: LANE + tail, st.text(max_size=80)))
def test_any_text_reads_or_fails_with_a_config_error(text: str) -> None:
    try:
        assert parse_lanes(text)
    except ConfigError as error:
        assert "\n" not in str(error)


def test_written_lanes_read_back_the_same() -> None:
    awkward = {"stop": ['"', "\n", "\x7f", "ü"], "deep": {"a key": 1.5, "b": False}}
    specs = [
        *parse_lanes(DESIGN_EXAMPLE),
        OllamaLane("local", 'The "local" one', "ollama", "qwen3-coder:30b", "http://h:1", think="high", num_ctx=9000),
        OpenAILane("odd", "odd", "openai", "m", SERVERS, params=awkward, limits=Limits(1, 2.5, 3), system="a\nb"),
        HeavyLane("h", "H", "heavy", of="odd", width=12, quorum=6),
        EmbeddedLane("small", "Small", "embedded", think=False, price=Price(0.0, 0.0)),
    ]
    read = parse_lanes(write_lanes(specs))
    assert read == specs
    stand_in = replace(specs[-1], stand_in_for="Kimi", how_to_get_real="KEY=x")
    assert "Kimi" not in write_lanes([stand_in])


def test_the_shipped_lanes_can_be_written_as_a_lanes_file() -> None:
    kimi = presets.kimi_at(presets.GATEWAYS[0])
    specs = [kimi, presets.kimi_heavy(kimi), presets.qwen_on_ollama(presets.ollama_url({}))]
    assert parse_lanes(write_lanes(specs)) == specs


def test_a_missing_or_unreadable_lanes_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no lanes file at .*none\.toml; check"):
        read_lanes_file(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_lanes_file(tmp_path / "latin.toml")


def test_options_win_over_variables_and_those_over_defaults(tmp_path: Path) -> None:
    lanes = tmp_path / "l.toml"
    lanes.write_text(DESIGN_EXAMPLE)
    env = {"KIMI_UI_HOST": "10.0.0.1", "KIMI_UI_PORT": "9", "KIMI_UI_DB": "~/x.db", "KIMI_UI_LANES": str(lanes)}
    settings = read_settings(env=env)
    assert (settings.host, settings.port, settings.db) == ("10.0.0.1", 9, Path.home() / "x.db")
    assert settings.lanes == lanes
    assert not settings.is_loopback
    settings = read_settings(host="localhost", port="80", db="y.db", browser=False, env=env)
    assert (settings.host, settings.port, settings.db, settings.browser) == (
        "localhost",
        80,
        Path("y.db").absolute(),
        False,
    )
    defaults = read_settings(env={})
    assert (defaults.host, defaults.port, defaults.lanes, defaults.is_loopback) == ("127.0.0.1", 7860, None, True)
    assert defaults.db.is_absolute()
    assert defaults.db.name == "kimi-ui.sqlite3"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "kimi.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_a_loopback_address_needs_no_password(host: str) -> None:
    assert read_settings(host=host, env={}).is_loopback
    assert not known_hosts(host).any_address


@pytest.mark.parametrize(
    "host",
    ["127.example.com", "127.0.0.1.example.com", "localhost.example", "0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1"],
)
def test_an_address_that_others_can_reach_needs_a_password(host: str) -> None:
    assert not read_settings(host=host, env={}).is_loopback
    assert known_hosts(host).any_address


def test_brackets_around_an_address_are_removed() -> None:
    settings = read_settings(host="[::1]", env={})
    assert settings.host == "::1"
    assert settings.is_loopback


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:9192", "a b", "[", "::1::"])
def test_an_invalid_address_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is not an address; give --host"):
        read_settings(host=host, env={})


@pytest.mark.parametrize("port", ["eighty", "-1", "65536", ""])
def test_a_bad_port_is_refused(port: str) -> None:
    with pytest.raises(ConfigError, match="give --port"):
        read_settings(port=port, env={})


def test_the_servers_budget_is_an_amount_or_empty() -> None:
    budgets = {"": None, " ": None, "0": 0.0, " 2.50 ": 2.5}
    assert {value: read_settings(env={"KIMI_UI_BUDGET_USD": value}).budget_usd for value in budgets} == budgets
    assert read_settings(env={}).budget_usd is None
    for bad in ("lots", "$5", "2,50", "-1", "nan"):
        with pytest.raises(
            ConfigError, match=rf"^KIMI_UI_BUDGET_USD is '{re.escape(bad)}'\. A budget is .* like 2\.50"
        ):
            read_settings(env={"KIMI_UI_BUDGET_USD": bad})


def test_the_time_to_drain_is_checked() -> None:
    assert read_settings(env={}).drain_s == 5
    assert read_settings(env={"KIMI_UI_DRAIN_SECONDS": "0.5"}).drain_s == 0.5
    for bad in ("soon", "-1", "nan", "1e9"):
        with pytest.raises(ConfigError, match=r"^KIMI_UI_DRAIN_SECONDS is .* seconds from 0 to"):
            read_settings(env={"KIMI_UI_DRAIN_SECONDS": bad})


def test_traces_are_sent_only_on_demand() -> None:
    assert not read_settings(env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}).sends_traces
    assert read_settings(env={"KIMI_UI_TRACES": "otlp"}).sends_traces
    with pytest.raises(ConfigError, match=r"^KIMI_UI_TRACES is 'yes'; make it otlp"):
        read_settings(env={"KIMI_UI_TRACES": "yes"})


def test_the_token_of_the_metrics_cannot_be_short_and_is_never_shown() -> None:
    token = "0123456789abcdef"
    settings = read_settings(env={"KIMI_UI_METRICS_TOKEN": token})
    assert settings.metrics_token == token
    assert token not in repr(settings)
    with pytest.raises(ConfigError, match="at least 16") as short:
        read_settings(env={"KIMI_UI_METRICS_TOKEN": token[:-1]})
    assert token[:-1] not in str(short.value)


def test_a_named_lanes_file_must_exist() -> None:
    with pytest.raises(ConfigError, match="KIMI_UI_LANES"):
        read_settings(lanes="/nowhere/lanes.toml", env={})


def test_dotenv_adds_to_the_environment_and_never_overrides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, work = tmp_path / "app", tmp_path / "work"
    for directory in (app, work):
        directory.mkdir()
    (app / ".env").write_text("FROM_APP=1\nBOTH=app\nSET=file\n")
    (work / ".env").write_text("BOTH='work'  # nearer\nexport OTHER=$BOTH\nEMPTY=\n")
    monkeypatch.setattr(config, "APP_DIRECTORY", app)
    monkeypatch.chdir(work)
    monkeypatch.setenv("SET", "environment")
    env = read_environment()
    assert (env["FROM_APP"], env["BOTH"], env["SET"], env["OTHER"]) == ("1", "work", "environment", "$BOTH")
    assert "EMPTY" not in env
    (work / ".env").write_text("BOTH=changed\n")
    assert read_environment()["BOTH"] == "changed"
    (work / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_environment()


def test_a_wrong_line_of_dotenv_is_named_by_number_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "APP_DIRECTORY", tmp_path / "app")
    monkeypatch.chdir(tmp_path)
    for wrong in ("set X=canary", "CHUTES_API_KEY: canary", "canary"):
        Path(".env").write_text(f"A=1\r\n\n# a remark\n{wrong}\nB=2\n")
        with pytest.raises(ConfigError) as caught:
            read_environment()
        assert str(caught.value) == f"{tmp_path / '.env'} line 4 is not NAME=value; correct or remove it."
    Path(".env").write_text("\ufeffA=1\n\n", encoding="utf-8")  # as editors on Windows may save it
    assert read_environment()["A"] == "1"
    Path(".env").unlink()
    Path(".env").mkdir()  # a virtual environment of this name
    assert "A" not in read_environment()


def test_settings_never_show_what_the_environment_holds() -> None:
    settings = read_settings(env={"CHUTES_API_KEY": "canary-1", "KIMI_UI_PASSWORD": "canary-2"})
    assert settings.password == "canary-2"
    assert read_settings(env={"KIMI_UI_PASSWORD": " \t"}).password == "", "a blank password means no password"
    assert "canary" not in repr(settings)
    assert "canary" not in str(settings)
