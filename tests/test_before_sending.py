"""Requests of the composer before a prompt is sent: uploads, token counts, estimates from the real log."""

from __future__ import annotations

import math

import pytest

from kimi_ui.chat import uploads
from kimi_ui.chat.estimates import PER_MESSAGE, Estimates, Planned
from kimi_ui.chat.prompts import Prompt
from kimi_ui.chat.services import ChatServices
from kimi_ui.chat.uploads import Uploads
from kimi_ui.core.attachments import Attachment, AttachmentError, fold
from kimi_ui.core.budget import Budget
from kimi_ui.core.conversation_settings import ConversationSettings, LaneSettings
from kimi_ui.core.estimate import Typical
from kimi_ui.core.events import Answer, Finish, Reasoning, Usage
from kimi_ui.core.images import image_of
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.costs import typical
from kimi_ui.log.sqlite.source import Source
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.tokenizers import counter
from tests.support.engine_run import started
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import ended

TEXT = "one two three four five " * 50


def test_uploads_belong_to_the_person_who_attached_them() -> None:
    waiting = Uploads()
    key = waiting.add("me", Attachment("a.txt", "text"))
    assert waiting.of("me", [key, key]) == ([Attachment("a.txt", "text")] * 2, [])
    for owner, keys in (("you", [key]), ("me", ["guess"])):
        with pytest.raises(AttachmentError, match="attach it again"):
            waiting.of(owner, keys)
    waiting.drop("you", [key])
    assert waiting.of("me", [key])[0]
    waiting.drop("me", [key, "unknown"])
    with pytest.raises(AttachmentError):
        waiting.of("me", [key])
    with pytest.raises(AttachmentError, match="at most 20"):
        waiting.of("me", ["x"] * 21)
    picture = image_of("a.png", "image/png", 2, 2, b"\x89PNG\r\n\x1a\n")
    assert waiting.of("me", [waiting.add("me", picture)]) == ([], [picture])
    with pytest.raises(AttachmentError, match="at most 10 images"):
        waiting.of("me", [waiting.add("me", picture)] * 11)


def test_the_oldest_unsent_uploads_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_SIZE", 100)
    waiting = Uploads()
    keys = [waiting.add("me", Attachment(f"{i}", "x" * 40)) for i in range(4)]
    with pytest.raises(AttachmentError):
        waiting.of("me", keys[:1])
    assert [one.name for one in waiting.of("me", keys[2:])[0]] == ["2", "3"]


def test_a_prompt_that_begins_a_conversation_is_sent_without_reading_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each takes a millisecond: SQLite reads the schema of a file that is opened."""
    spec = LaneSpec("kimi", "Kimi", "openai", model="k2")
    with started(ScriptedRoster(ScriptedProvider(spec, [[Answer("Hi."), Finish("stop")]]))) as run:
        chat, n_read, snapshot = ChatServices(run.engine, run.turns), list[int](), Source.snapshot
        monkeypatch.setattr(Source, "snapshot", lambda source: n_read.append(1) or snapshot(source))
        assert chat.spending.budget("you") == Budget()
        n_read.clear()  # the budgets are read for all
        turn = chat.queue.send(Prompt("Hello"), "me")
        assert isinstance(turn, TurnLog)
        assert chat.queue.of(turn.conversation_id) == []
        assert chat.settings.of("me", turn.conversation_id) == ConversationSettings()
        assert not n_read
        ended(turn)


def test_estimates_come_from_the_log_of_earlier_answers() -> None:
    thought, answer = "word " * 600, "word " * 400
    said = [Reasoning(thought), Answer(answer), Finish("stop"), Usage(output_tokens=1000, reasoning_tokens=600)]
    spec = LaneSpec("kimi", "Kimi", "openai", model="k2", price=Price(1.0, 4.0), system="Be brief.")
    inner = ScriptedProvider(spec, [said])
    heavy = HeavyProvider(HeavyLane("heavy", "Heavy", "heavy", of="kimi", width=2, quorum=2), inner)
    with started(ScriptedRoster(inner, heavy)) as run:
        engine, reader = run.engine, run.reader
        estimates = Estimates(engine, run.turns)
        nothing_known = estimates.of(Planned("", math.inf, "Why?", ConversationSettings()))
        assert [lane["is_floor"] for lane in nothing_known["lanes"]] == [True, True]
        assert typical(reader, "k2") is None

        for _ in range(3):
            turn = engine.send("Why?", lanes=["kimi"])
            ended(turn)
        run.writer.flush().result()
        assert typical(reader, "k2") == Typical(1000, 400, 3)
        assert typical(reader, "other") is None

        known = Estimates(engine, run.turns)
        first = known.of(Planned("", math.inf, "Why?", ConversationSettings()))
        kimi, of_heavy = first["lanes"]
        count = counter().count
        prompt = count("Why?") + count("Be brief.") + 2 * PER_MESSAGE
        assert (kimi["prompt_tokens"], kimi["requests"], kimi["is_floor"]) == (prompt, 1, False)
        assert kimi["usd"] == pytest.approx((prompt * 1.0 + 1000 * 4.0) / 1e6)
        bare = count("Why?") + PER_MESSAGE
        assert of_heavy["requests"] == 3
        assert of_heavy["usd"] == pytest.approx((3 * bare + 2 * 400 + 3 * 1000 * 4.0) / 1e6)
        assert first["usd"] == pytest.approx(kimi["usd"] + of_heavy["usd"])
        assert first["unpriced"] == 0

        wider = ConversationSettings(lanes={"heavy": LaneSettings(heavy={"width": 4, "preset": "full"})})
        of_four = known.of(Planned("", math.inf, "Why?", wider))["lanes"][1]
        assert (of_four["requests"], of_four["preset"]) == (5, "full")
        assert {one["preset"]: one["requests"] for one in of_four["presets"]}["full"] == (5, 5)
        assert of_heavy["preset"] == "thrifty"

        conversation = turn.conversation_id
        later = known.of(
            Planned(conversation, math.inf, fold("Why?", [Attachment("n.txt", TEXT)]), ConversationSettings())
        )
        history = count("Why?") + count(answer) + 2 * PER_MESSAGE
        assert later["lanes"][0]["prompt_tokens"] > prompt + history + count(TEXT)
        settings = ConversationSettings("System.", {"heavy": LaneSettings(on=False), "kimi": LaneSettings(model="k3")})
        edited = known.of(Planned(conversation, 0, "Why?", settings))
        assert [lane["id"] for lane in edited["lanes"]] == ["kimi"]
        assert edited["lanes"][0]["prompt_tokens"] == count("Why?") + count("System.") + 2 * PER_MESSAGE
        assert edited["usd"] is None
        assert edited["unpriced"] == 1  # the price was the other model's
        thinking = ConversationSettings(lanes={"kimi": LaneSettings(send_reasoning=True)})
        more = known.of(Planned(conversation, math.inf, "Why?", thinking))["lanes"][0]["prompt_tokens"]
        plain = known.of(Planned(conversation, math.inf, "Why?", ConversationSettings()))["lanes"][0]["prompt_tokens"]
        assert more == plain + count(thought) + PER_MESSAGE
