"""The stream route over real HTTP: frames, resume positions, ends, owners, readers that disconnect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import orjson
import pytest

from kimi_ui.core.attempt import Attempt
from kimi_ui.core.events import CONNECTED, Answer, End, Entry, Finish, Opened, Phase, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.ui.site import create_app
from kimi_ui.view.frames import dumps
from kimi_ui.web import feed, stream
from kimi_ui.web.stream import TurnStreams
from kimi_ui.web.visitor import COOKIE, owner_of
from tests.support.browser import listening
from tests.support.engine_run import Run, started
from tests.support.log import store
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.shown import Shown
from tests.support.waiting import until

OURS = {COOKIE: "a" * 40}
OWNER = owner_of(OURS)
get, post = (partial(one, trust_env=False, timeout=60) for one in (httpx.get, httpx.post))
THOUGHTS = [f"w{i} " for i in range(40)]
WORDS = [
    Phase(CONNECTED),
    *(part for word in THOUGHTS for part in (Reasoning(word), 0.01)),
    Answer("A."),
    Finish("stop"),
]


class Site:
    def __init__(self, url: str, run: Run, provider: ScriptedProvider, app: Any) -> None:
        self.url, self.run, self.engine, self.provider, self.app = url, run, run.engine, provider, app

    def send(self, script: list[Any], owner: str = OWNER) -> TurnLog:
        self.provider.scripts = [script]
        return self.engine.send("?", owner=owner)

    @property
    def n_open(self) -> int:
        return self.app.state.streams.n_open


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    provider = ScriptedProvider(LaneSpec("a", "A", "openai", model="m"), [[]])
    roster = ScriptedRoster(provider)
    with started(roster) as run:
        app = create_app(run.engine, run.turns, roster)  # type: ignore[arg-type]
        with listening(app) as url:
            yield Site(url, run, provider, app)


class Event:
    """One server-sent event; ``name`` empty for a frame, ``comment`` for a comment."""

    def __init__(self, block: str) -> None:
        lines = (line.partition(": ") for line in block.split("\n"))
        fields = {name: value for name, _, value in lines}
        self.name = "comment" if block.startswith(":") else fields.get("event", "")
        self.id = int(fields["id"]) if fields.get("id") else None
        self.data = orjson.loads(fields["data"]) if "data" in fields else None


@contextmanager
def listened(site: Site, turn: TurnLog, query: str = "", **headers: str) -> Iterator[Iterator[Event]]:
    """The events of a turn as they arrive."""
    with (
        httpx.Client(cookies=OURS, trust_env=False, timeout=60) as client,
        client.stream("GET", f"{site.url}/kimi/turns/{turn.turn_id}/events{query}", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"

        def events() -> Iterator[Event]:
            text = ""
            for piece in response.iter_text():
                *blocks, text = (text + piece).split("\n\n")
                yield from (Event(block) for block in blocks if not block.startswith("retry"))

        yield events()


def reasoning(events: list[Event]) -> str:
    return "".join(event.data["lanes"].get("a", {}).get("reasoning", "") for event in events if not event.name)


def heard(incoming: Iterator[Event], thought: str) -> list[Event]:
    """The events up to the one that completes this reasoning."""
    events: list[Event] = []
    while reasoning(events) != thought:
        events.append(next(incoming))
    return events


def test_a_running_turn_is_sent_in_frames_until_its_end(site: Site) -> None:
    go = threading.Event()
    turn = site.send([Phase(CONNECTED), *map(Reasoning, THOUGHTS), go, Answer("A."), Finish("stop")])
    with listened(site, turn) as incoming:
        events = heard(incoming, "".join(THOUGHTS))  # during the stream
        go.set()
        events += incoming
    assert events[0].data["turn"]["turn_id"] == turn.turn_id
    assert events[-1].name == "end"
    assert reasoning(events) == "".join(THOUGHTS)
    ids = [event.id or 0 for event in events[:-1]]
    assert ids == sorted(ids)
    assert ids[-1] == len(turn.entries)
    assert len(ids) < len(THOUGHTS), "frames, not tokens"


def test_an_ended_turn_is_sent_in_one_frame(site: Site) -> None:
    turn = site.send(WORDS)
    until(lambda: turn.closed)
    with listened(site, turn) as incoming:
        events = list(incoming)
    assert [event.name for event in events] == ["", "end"]
    assert events[0].data["lanes"]["a"]["phase"] == "done"


@pytest.mark.parametrize("by_header", [True, False])
def test_a_reader_that_reconnects_gets_the_rest(site: Site, by_header: bool) -> None:
    go = threading.Event()
    begun, missed = THOUGHTS[:20], THOUGHTS[20:]
    turn = site.send([*map(Reasoning, begun), go, *map(Reasoning, missed), Finish("stop")])
    with listened(site, turn) as incoming:
        place = str(heard(incoming, "".join(begun))[-1].id)
    go.set()
    headers = {"Last-Event-ID": place} if by_header else {}
    with listened(site, turn, "" if by_header else f"?after={place}", **headers) as incoming:
        rest = list(incoming)
    assert "turn" not in rest[0].data
    assert reasoning(rest) == "".join(missed)


@pytest.mark.parametrize("place", ["99999", "-3", "x", "1e3", "٣"])
def test_an_invalid_resume_position_gets_everything(site: Site, place: str) -> None:
    turn = site.send(WORDS)
    until(lambda: turn.closed)
    with listened(site, turn, f"?after={place}") as incoming:
        assert "turn" in next(incoming).data


def test_another_visitors_turn_is_not_found(site: Site) -> None:
    turn = site.send(WORDS)
    theirs = {COOKIE: "b" * 40}
    for cookies in ({}, theirs):
        for turn_id in (turn.turn_id, "no-such-turn"):
            for path in ("events", "frame", "lanes/a/answer"):
                url = f"{site.url}/kimi/turns/{turn_id}/{path}"
                assert get(url, cookies=cookies).status_code == 404
            url = f"{site.url}/kimi/turns/{turn_id}/lanes/a/stop"
            assert post(url, cookies=cookies).status_code == 404
        state = get(f"{site.url}/kimi/state?turn={turn.turn_id}", cookies=cookies).json()
        assert state["turns"] == []
    until(lambda: turn.closed)
    assert turn.entries[-1].event.status == "ok", "no stranger has stopped it"


def test_a_turn_without_an_owner_is_open_to_anyone_with_its_id(site: Site) -> None:
    turn = site.send(WORDS, owner="")
    until(lambda: turn.closed)
    with listened(site, turn) as incoming:
        assert next(incoming).data["turn"]["turn_id"] == turn.turn_id


def test_a_stored_turn_is_sent_like_a_live_one(site: Site) -> None:
    turn = site.send(WORDS)
    until(lambda: turn.closed)
    with listened(site, turn) as incoming:
        live = next(incoming).data
    site.run.writer.flush().result()
    site.run.turns.forget(turn.conversation_id)
    with listened(site, turn, "?after=5") as incoming:  # its entries may have another order, so no position is valid
        events = list(incoming)
    assert events[0].data["now_ms"] is None
    assert events[0].data["lanes"] == live["lanes"]
    assert [event.name for event in events] == ["", "end"]


def test_a_conversation_is_read_from_log_and_memory_and_only_by_its_owner(site: Site) -> None:
    go = threading.Event()
    turn = site.send([Reasoning("so "), go, Finish("stop")])
    store(
        site.run.writer,
        TurnLog("older", turn.conversation_id, -1, "before", turn.lanes, OWNER, closed=True),
        TurnLog("theirs", turn.conversation_id, -2, "not ours", turn.lanes, "somebody", closed=True),
    )
    state = get(f"{site.url}/kimi/state?c={turn.conversation_id}", cookies=OURS).json()
    assert [one["turn_id"] for one in state["turns"]] == ["older", turn.turn_id]
    by_turn = get(f"{site.url}/kimi/state?turn={turn.turn_id}", cookies=OURS).json()
    assert by_turn["turns"] == state["turns"]
    assert by_turn["conversation"] == turn.conversation_id
    bare = get(f"{site.url}/kimi/state", cookies=OURS).json()
    assert bare["conversation"] == turn.conversation_id, "the running turn, on a bare visit"
    go.set()
    until(lambda: turn.closed)


def test_a_reader_that_disconnects_from_a_silent_stream_is_noticed_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "KEEPALIVE_S", 3600)  # so that no failing write reveals it
    turn = site.send([Phase(CONNECTED), Reasoning("so "), threading.Event()])
    until(lambda: site.n_open == 0)
    with listened(site, turn) as incoming:
        next(incoming)
        assert site.n_open == 1
    until(lambda: site.n_open == 0)
    site.engine.stop(turn.turn_id)


def test_a_silent_stream_sends_only_keepalive_comments(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEPALIVE_S", 0.3)
    turn = site.send([Phase(CONNECTED), Reasoning("so "), threading.Event()])
    until(lambda: any(isinstance(entry.event, Reasoning) for entry in turn.entries))
    seen: list[Event] = []
    with listened(site, turn) as incoming:
        for event in incoming:
            seen.append(event)
            if [one.name for one in seen].count("comment") == 2:
                break
    names = [event.name for event in seen]
    assert names[-1] == "comment"
    assert names.count("") <= 3
    site.engine.stop(turn.turn_id)


def test_many_readers_of_one_turn_all_get_every_frame(site: Site) -> None:
    turn = site.send(WORDS)
    told: list[str] = []

    def read() -> None:
        with listened(site, turn) as incoming:
            told.append(reasoning(list(incoming)))

    readers = [threading.Thread(target=read) for _ in range(12)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert told == ["".join(THOUGHTS)] * 12


def test_frames_are_made_once_for_all_who_follow_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One follows from the start, one joins in the middle of an answer, one comes back with what it had, and one whose
    connection takes nothing for so long that its frames are gone meanwhile."""
    asyncio.run(_follow_together(monkeypatch))


async def _follow_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    monkeypatch.setattr(feed, "dumps", lambda frame: made.append(dumps(frame)) or made[-1])
    monkeypatch.setattr(feed, "MOST_KEPT_BYTES", 500)
    turn, streams = begun(), TurnStreams()

    def answer(*pieces: str) -> str:
        for piece in pieces:
            turn.append(Entry("a", "x", 0, Answer(piece)))
        return pieces[-1]

    first, stuck = Follower(streams, turn), Follower(streams, turn)
    answer("Some **bold** words" + " and more" * 90)
    await first.shows("and more")
    answer("\n\nQ")  # so little that the paragraph's end is not rendered yet
    await first.shows("Q")
    await stuck.shows("Q")
    stuck.takes.clear()
    late, again = Follower(streams, turn), Follower(streams, turn, first)
    await late.shows("Q")
    await again.shows("Q")
    for i in range(9):
        await first.shows(answer(f" word{i}", f"\n\n{'x' * 90} {i} on"))
    last = answer(" and *the", " end*")
    end(turn)
    stuck.takes.set()
    for follower in (first, late, again, stuck):
        await asyncio.wait_for(follower.task, 60)
        assert follower.page.lanes == first.page.lanes
        assert follower.written[-1] == b"event: end\ndata: {}\n\n"
        assert last.strip(" *") in first.page.lanes["a"]["blocks"]
    assert late.written[-2] == again.written[-2] == first.written[-2]
    assert len(made) < len(first.written) + 8, "each frame once, and a state for each who came later"
    assert streams.n_open == 0


def test_a_slow_page_that_comes_back_gets_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its first frame is written, the frames behind that one are gone."""
    monkeypatch.setattr(feed, "MOST_KEPT_BYTES", 500)

    async def follow() -> None:
        streams, turn = TurnStreams(), begun()
        turn.append(Entry("a", "x", 0, Reasoning("first ")))
        first = Follower(streams, turn)
        await first.shows("first")
        turn.append(Entry("a", "x", 0, Reasoning("second ")))
        back = Follower(streams, turn, first)
        assert back.position
        back.takes.clear()
        await back.offered.wait()
        for i in range(9):
            turn.append(Entry("a", "x", 0, Reasoning(f"more{i} " * 20)))
            await first.shows(f"more{i}")
        back.takes.set()
        end(turn)
        for follower in (first, back):
            await asyncio.wait_for(follower.task, 60)
        assert back.page.lanes == first.page.lanes

    asyncio.run(follow())


def test_a_frame_that_cannot_be_made_is_lost_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    fails: list[str] = []

    def made(frame: Any) -> bytes:
        if fails:
            raise MemoryError(fails.pop())
        return dumps(frame)

    monkeypatch.setattr(feed, "dumps", made)

    async def follow() -> None:
        streams, turn = TurnStreams(), begun()
        turn.append(Entry("a", "x", 0, Answer("One.\n\n")))
        both = [Follower(streams, turn), Follower(streams, turn)]
        for follower in both:
            await follower.shows("One")
        fails.append("once")
        turn.append(Entry("a", "x", 0, Answer("Two.\n\n")))
        [failed], [left] = await asyncio.wait([one.task for one in both], return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(failed.exception(), MemoryError)
        turn.append(Entry("a", "x", 0, Answer("Three.")))
        end(turn)
        await asyncio.wait_for(left, 60)
        [page] = [one.page for one in both if one.task is left]
        assert page.lanes["a"]["blocks"].split() == ["<p>One.</p>", "<p>Two.</p>", "<p>Three.</p>"]
        assert streams.n_open == 0

    asyncio.run(follow())


def begun() -> TurnLog:
    turn = TurnLog("t", "c", 0, "?", (LaneInfo("a", "A", "openai", "m"),), t0_ns=1)
    turn.append(Entry("a", "x", 0, Opened(Attempt("x", "t", "a", "A").as_dict())))
    return turn


def end(turn: TurnLog) -> None:
    turn.append(Entry("a", "x", 1, Finish("stop")))
    turn.append(Entry("a", "x", 1, End("ok")))
    turn.close()


class Follower:
    """A page that follows a turn without HTTP. ``before``: another, of whose frames it has had those so far."""

    def __init__(self, streams: TurnStreams, turn: TurnLog, before: Follower | None = None) -> None:
        self.page, self.position = Shown(), 0
        for data in before.written if before else ():
            self._take(data)
        self.written: list[bytes] = []
        self.takes, self.offered, self._took = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.takes.set()
        gone = asyncio.get_running_loop().create_future()
        self.task = asyncio.ensure_future(streams._run(turn, self.position, self._write, gone))

    async def _write(self, data: bytes) -> None:
        self.offered.set()
        await self.takes.wait()
        self.written.append(data)
        self._take(data)
        self._took.set()

    def _take(self, data: bytes) -> None:
        for event in map(Event, data.decode().split("\n\n")[:-1]):
            if event.name == "":
                self.page.take(event.data)
                self.position = event.id or 0

    async def shows(self, text: str) -> None:
        """Wait until the page's answer has this text."""
        while text.strip() not in "".join(
            self.page.lanes.get("a", {}).get(part, "") for part in ("reasoning", "blocks", "tail")
        ):
            self._took.clear()
            await asyncio.wait_for(self._took.wait(), 60)


def test_the_answer_can_be_read_as_raw_markdown(site: Site) -> None:
    turn = site.send([Reasoning("hm"), Answer("**bold** <b>"), Finish("stop")])
    until(lambda: turn.closed)
    url = f"{site.url}/kimi/turns/{turn.turn_id}/lanes"
    answer = get(f"{url}/a/answer", cookies=OURS)
    assert answer.text == "**bold** <b>"
    assert answer.headers["content-type"].startswith("text/plain")
    assert get(f"{url}/b/answer", cookies=OURS).status_code == 404


def test_the_cookie_is_set_once_by_the_state_route_and_not_by_the_page(site: Site) -> None:
    with httpx.Client(trust_env=False, timeout=60) as client:
        assert "set-cookie" not in client.get(site.url).headers
        given = client.get(f"{site.url}/kimi/state").headers["set-cookie"]
        assert "HttpOnly" in given
        assert "samesite=strict" in given.lower()
        assert len(client.cookies[COOKIE]) >= 40
        assert "set-cookie" not in client.get(f"{site.url}/kimi/state").headers
