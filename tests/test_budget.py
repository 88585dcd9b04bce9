"""The budget: when and how it asks, and that nothing over budget is sent unasked: prompts, edits, retries, programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from starlette.applications import Starlette

from kimi_ui.chat.prompts import Prompt
from kimi_ui.chat.services import ChatServices
from kimi_ui.chat.spending import OverBudget
from kimi_ui.core.attachments import Attachment
from kimi_ui.core.attempt import Attempt
from kimi_ui.core.budget import Budget, BudgetError, Limit, Spent, question, read_budget, read_usd
from kimi_ui.core.estimate import Total, together
from kimi_ui.core.events import Answer, End, Entry, Opened, Phase
from kimi_ui.core.lane import LaneSpec, Price
from kimi_ui.core.turn import LaneInfo, TurnLog
from kimi_ui.engine import Engine
from kimi_ui.log.reader import LogReader
from kimi_ui.log.writer import LogWriter
from kimi_ui.providers.ollama.provider import OllamaLane
from kimi_ui.turns import Turns
from kimi_ui.web.composer import ComposerRoutes
from kimi_ui.web.page_state import PageState
from kimi_ui.web.turn_commands import TurnCommandRoutes
from kimi_ui.web.visitor import COOKIE, VisibleTurns, owner_of
from tests.support.chat_site import endless, open_site, spoken
from tests.support.scripted import ScriptedProvider, ScriptedRoster
from tests.support.turns import attempt, ended, turn
from tests.support.waiting import until

NOTHING = Total(None, False, 0)
TURN_USD = (9 * 1.0 + 50 * 4.0) / 1e6  # the cost of ``spoken`` by its usage


def limit(usd: float = 1.0, spent: Spent | float = 0.88, running: Total = NOTHING, on: str = "today") -> Limit:
    return Limit(on, "your", usd, spent if isinstance(spent, Spent) else Spent(spent), running)


# -- the decision and its sentence


@pytest.mark.parametrize(
    ("turn_total", "limits", "sentence"),
    [
        (Total(0.12, False, 0), [limit()], ""),  # reaching the limit exactly is within it, despite rounding of floats
        (Total(0.2, False, 0), [limit(0.3, 0.1)], ""),
        (Total(0.19, False, 0), [], ""),
        (
            Total(0.19, False, 0),
            [limit()],
            "This turn is about $0.19; with it today comes to $1.07 of your $1.00 budget.",
        ),
        (Total(0.0, False, 0), [limit(spent=2.0)], ""),  # a free turn exceeds no limit
        (Total(None, False, 2), [limit()], ""),  # an unknown cost does not exceed it
        (
            Total(None, False, 2),
            [limit(spent=1.5)],
            "The cost of this turn is not known; without it today comes to $1.50 of your $1.00 budget.",
        ),
        (
            Total(0.0042, True, 1),
            [limit(spent=Spent(0.7, n_unknown=2), running=Total(0.3, False, 0))],
            "This turn is at least $0.0042, however long its answers get; with it today comes to at least $1.00 of "
            "your $1.00 budget. About $0.30 of that is still running. One lane has no price and is not in it. "
            "2 answers have no price and are not in it.",
        ),
        (
            Total(0.001, False, 0),
            [limit(spent=1.0), limit(0.5, 0.6, on="this conversation"), limit(9.0, on="another")],
            "This turn is about $0.0010; with it today comes to just over $1.00 of your $1.00 budget and this "
            "conversation to $0.60 of your $0.50 budget.",
        ),
        (
            Total(0.001, False, 0),
            [limit(1e-7, 0.0)],
            "This turn is about $0.0010; with it today comes to $0.0010 of your <$0.000001 budget.",
        ),
    ],
)
def test_the_question_before_a_turn_over_budget(turn_total: Total, limits: list[Limit], sentence: str) -> None:
    assert question(turn_total, limits) == sentence
    assert question(turn_total, limits, "retry") == sentence.replace("his turn", "his retry")


def test_reading_the_amounts_of_a_budget() -> None:
    assert [read_usd(value) for value in (None, "", 0, 2, "2.50")] == [None, None, 0.0, 2.0, 2.5]
    assert read_budget({"day_usd": 1, "else": 2}) == Budget(1.0, None)
    bad: Any
    for bad in ("much", "nan", "inf", -1, True, [], {}, 2e6, 10**400, "1e999"):
        with pytest.raises(BudgetError, match=r"amount in US dollars from 0 to 1,000,000, like 2\.50"):
            read_usd(bad)


def test_adding_totals() -> None:
    assert together([Total(1.0, False, 1), NOTHING, Total(0.5, True, 0)]) == Total(1.5, True, 1)
    assert together([]) == NOTHING


def test_a_lane_is_running_until_its_last_attempt_has_ended() -> None:
    heavy, child = attempt("h", role="heavy"), None
    child = attempt("h", role="trajectory", parent_id=heavy.attempt_id)
    log = turn((attempt("a"), ended([(1, Answer("x"))])), (heavy, []), (child, ended([(1, Answer("x"))])), closed=False)
    log.lanes = (*log.lanes, LaneInfo("late", "Late", "openai", "m"))
    assert log.running_lanes() == {"h", "late"}

    def add(who: Attempt, *events: Any) -> None:
        log.entries += [Entry(who.lane, who.attempt_id, 0, event) for event in events]

    add(heavy, End("error", retry_in_s=2.0))
    assert "h" in log.running_lanes()
    again = attempt("h", role="heavy")
    add(again, Opened(again.as_dict()), End("ok"))
    assert log.running_lanes() == {"late"}
    log.entries.append(Entry("a", "", 0, Phase("loading")))  # a retry that is being prepared
    assert log.running_lanes() == {"a", "late"}
    log.closed = True
    assert log.running_lanes() == set()


# -- what is sent and what is not


class Person:
    """A user's browser: a cookie, requests, prompts."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        cookies = {COOKIE: name * 40}
        self.owner = owner_of(cookies)
        transport = httpx.ASGITransport(app=Starlette(routes=desk.routes))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://here", cookies=cookies)

    async def budget(self, **usd: float | None) -> None:
        assert (await self.http.put("/kimi/budget", json=usd)).status_code == 200

    def send(self, text: str = "Why?", conversation: str = "", **more: Any) -> TurnLog:
        prompt = Prompt.read({"text": text, "conversation": conversation, **more})
        return self.desk.chat.prompts.send(prompt, self.owner)

    async def send_and_wait(self, text: str = "Why?", conversation: str = "", **more: Any) -> TurnLog:
        """Send and wait for the answers."""
        return await closed(await asyncio.to_thread(self.send, text, conversation, **more))

    async def totals(self, conversation: str = "") -> dict[str, Any]:
        answer = await self.http.get("/kimi/spent", params={"c": conversation})
        assert answer.status_code == 200
        return dict(answer.json())


class Desk:
    """The composer's server side over one priced lane, one free and a real log, without a page."""

    def __init__(self, folder: Path, budget_usd: float | None) -> None:
        self.writer = LogWriter(folder / "log.sqlite3")
        self.writer.start()
        self.turns = Turns(self.writer, LogReader(self.writer.place))
        self.kimi = ScriptedProvider(LaneSpec("kimi", "Kimi", "openai", model="k2", price=Price(1.0, 4.0)), [spoken()])
        free = ScriptedProvider(OllamaLane("qwen", "Qwen", "ollama", model="q", price=Price(0, 0)), [spoken()])
        roster: Any = ScriptedRoster(self.kimi, free)
        self.engine = Engine(roster, self.turns)
        self.engine.start()
        self.chat = ChatServices(self.engine, self.turns, budget_usd)
        visible = VisibleTurns(self.turns)
        state = PageState(self.turns, roster, self.chat, self.engine.pulls)
        commands = TurnCommandRoutes(self.engine, self.turns, self.chat, state, visible)
        self.routes = [*ComposerRoutes(self.chat, roster, visible).routes(), *commands.routes()]


@contextmanager
def desk(folder: Path, budget_usd: float | None = None) -> Iterator[Desk]:
    one = Desk(folder, budget_usd)
    try:
        yield one
    finally:
        one.engine.close()
        one.writer.close()


@pytest.fixture
async def me(tmp_path: Path) -> AsyncIterator[Person]:
    with desk(tmp_path) as opened:
        yield Person(opened, "m")


async def closed(sent: TurnLog) -> TurnLog:
    await asyncio.to_thread(until, lambda: sent.closed)
    return sent


async def test_a_prompt_over_budget_is_sent_only_after_the_person_agrees(me: Person) -> None:
    await me.budget(day_usd=1.5 * TURN_USD)
    first = await me.send_and_wait()
    totals = await me.totals(first.conversation_id)
    assert totals["today"]["usd"] == totals["conversation"]["usd"] == pytest.approx(TURN_USD)
    assert totals["today"]["limit_usd"] == 1.5 * TURN_USD
    assert totals["conversation"]["limit_usd"] is None

    long = Attachment("n.txt", "word " * 2000)
    key = me.desk.chat.uploads.add(me.owner, long)
    for _ in range(2):  # a refused prompt can be sent again, and is refused again
        with pytest.raises(OverBudget, match=r"of your \$0\.0003 budget"):
            me.send("And?", first.conversation_id, attachments=[key])
    assert len(me.desk.kimi.requests) == 1
    assert me.desk.chat.uploads.of(me.owner, [key]) == ([long], [])
    sent = await me.send_and_wait("And?", first.conversation_id, attachments=[key], over_budget=True)
    assert long.text in sent.prompt
    assert sent.seq == 1
    with pytest.raises(OverBudget):
        me.send("More?")  # in a new conversation, on the same day

    you = Person(me.desk, "y")
    await you.budget(day_usd=1.5 * TURN_USD)
    assert (await you.totals())["today"]["usd"] == 0
    await you.send_and_wait()
    await me.budget(day_usd=None)
    await me.send_and_wait("More?")


async def test_an_edit_and_a_retry_count_for_their_conversation(me: Person) -> None:
    first = await me.send_and_wait()
    await me.budget(conversation_usd=1.01 * TURN_USD)
    edit = {"conversation": first.conversation_id, "seq": 0}
    with pytest.raises(OverBudget, match=r"This turn is .* this conversation comes to"):
        me.send("Why not?", first.conversation_id, edit=edit)
    fork = await me.send_and_wait("Why not?", first.conversation_id, edit=edit, over_budget=True)
    assert fork.forked_from == first.conversation_id
    for version in (first, fork):
        assert (await me.totals(version.conversation_id))["conversation"]["usd"] == pytest.approx(2 * TURN_USD)

    refused = await me.http.post(f"/kimi/turns/{first.turn_id}/lanes/kimi/retry")
    assert refused.status_code == 409
    assert refused.json()["code"] == "over_budget"
    assert refused.json()["error"].startswith("This retry is ")
    assert len(me.desk.kimi.requests) == 2
    free = await me.http.post(f"/kimi/turns/{first.turn_id}/lanes/qwen/retry")
    assert free.status_code == 202  # it costs nothing, so it exceeds nothing
    again = await me.http.post(f"/kimi/turns/{first.turn_id}/lanes/kimi/retry", params={"over_budget": "yes"})
    assert again.status_code == 202
    await closed(first)
    assert (await me.totals(fork.conversation_id))["conversation"]["usd"] == pytest.approx(3 * TURN_USD)
    await me.send_and_wait("Another conversation")
    lost = await me.http.post("/kimi/turns/nothing/lanes/kimi/retry")
    assert lost.status_code == 404
    assert "no longer here" in lost.json()["error"]


async def test_running_turns_count_so_of_many_sent_at_once_only_those_in_budget_go_out(me: Person) -> None:
    me.desk.kimi.scripts = [endless()]
    await me.budget(
        day_usd=12e-6
    )  # "Why?" is some 6 tokens, at a dollar a million; how long the answer gets is not known

    def send() -> str:
        try:
            me.send()
        except OverBudget as question:
            return str(question)
        return ""

    with ThreadPoolExecutor(8) as people:
        said = list(people.map(lambda _: send(), range(8)))
    sent = said.count("")
    assert 1 <= sent < 8
    assert len(me.desk.turns.live(me.owner)) == sent
    assert all("is still running." in one and "at least" in one for one in said if one)


async def test_the_servers_budget_applies_to_everybody_without_their_own(tmp_path: Path) -> None:
    with desk(tmp_path, budget_usd=0.5 * TURN_USD) as opened:
        me = Person(opened, "m")
        assert (await me.http.get("/kimi/budget")).json() == {
            "day_usd": None,
            "conversation_usd": None,
            "server_day_usd": 0.5 * TURN_USD,
        }
        await me.send_and_wait()
        with pytest.raises(OverBudget, match="of this server's"):
            me.send()
        await me.budget(day_usd=1.0)
        await me.send_and_wait()
        await Person(opened, "y").send_and_wait()


async def test_a_program_over_budget_is_refused_without_a_question(tmp_path: Path) -> None:
    def ask(url: str) -> None:
        client = Client(url, verbose=False)
        try:
            free = client.predict("Why?", ["qwen"], api_name="/compare")
            assert [lane["status"] for lane in free["lanes"]] == ["ok"]
            with pytest.raises(Exception, match=r"of this server's \$0\.00 budget.* higher KIMI_UI_BUDGET_USD"):
                client.predict("Why?", api_name="/compare")
        finally:
            client.close()

    with open_site(tmp_path, budget_usd=0.0) as site:
        await asyncio.to_thread(ask, site.url)
        assert site.kimi.requests == []


async def test_sums_belong_to_their_owner_and_an_invalid_amount_is_refused(me: Person) -> None:
    turn_of_me = await me.send_and_wait()
    nobody = me.desk.engine.send("From the terminal", lanes=["kimi"])
    await closed(nobody)
    you = Person(me.desk, "y")
    for not_yours in (turn_of_me.conversation_id, nobody.conversation_id, "never-was"):
        assert (await you.totals(not_yours))["conversation"] is None
    stranger = httpx.AsyncClient(transport=me.http._transport, base_url="http://here")
    assert (await stranger.get("/kimi/spent")).json()["today"]["usd"] == 0
    assert (await stranger.put("/kimi/budget", json={"day_usd": 1})).status_code == 409
    for bad in ({"day_usd": "much"}, {"conversation_usd": -1}):
        refused = await me.http.put("/kimi/budget", json=bad)
        assert refused.status_code == 422
        assert "like 2.50" in refused.json()["error"]
    assert me.desk.chat.spending.budget(me.owner) == Budget()
