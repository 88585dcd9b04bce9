"""Queued prompts: sent once, when their lanes have ended; held where they should not be sent; never lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.chat.prompt_queue import IMAGE_LOST, STOPPED, UNANSWERED, NotQueued, QueueFull
from kimi_ui.chat.prompts import LanesBusy, Prompt
from kimi_ui.chat.services import ChatServices
from kimi_ui.core.attachments import Attachment, AttachmentError, fold
from kimi_ui.core.budget import Budget
from kimi_ui.core.conversation_settings import ConversationSettings, LaneSettings
from kimi_ui.core.events import Answer, Failure, Finish
from kimi_ui.core.images import Image, image_of
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.queued_prompts import DIED, QueuedPrompt
from kimi_ui.providers.base import ProviderError
from tests.support.engine_run import Run, started
from tests.support.image_files import picture
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.waiting import until

ME = "m" * 32
YOU = "y" * 32
DOT = image_of("dot.png", "image/png", 8, 6, picture(size=(8, 6)))
OTHER = image_of("other.png", "image/png", 9, 6, picture(size=(9, 6)))


@dataclass
class Chat:
    """Two lanes: ``fast`` answers at once, ``slow`` once ``go`` is set. The first turn is sent."""

    run: Run
    services: ChatServices
    fast: ScriptedProvider
    slow: ScriptedProvider
    go: threading.Event
    first: TurnLog

    @property
    def id(self) -> str:
        return self.first.conversation_id

    def send(self, text: str, **more: Any) -> TurnLog | QueuedPrompt:
        return self.services.queue.send(Prompt(text, self.id, **more), ME)

    def queue(self, text: str, **more: Any) -> QueuedPrompt:
        queued = self.send(text, queue=True, **more)
        assert isinstance(queued, QueuedPrompt)
        return queued

    def queue_images(self, text: str, *images: Image) -> QueuedPrompt:
        return self.queue(text, attachments=tuple(self.services.uploads.add(ME, image) for image in images))

    @property
    def stored(self) -> set[str]:
        """The images in the log."""
        self.run.writer.flush().result()
        return {sha256 for (sha256,) in self.run.reader.rows("SELECT sha256 FROM images")}

    @property
    def queued(self) -> list[tuple[str, str, str]]:
        return [(one.prompt, one.state, one.reason) for one in self.services.queue.of(self.id)]

    @property
    def prompts(self) -> list[str]:
        """The prompts of the conversation's turns, once the last one has ended."""
        until(lambda: not self.run.turns.live())
        return [turn.prompt for turn in self.run.turns.conversation(self.id)]

    def fast_is_ready(self) -> None:
        until(lambda: self.services.prompts.running(self.id) == {"slow"})


def said(answer: str = "yes") -> list[Any]:
    return [Answer(answer), Finish("stop")]


@contextmanager
def chat_at(path: Path, slow: list[Any] | None = None, fast: list[Any] | None = None) -> Iterator[Chat]:
    go = threading.Event()
    price = Price(1.0, 4.0)
    one = ScriptedProvider(LaneSpec("fast", "Fast", "openai", model="f", price=price), [fast or said()])
    two = ScriptedProvider(LaneSpec("slow", "Slow", "openai", model="s", price=price), [[go, *(slow or said())]])
    with started(ScriptedRoster(one, two), path) as run:
        services = ChatServices(run.engine, run.turns)
        first = services.prompts.send(Prompt("First"), ME)
        yield Chat(run, services, one, two, go, first)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    with chat_at(tmp_path / "log.sqlite3") as chat:
        yield chat


def messages(provider: ScriptedProvider, k: int = -1) -> list[str]:
    return [message.content for message in provider.requests[k].messages]


def test_queued_prompts_are_sent_in_order_once_every_lane_has_ended(chat: Chat) -> None:
    queued = chat.queue("Second")
    key = chat.services.uploads.add(ME, Attachment("notes.txt", "some text"))
    chat.queue("Third", attachments=(key,))
    chat.fast_is_ready()
    third = fold("Third", [Attachment("notes.txt", "some text")])
    assert [one[:2] for one in chat.queued] == [("Second", "waiting"), (third, "waiting")]
    with pytest.raises(LanesBusy):
        chat.send("Not queued")
    chat.go.set()
    until(lambda: not chat.queued)
    assert chat.prompts == ["First", "Second", third]
    assert messages(chat.slow) == ["First", "yes", "Second", "yes", third]
    assert chat.run.turns.get(queued.prompt_id), "the turn has the id that the queued prompt had"
    assert isinstance(chat.send("Fourth", queue=True), TurnLog), "nothing runs, so it is sent at once"


def test_a_prompt_is_sent_once_though_many_ask_at_the_moment_it_is_due(chat: Chat) -> None:
    chat.queue("Second")
    chat.go.set()
    with ThreadPoolExecutor(8) as pool:
        until(lambda: not any(list(pool.map(lambda _: chat.services.queue.of(chat.id), range(8)))))
    assert chat.prompts == ["First", "Second"]
    assert len(chat.fast.requests) == 2


def test_lanes_that_are_ready_go_on_while_others_run_and_each_keeps_its_own_history(chat: Chat) -> None:
    queued = chat.queue("Later")
    chat.fast_is_ready()
    with pytest.raises(LanesBusy):
        chat.send("To both", lanes=("fast", "slow"))
    turn = chat.send("Meanwhile", lanes=("fast",))
    assert isinstance(turn, TurnLog)
    assert [info.id for info in turn.lanes] == ["fast"]
    until(lambda: turn.closed)
    assert [one[:2] for one in chat.queued] == [("Later", "waiting")], "the first turn still runs"
    now = chat.services.queue.send_now(chat.id, queued.prompt_id, ME, lanes=("fast",))
    assert now
    assert chat.queued == []
    until(lambda: now.closed)
    chat.go.set()
    until(lambda: chat.first.closed)
    chat.send("All")
    assert chat.prompts == ["First", "Meanwhile", "Later", "All"]
    assert messages(chat.fast) == ["First", "yes", "Meanwhile", "yes", "Later", "yes", "All"]
    assert messages(chat.slow) == ["First", "yes", "All"]


def test_a_lane_that_the_prompt_does_not_go_to_is_not_waited_for(chat: Chat) -> None:
    chat.fast_is_ready()
    chat.queue("Second")
    chat.services.settings.set(ME, chat.id, ConversationSettings(lanes={"slow": LaneSettings(on=False)}))
    until(lambda: chat.queued == [])
    chat.go.set()
    assert chat.prompts == ["First", "Second"]
    assert len(chat.slow.requests) == 1


def test_what_is_queued_is_held_when_the_turn_is_stopped_until_the_user_sends_it(chat: Chat) -> None:
    first, second = chat.queue("Second"), chat.queue("Third")
    chat.services.queue.hold(chat.id)
    chat.run.engine.stop(chat.first.turn_id)
    until(lambda: chat.first.closed)
    assert chat.queued == [("Second", "held", STOPPED), ("Third", "held", STOPPED)]
    chat.services.queue.remove(chat.id, second.prompt_id)
    with pytest.raises(NotQueued):
        chat.services.queue.found(chat.id, second.prompt_id)
    assert chat.services.queue.send_now(chat.id, first.prompt_id, ME)
    chat.go.set()
    assert chat.prompts == ["First", "Second"]


def test_what_is_queued_is_held_when_no_lane_has_answered(tmp_path: Path) -> None:
    broken = ProviderError(Failure("auth", "The key is invalid."))
    with chat_at(tmp_path / "log.sqlite3", slow=[broken]) as chat:
        chat.fast.scripts = [[broken]]
        turn = chat.services.prompts.send(Prompt("Fails"), ME)
        chat.first = turn
        chat.queue("Second")
        chat.go.set()
        until(lambda: turn.closed)
        until(lambda: chat.queued == [("Second", "held", UNANSWERED)])
        assert chat.prompts == ["Fails"]


def test_the_budget_holds_at_the_moment_of_sending(chat: Chat) -> None:
    queued = chat.queue("Second")
    chat.services.spending.set_budget(ME, Budget(day_usd=0.0))
    chat.go.set()
    until(lambda: chat.queued and chat.queued[0][1] == "over_budget")
    assert "budget" in chat.queued[0][2]
    assert chat.services.queue.send_now(chat.id, queued.prompt_id, ME, over_budget=True)
    assert chat.prompts == ["First", "Second"]


def test_a_prompt_that_was_queued_when_the_process_died_is_held(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with chat_at(path, fast=[threading.Event()]) as chat:  # no lane has answered when the process ends
        chat.queue("Second")
        sent = chat.queue("Third")
        removed = chat.queue("Fourth")
        chat.services.queue.remove(chat.id, removed.prompt_id)
        row = "SELECT prompt FROM queued_prompts WHERE prompt_id = :id"
        until(lambda: chat.run.reader.rows(row, id=removed.prompt_id) == [("",)])
        conversation = chat.id
    with chat_at(path) as chat:
        queue = chat.services.queue
        assert [(one.prompt, one.state, one.reason) for one in queue.of(conversation)] == [
            ("Second", "held", DIED),
            ("Third", "held", DIED),
        ]
        chat.go.set()
        queue.forget(conversation)
        until(lambda: not chat.run.turns.live())
        chat.services.prompts.send(Prompt("Third", conversation), ME, sent.prompt_id)  # died before the row said so
        until(lambda: not chat.run.turns.live())
        assert [one.prompt for one in queue.of(conversation)] == ["Second"]


def test_queued_images_are_kept_until_nobody_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.sqlite3"
    with chat_at(path) as chat:
        kept, edited = chat.queue_images("", DOT), chat.queue_images("Look", OTHER, DOT)
        assert chat.stored == {DOT.sha256, OTHER.sha256}, "each once"
        chat.services.queue.remove(chat.id, edited.prompt_id)
        assert chat.stored == {DOT.sha256}
        monkeypatch.setattr("kimi_ui.chat.prompt_queue.MAX_IMAGE_BYTES", 2 * DOT.n_bytes)
        with pytest.raises(QueueFull, match="images of queued prompts"):
            chat.queue_images("Too much", DOT, DOT)
        theirs = chat.services.prompts.send(Prompt("First"), YOU)  # of another person, with a limit of their own
        keys = tuple(chat.services.uploads.add(YOU, DOT) for _ in range(2))
        more = chat.services.queue.send(Prompt("", theirs.conversation_id, queue=True, attachments=keys), YOU)
        assert isinstance(more, QueuedPrompt)
        chat.services.queue.remove(more.conversation_id, more.prompt_id)
        conversation = chat.id
    with chat_at(path) as chat:
        queue, turns = chat.services.queue, chat.run.turns
        (held,) = queue.of(conversation)
        assert (held.prompt, held.state, held.images) == ("", "held", (DOT._replace(data=b""),))
        assert queue.found(conversation, kept.prompt_id).images == (DOT,)
        with monkeypatch.context() as patch:
            patch.setattr(turns, "image", lambda sha256: None)
            with pytest.raises(AttachmentError, match=IMAGE_LOST):
                queue.send_now(conversation, kept.prompt_id, ME)
        chat.go.set()
        until(lambda: not turns.live())
        chat.slow.sees = True
        turn = queue.send_now(conversation, kept.prompt_id, ME)
        assert turn
        assert turn.images == (DOT,)
        until(lambda: not turns.live())
        assert chat.slow.requests[-1].messages[-1].images == (DOT,)
        assert "it was not sent to you: this model takes no images" in messages(chat.fast)[-1]
        assert chat.stored == {DOT.sha256}
        assert chat.run.reader.rows("SELECT * FROM queued_images") == []
        chat.slow.scripts = [[threading.Event(), *said()]]
        running = chat.send("Once more")
        assert isinstance(running, TurnLog)
        chat.queue_images("Never sent", OTHER)
        assert chat.stored == {DOT.sha256, OTHER.sha256}
        queue.hold(chat.id)
        chat.run.engine.stop(running.turn_id)
        until(lambda: not turns.live())
        queue.forget(chat.id)
        chat.run.writer.delete_conversation(chat.id, ME).result()
        assert chat.stored == {DOT.sha256}
        chat.run.writer.delete_conversation(conversation, ME).result()
        assert chat.stored == set()
    assert not any(image.data in path.read_bytes() for image in (DOT, OTHER))
