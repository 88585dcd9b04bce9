"""Settings of a conversation: which are stored, which are refused, which are part of a request."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_ui.core.conversation_settings import (
    ConversationSettings,
    LaneSettings,
    SettingsError,
    has_one_temperature,
    read,
)
from kimi_ui.core.lane import LaneChoice, LaneSpec
from kimi_ui.providers.heavy import HeavyLane
from kimi_ui.providers.ollama.provider import OllamaLane

KIMI = LaneSpec("kimi", "Kimi", "openai", model="kimi-k2.6")
HEAVY = HeavyLane("heavy", "Heavy", "heavy", model=KIMI.model, of="kimi")
QWEN = OllamaLane("qwen", "Qwen", "ollama", model="qwen3-coder:30b")


def test_settings_are_written_as_read_without_empty_entries() -> None:
    value = {
        "system": "Be brief.",
        "lanes": {"kimi": {"on": False, "model": "k3"}, "qwen": {"max_tokens": 100, "temperature": 0}, "x": {}},
    }
    settings = read(value)
    assert settings.lanes == {
        "kimi": LaneSettings(on=False, model="k3"),
        "qwen": LaneSettings(max_tokens=100, temperature=0),
    }
    assert settings.as_dict() == {
        "system": "Be brief.",
        "lanes": {"kimi": {"on": False, "model": "k3"}, "qwen": {"max_tokens": 100, "temperature": 0}},
    }
    assert read(settings.as_dict()) == settings
    assert read({}).as_dict() == {}
    assert read({"future": 1, "lanes": {"kimi": {"other": 2}}}) == ConversationSettings()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "reload"),
        ({"system": 5}, "reload"),
        ({"lanes": 5}, "reload"),
        ({"system": "x" * 100_001}, "attach"),
        ({"lanes": {"kimi": {"model": "a\nb"}}}, "choose one"),
        ({"lanes": {"kimi": {"model": "x" * 500}}}, "choose one"),
        ({"lanes": {"kimi": {"max_tokens": 0}}}, "whole number"),
        ({"lanes": {"kimi": {"max_tokens": 1.5}}}, "whole number"),
        ({"lanes": {"kimi": {"max_tokens": "many"}}}, "a number"),
        ({"lanes": {"kimi": {"max_tokens": True}}}, "a number"),
        ({"lanes": {"kimi": {"temperature": 3}}}, "from 0 to 2"),
        ({"lanes": {"kimi": {"temperature": float("nan")}}}, "from 0 to 2"),
        ({"lanes": {"kimi": {"max_tokens": float("inf")}}}, "whole number"),
    ],
)
def test_invalid_settings_are_refused_with_a_sentence(value: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read(value)


@pytest.mark.parametrize(
    ("model", "only_one"),
    [
        ("kimi-k2.5", True),
        ("moonshotai/Kimi-K2.6-TEE", True),
        ("kimi-k3", True),
        ("kimi-k2-thinking", False),
        ("kimi-k2-0905-preview", False),
        ("moonshotai/Kimi-K2-Instruct", False),
        ("qwen3-coder:30b", False),
        ("", False),
    ],
)
def test_which_models_take_a_temperature(model: str, only_one: bool) -> None:
    assert has_one_temperature(model) is only_one


def test_a_temperature_the_model_refuses_is_not_sent() -> None:
    lanes = {lane: LaneSettings(temperature=0.5, max_tokens=9) for lane in ("kimi", "heavy", "qwen", "gone")}
    choices = ConversationSettings(lanes=lanes).choices([KIMI, HEAVY, QWEN])
    assert choices == {
        "kimi": LaneChoice(params={"max_tokens": 9}),
        "heavy": LaneChoice(params={"max_tokens": 9}),
        "qwen": LaneChoice(params={"max_tokens": 9, "temperature": 0.5}),
    }
    older = ConversationSettings(lanes={"kimi": LaneSettings(model="kimi-k2-thinking", temperature=0.5)})
    assert older.choices([KIMI])["kimi"] == LaneChoice("kimi-k2-thinking", {"temperature": 0.5})


def test_lanes_that_are_off_do_not_take_part() -> None:
    settings = ConversationSettings(lanes={"heavy": LaneSettings(on=False), "gone": LaneSettings(on=False)})
    assert settings.lanes_on(["kimi", "heavy", "qwen"]) == ["kimi", "qwen"]


def test_a_context_is_sent_only_to_lanes_whose_server_takes_one() -> None:
    settings = ConversationSettings()
    for lane in ("kimi", "heavy", "qwen"):
        settings = settings.with_lane(lane, {"num_ctx": 12_288, "seed": 7})
    assert settings.lanes["qwen"] == LaneSettings(num_ctx=12_288), "what is no setting is not kept"
    chosen = settings.choices([KIMI, HEAVY, QWEN])
    assert {lane: choice.params for lane, choice in chosen.items()} == {
        "kimi": {},
        "heavy": {},
        "qwen": {"num_ctx": 12_288},
    }
    on_qwen = HeavyLane("wide", "Wide", "heavy", model=QWEN.model, of="qwen")
    wide = ConversationSettings().with_lane("wide", {"num_ctx": 4_096})
    assert wide.choices([QWEN, on_qwen])["wide"].params == {"num_ctx": 4_096}
    assert read(settings.as_dict()) == settings


@pytest.mark.parametrize("num_ctx", [0, 255, 4096.5, 10_000_001, "8192", True])
def test_a_context_that_no_server_takes_is_refused(num_ctx: Any) -> None:
    with pytest.raises(SettingsError, match="num_ctx"):
        read({"lanes": {"qwen": {"num_ctx": num_ctx}}})


def test_a_heavy_lanes_options_are_settings_and_a_prompts_path_is_not() -> None:
    chosen = {"strategy": "pick", "preset": "fast", "width": 4, "quorum": 2, "concurrency": 3, "skip_unanimous": False}
    chosen |= {"prompt": "synthesize-brief"}
    settings = read({"lanes": {"heavy": {"heavy": {**chosen, "budget_s": None}}}})
    assert settings.lanes["heavy"].heavy == chosen
    assert read(settings.as_dict()) == settings
    assert settings.choices([KIMI, HEAVY])["heavy"].heavy == settings.lanes["heavy"].heavy
    assert read({"lanes": {"heavy": {"heavy": {"strategy": "", "prompt": ""}}}}).lanes == {}
    with pytest.raises(SettingsError, match="one of the list"):
        read({"lanes": {"heavy": {"heavy": {"prompt": "/etc/passwd"}}}})


@pytest.mark.parametrize("heavy", [{"strategy": "best"}, {"preset": "slow"}, {"width": 99}, {"budget_s": 0}])
def test_a_wrong_option_of_heavy_is_refused_with_a_sentence(heavy: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"Heavy.s \w+ must be"):
        read({"lanes": {"heavy": {"heavy": heavy}}})
