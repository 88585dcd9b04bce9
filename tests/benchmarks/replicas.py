"""Three replicas behind nginx: how late pages are, what a person costs, what is lost when replicas end or are killed.

``app.py`` three times, with one log in PostgreSQL and one Redis, behind nginx with the configuration that operators are
given; the people are plain HTTP clients in this process, each a person of their own with a page that reconnects as a
browser does. A prompt goes to three lanes of RATE tokens/s. Every page puts its frames together, and in the end what
it has is compared with the log, and the log with what the model sent: lost, doubled and disordered text all differ.

    python -m tests.benchmarks.replicas [--people 20] [--rounds 1] [--kills 100]

First PEOPLE look at one turn each: the lag from the model's send to the page, and the CPU time of all programs. With
``--rounds`` people then send one prompt after the other while each replica is ended by SIGTERM and started again, so
many times; with ``--kills`` while a random replica that runs turns is killed and started again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from redis import Redis

from tests.support.bus_server import BusServer
from tests.support.nginx import Nginx
from tests.support.paced import token
from tests.support.postgres import Cluster

from .harness import ROOT, free_port, model_server, quantile, report
from .visitors import STAMP, Lags, Visitor

N_REPLICAS, N_LANES, RATE, N_ANSWER = 3, 3, 30, 10
TOKENS, SHORT_TOKENS = 900, 240  # of reasoning: of a turn that is measured, and of one that may be killed
SOME_PEOPLE = 12  # who send one prompt after the other
STUCK_S = 60.0  # a turn that has not ended so long after its last text
METRICS_TOKEN = "a token of the benchmark's own"
STREAMING, FULL = 0.1, 0.6  # of all people at once; of a core, before another replica is due


class Replica:
    """One server process."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self._arguments = ["--port", str(self.port), "--lanes", str(folder / "lanes.toml"), "--no-browser"]
        self._environment = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
        self.said = folder / f"{self.port}.log"
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "app.py", *self._arguments]
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, env=self._environment)

    async def end(self, by: signal.Signals) -> None:
        self._process.send_signal(by)
        await asyncio.to_thread(self._process.wait)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def ready(self) -> None:
        while not await self._answer("/readyz"):
            if self._process.poll() is not None:
                raise RuntimeError(self.said.read_text(encoding="utf-8"))
            await asyncio.sleep(0.1)

    async def n_running(self) -> int:
        """The turns that it runs."""
        lines = (await self._answer("/metrics")).splitlines()
        return next((int(float(line.split()[1])) for line in lines if line.startswith("kimi_ui_turns_running ")), 0)

    async def _answer(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{self.port}{path}")
                return answer.text if answer.status_code == 200 else ""
        return ""


@dataclass
class Team:
    """All that runs. ``programs``: the processes whose CPU time is measured, by name."""

    url: str
    log: str
    bus: str
    replicas: list[Replica]
    programs: dict[str, list[int]]

    def spent(self) -> dict[str, float]:
        """CPU seconds so far."""
        return {name: sum(map(spent, pids)) for name, pids in self.programs.items()}

    def bus_bytes(self) -> int:
        """The memory that the bus takes."""
        with Redis.from_url(self.bus) as redis:
            return int(redis.info("memory")["used_memory"])


def spent(pid: int) -> float:
    """CPU seconds of a process and its children, also of those that have ended."""
    parent = psutil.Process(pid)
    total = sum(parent.cpu_times()[:4])
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:4])
    return float(total)


@contextlib.contextmanager
def team(n_tokens: int) -> Iterator[Team]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base_url = stack.enter_context(model_server())
        bus, cluster = BusServer(folder), Cluster()
        stack.callback(cluster.close)
        stack.callback(bus.stop)
        bus.start()
        model, log = f"m-{RATE}-{n_tokens}-{N_ANSWER}", cluster.new_log().secret
        tables = (
            f'[[lane]]\nid = "lane{k}"\nlabel = "Lane {k}"\nprovider = "openai"\n'
            f'base_url = "{base_url}"\nmodel = "{model}"\n'
            for k in range(N_LANES)
        )
        (folder / "lanes.toml").write_text("\n".join(tables), encoding="utf-8")
        environment = {
            "KIMI_UI_DB": log,
            "KIMI_UI_BUS": bus.url,
            "KIMI_UI_AUTH": "proxy:X-Remote-User",
            "KIMI_UI_PROXY": "127.0.0.1",
            "KIMI_UI_DRAIN_SECONDS": "60",
            "KIMI_UI_METRICS_TOKEN": METRICS_TOKEN,
            "XDG_DATA_HOME": str(folder),
        }
        replicas = []
        for _ in range(N_REPLICAS):
            replicas.append(Replica(folder, environment))
            stack.callback(replicas[-1].kill)
        nginx = Nginx(folder, [f"127.0.0.1:{one.port}" for one in replicas])
        stack.callback(nginx.stop)
        nginx.start()
        asyncio.run(together(one.ready() for one in replicas))
        pids = [one.pid for one in replicas]
        programs = {"replicas": pids, "nginx": [nginx.pid], "redis": [bus.pid], "postgres": [cluster.pid]}
        yield Team(nginx.url, log, bus.url, replicas, programs)
        said = "".join(one.said.read_text(encoding="utf-8") for one in replicas)
        if "Traceback" in said:
            print(said, file=sys.stderr)


async def together(work: Iterator[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*work)


@dataclass
class Page:
    """What one person's page has of one turn."""

    prompt: str
    turn_id: str
    texts: dict[str, str] = field(default_factory=dict)  # each lane's reasoning
    most: dict[str, str] = field(default_factory=dict)  # the longest that it ever was
    lags_ms: list[float] = field(default_factory=list)
    news_s: float = field(default_factory=time.monotonic)  # when text came last
    silent_s: float = math.inf  # from then to the turn's end; infinite: it never came

    async def follow(self, visitor: Visitor) -> None:
        lags = Lags()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STUCK_S) as stuck:
                async for frame in visitor.stay(self.turn_id):
                    self.lags_ms += lags.of(frame)
                    if self._has_news(frame):
                        self.news_s = time.monotonic()
                        stuck.reschedule(asyncio.get_running_loop().time() + STUCK_S)
                self.silent_s = time.monotonic() - self.news_s

    def _has_news(self, frame: dict[str, Any]) -> bool:
        before = dict(self.most)
        if "turn" in frame:
            self.texts = {}
        for lane, part in frame["lanes"].items():
            text = "" if "attempt" in part else self.texts.get(lane, "")
            text = self.texts[lane] = text + part.get("reasoning", "")
            self.most[lane] = max(self.most.get(lane, ""), text, key=len)
        return self.most != before


@dataclass
class People:
    """Who uses the page, and what came of it."""

    team: Team
    names: list[str]
    pages: list[Page] = field(default_factory=list)
    unanswered: dict[str, str] = field(default_factory=dict)  # why, by prompt
    n_reconnects: int = 0
    refusals: Counter[int] = field(default_factory=Counter)

    async def one_turn_each(self) -> None:
        await together(self._use(name, k * 2 / len(self.names), None) for k, name in enumerate(self.names))

    async def turns_until(self, over: asyncio.Event) -> None:
        await together(self._use(name, k, over) for k, name in enumerate(self.names))

    async def _use(self, name: str, wait_s: float, over: asyncio.Event | None) -> None:
        await asyncio.sleep(wait_s)
        visitor = Visitor(self.team.url, **{"X-Remote-User": name})
        n = 0
        while not n or (over and not over.is_set()):
            n += 1
            prompt = f"{name} asks for the {n}th time"
            try:
                page = Page(prompt, await visitor.send(prompt))
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                self.unanswered[prompt] = why(error)
                await asyncio.sleep(0.5)
                continue
            self.pages.append(page)
            await page.follow(visitor)
        self.n_reconnects += visitor.n_reconnects
        self.refusals += visitor.refusals
        await visitor.close()

    def verdict(self, n_tokens: int) -> dict[str, Any]:
        """What the log has of it. ``shown_not_stored``: lanes of which a page at the killed replica itself had shown
        text that this had not published yet; of how many characters, in all and at most of one."""
        query = """
            SELECT t.turn_id, t.prompt, a.lane, a.status, coalesce(a.reasoning, ''), coalesce(a.answer, '')
            FROM turns t LEFT JOIN attempts a ON a.turn_id = t.turn_id WHERE t.prompt = ANY(%s) ORDER BY a.attempt_no
        """
        prompts = [page.prompt for page in self.pages] + list(self.unanswered)
        with psycopg.connect(self.team.log) as connection:
            rows = connection.execute(query, [prompts]).fetchall()
        turns = {(turn_id, prompt) for turn_id, prompt, *_ in rows}
        stored = {(turn_id, lane): tuple(rest) for turn_id, _, lane, *rest in rows}
        sent = as_sent(n_tokens, False), as_sent(N_ANSWER, True)
        gone_chars = []
        page_differs = not_as_sent = 0
        for page in self.pages:
            for lane, most in page.most.items():
                status, reasoning, answer = stored.get((page.turn_id, lane), ("", "", ""))
                if not reasoning.startswith(most):
                    gone_chars.append(len(most) - same(most, reasoning))
                # The log may have a moment's text more than its replica published before it was killed.
                is_whole = (
                    reasoning.startswith(page.texts[lane]) if status == "interrupted" else page.texts[lane] == reasoning
                )
                page_differs += not is_whole
                texts = plain(reasoning), plain(answer)
                is_part = all(whole.startswith(text) for text, whole in zip(texts, sent, strict=True))
                not_as_sent += texts != sent if status == "ok" else not is_part
        found = {turn_id for turn_id, _ in turns}
        return {
            "turns": len(self.pages),
            "statuses": dict(Counter(status for status, *_ in stored.values())),
            "lost": sum(page.turn_id not in found for page in self.pages),
            "doubled": len(turns) - len({prompt for _, prompt in turns}),
            "undecided": sum(status == "open" for status, *_ in stored.values()),
            "without_end": sum(math.isinf(page.silent_s) for page in self.pages),
            "lanes_without_attempt": N_LANES * len(turns) - sum(lane is not None for _, lane in stored),
            "shown_not_stored": len(gone_chars),
            "of_these_chars": [sum(gone_chars), max(gone_chars, default=0)],
            "page_differs": page_differs,
            "not_as_sent": not_as_sent,
            "unanswered": dict(Counter(self.unanswered.values())),
            "unanswered_but_sent": sum(prompt in self.unanswered for _, prompt in turns),
            "reconnects": self.n_reconnects,
            "refused": dict(self.refusals),
        }


def why(error: httpx.TransportError | httpx.HTTPStatusError) -> str:
    """The code with which the app refuses, else the status, else the error's name."""
    if isinstance(error, httpx.TransportError):
        return type(error).__name__
    with contextlib.suppress(ValueError):
        return str(error.response.json()["code"])
    return str(error.response.status_code)


def same(one: str, other: str) -> int:
    """With how many equal characters both texts begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(one), len(other)))


def plain(text: str) -> str:
    """A text without its stamps and the space around it."""
    return STAMP.sub("@", text).strip()


def as_sent(n_tokens: int, is_answer: bool) -> str:
    return plain("".join(token(i, is_answer) for i in range(n_tokens)))


async def look(team: Team, n_people: int) -> dict[str, float]:
    """One turn for each of so many people; returns the cores that one of them takes, by program."""
    idle = await cores(team, asyncio.sleep(10))
    people, bus_bytes = People(team, [f"person {k}" for k in range(n_people)]), team.bus_bytes()
    busy = await cores(team, people.one_turn_each())
    seconds = (TOKENS + N_ANSWER) / RATE
    k_tokens = n_people * N_LANES * (TOKENS + N_ANSWER) / 1000
    by_program = {name: one * busy["seconds"] for name, one in busy.items() if name != "seconds"}
    lags = [lag for page in people.pages for lag in page.lags_ms]
    report(
        "replicas",
        people=n_people,
        lanes=N_LANES,
        rate=RATE,
        lag_ms={f"p{p}": round(quantile(lags, p / 100) or 0) for p in (50, 95, 100)},
        n_lags=len(lags),
        bus_kb_a_turn=round((team.bus_bytes() - bus_bytes) / 1000 / n_people),
        load=round(os.getloadavg()[0], 1),
        idle_cores=rounded(idle, 4),
        cpu_ms_per_1000_tokens=rounded({name: 1000 * one / k_tokens for name, one in by_program.items()}, 1),
        cores_a_person=rounded({name: one / seconds / n_people for name, one in by_program.items()}, 5),
        **people.verdict(TOKENS),
    )
    return {name: one / seconds / n_people for name, one in by_program.items()}


def rounded(figures: dict[str, float], digits: int) -> dict[str, float]:
    return {name: round(one, digits) for name, one in figures.items()}


async def cores(team: Team, work: Awaitable[Any]) -> dict[str, float]:
    """The cores that each program takes meanwhile, and the ``seconds`` of it."""
    before, started = team.spent(), time.perf_counter()
    await work
    seconds = time.perf_counter() - started
    return {name: (one - before[name]) / seconds for name, one in team.spent().items()} | {"seconds": seconds}


def table(cores_a_person: dict[str, float]) -> None:
    """How many replicas carry so many people, of whom STREAMING are at once in the middle of a turn."""
    for n_people in (100, 1_000, 10_000):
        at_once = n_people * STREAMING
        need = {name: round(at_once * one, 2) for name, one in cores_a_person.items()}
        report("table", people=n_people, streaming=at_once, cores=need, replicas=math.ceil(need["replicas"] / FULL))


async def disturb(team: Team, what: str, disturbing: Awaitable[dict[str, Any]]) -> None:
    """Some people send one prompt after the other meanwhile."""
    people, over, started = People(team, [f"{what} {k}" for k in range(SOME_PEOPLE)]), asyncio.Event(), time.monotonic()
    using = asyncio.create_task(people.turns_until(over))
    await asyncio.sleep(SOME_PEOPLE / 2)  # some have begun
    more = await disturbing
    over.set()
    await using
    silent = [page.silent_s for page in people.pages if not math.isinf(page.silent_s)]
    report(
        what,
        minutes=round((time.monotonic() - started) / 60, 1),
        **more,
        **people.verdict(SHORT_TOKENS),
        silent_s={f"p{p}": round(quantile(silent, p / 100) or 0, 1) for p in (50, 95, 100)},
        load=round(os.getloadavg()[0], 1),
    )


async def restart_each(team: Team, rounds: int) -> dict[str, Any]:
    for replica in rounds * team.replicas:
        await replica.end(signal.SIGTERM)
        replica.start()
        await replica.ready()
    return {"restarts": rounds * len(team.replicas)}


async def kill(team: Team, kills: int) -> dict[str, Any]:
    rng, killed = random.Random(7), 0
    for _ in range(kills):
        victim, running = await one_that_runs_turns(team, rng)
        await asyncio.sleep(rng.uniform(0, 1))
        await victim.end(signal.SIGKILL)
        killed += running
        victim.start()
        await victim.ready()
    return {"kills": kills, "turns_running_at_kills": killed}


async def one_that_runs_turns(team: Team, rng: random.Random) -> tuple[Replica, int]:
    while True:
        found = rng.choice(team.replicas)
        if n_running := await found.n_running():
            return found, n_running
        await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=0, help="of restarts of all replicas")
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    if options.people:
        with team(TOKENS) as running:
            table(asyncio.run(look(running, options.people)))
    if options.rounds or options.kills:
        with team(SHORT_TOKENS) as running:
            if options.rounds:
                asyncio.run(disturb(running, "rolling restart", restart_each(running, options.rounds)))
            if options.kills:
                asyncio.run(disturb(running, "kill -9", kill(running, options.kills)))


if __name__ == "__main__":
    main()
