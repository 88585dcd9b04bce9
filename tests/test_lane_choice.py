"""A user's choices for a lane in a conversation: model, parameters, whether reasoning is sent back."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from kimi_ui.core.lane import LaneChoice, LaneSpec, Price
from kimi_ui.providers.base import ChatRequest, Message
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.providers.ollama.provider import OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from tests.support.engine_run import started
from tests.support.folding import ALONE
from tests.support.scripted import ScriptedProvider, ScriptedRoster, thinker
from tests.support.upstream import Upstream
from tests.support.waiting import ended

PRICE = Price(1.0, 2.0, as_of="2026-01-01")


def kimi(**fields: Any) -> ScriptedProvider:
    spec = LaneSpec("kimi", "Kimi", "openai", model="k2", price=PRICE, tokenizer="/own.model", params={"max_tokens": 9})
    return ScriptedProvider(spec, [thinker("r", "a")])


def test_choosing_another_model_removes_price_and_vocabulary() -> None:
    spec = LaneSpec("q", "Q", "openai", model="a", price=PRICE, tokenizer="/own.model")
    assert spec.with_model("") is spec
    assert spec.with_model("a") is spec
    assert (spec.with_model("b").model, spec.with_model("b").price, spec.with_model("b").tokenizer) == ("b", None, "")
    free = OllamaLane("q", "Q", "ollama", model="a", price=Price(0, 0))
    assert free.with_model("b").price == Price(0, 0)
    embedded = EmbeddedLane("q", "Q", "embedded")
    assert embedded.with_model("b") is embedded


def test_a_chosen_model_is_requested_logged_and_kept_by_a_retry() -> None:
    a, b = kimi(), ScriptedProvider(LaneSpec("b", "B", "openai", model="m"), [thinker()])
    with started(ScriptedRoster(a, b)) as run:
        engine = run.engine
        choices = {"kimi": LaneChoice("k3", {"temperature": 1, "max_tokens": 7}, True)}
        turn = engine.send("q", params={"top_p": 0.5}, choices=choices)
        fold = ended(turn)
        attempt = fold.attempts[fold.current("kimi") or ""]
        assert (attempt.request_model, attempt.price, attempt.tokenizer) == ("k3", None, "")
        assert attempt.params == {"max_tokens": 7, "temperature": 1, "top_p": 0.5}
        assert (turn.lanes[0].model, turn.lanes[0].chosen_model, turn.lanes[1].chosen_model) == ("k3", "k3", "")
        assert a.requests[0].model == "k3"
        assert b.requests[0].model == ""
        assert b.requests[0].params == {"top_p": 0.5}
        engine.retry(turn.turn_id, "kimi")
        ended(turn)
        assert a.requests[1] == a.requests[0]


def test_reasoning_is_sent_back_only_where_the_person_chose_it() -> None:
    a, b = kimi(), ScriptedProvider(LaneSpec("b", "B", "openai", model="m", send_reasoning=True), [thinker("r", "a")])
    with started(ScriptedRoster(a, b)) as run:
        engine = run.engine
        first = engine.send("q1")
        ended(first)
        choices = {"kimi": LaneChoice(send_reasoning=True), "b": LaneChoice(send_reasoning=False)}
        second = engine.send("q2", conversation_id=first.conversation_id, choices=choices)
        ended(second)
        assert [info.send_reasoning for info in first.lanes] == [False, True]
        assert [info.send_reasoning for info in second.lanes] == [True, False]
        assert a.requests[1].messages[1] == Message("assistant", "a", "r")
        assert b.requests[1].messages[1] == Message("assistant", "a", "")
        assert run.turns.history(first.conversation_id, "b") == [(0, "q1", "a", "r", ()), (1, "q2", "a", "r", ())]
        assert run.turns.history(first.conversation_id, "b", 1) == [(0, "q1", "a", "r", ())]


def test_heavys_trajectories_and_aggregator_use_the_chosen_model() -> None:
    answers = iter(["one", "two", "both"])
    inner = ScriptedProvider(LaneSpec("kimi", "Kimi", "openai", model="k2"), [lambda _: thinker("", next(answers))])
    heavy = HeavyProvider(HeavyLane("heavy", "Heavy", "heavy", of="kimi", width=2, quorum=2), inner)
    with started(ScriptedRoster(inner, heavy)) as run:
        engine = run.engine
        turn = engine.send("q", lanes=["heavy"], choices={"heavy": LaneChoice("k3")})
        fold = ended(turn)
        assert [request.model for request in inner.requests] == ["k3"] * 3
        assert {attempt.request_model for attempt in fold.attempts.values()} == {"k3"}
        assert (turn.lanes[0].model, turn.lanes[0].width) == ("k3", 2)
        answers = iter(["one", "two", "both"])
        turn = engine.send("q", lanes=["heavy"])
        assert {attempt.request_model for attempt in ended(turn).attempts.values()} == {"k2"}
        assert (turn.lanes[0].model, turn.lanes[0].chosen_model) == ("k2", "")


async def test_the_chosen_model_and_the_reasoning_are_in_the_request(upstream: Upstream) -> None:
    lane = LaneSpec("kimi", "Kimi", "openai", model="none", base_url=upstream.base_url)
    messages = (Message("user", "q"), Message("assistant", "a", "because"), Message("user", "and?"))
    request = ChatRequest(messages, {"max_tokens": 7}, "m-1000-0-3")
    async with aclosing(OpenAICompatible(lane)) as provider:
        async for _ in provider.stream(request, ALONE):
            pass
    body = upstream.requests[-1].body
    assert (body["model"], body["max_tokens"]) == ("m-1000-0-3", 7)
    assert body["messages"][1] == {"role": "assistant", "content": "a", "reasoning_content": "because"}
