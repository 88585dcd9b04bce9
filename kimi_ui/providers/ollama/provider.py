"""Ollama as a provider: its lanes, the requests to its server, and what that is found to have.

``params`` and ``extra_body`` go into the body where they are fields of it, else into ``options`` (``max_tokens`` is
called ``num_predict`` there). ``num_ctx`` is always sent, because Ollama's default is small. ``truncate`` and ``shift``
are sent as false: otherwise the server cuts a prompt that is too long and forgets the beginning of an answer that fills
the context, both without a word.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import StrictBool

from ...core.admission import Line
from ...core.context import fitting, prompt_size
from ...core.conversation_settings import MAX_NUM_CTX, MIN_NUM_CTX, is_model_id
from ...core.events import BY_PREFIX, BY_WORDS, CONTINUED, PREPARING, Event, Failure, Flag, Meta, Phase, Reporter
from ...core.lane import LaneSpec, Needed, Thinking, by_think, whole
from ...core.loopback import is_loopback
from ...tokenizers import counter
from ..base import ChatRequest, Check, Host, Message, Provider, ProviderError, Unmeasured, in_words
from ..errors import ServerWords, Target, check_key, from_exception, from_payload, from_status, simple
from ..http.body import HTTP_ERRORS, events_of, plain
from ..http.text_splitter import Texts
from ..http.transport import sending_for
from ..http.wire import JsonLines, loads
from ..provider_checks import PROBE, PROBE_TOKENS, failed, near, shows_reasoning
from .body import OllamaBody
from .client import Client, ResponseError
from .error_rules import OLLAMA_RULES
from .model_state import ModelState, contexts_of, dict_of, full_name, in_memory, is_cloud, is_same, state_of
from .waiting import Waits, pauses, version_of

NUM_CTX = 32768  # tokens of context where the lane says nothing
ASK_S = 3.0  # for the small questions: what they tell is worth little waiting
PULL_SILENCE_S = 300.0

OLLAMA_SERVER = ServerWords(
    name="Ollama",
    path="for Ollama it has no path",
    has_path=False,
    remedy="Start Ollama (or install it from ollama.com).",
    command="ollama serve",
    rules=OLLAMA_RULES,
)

_BEYOND = "num_ctx is {:,}, but the model was trained for {:,}: the smaller one is used."
_THINK_REFUSED = "does not support thinking"
_LEVEL_REFUSED = "is not supported for this model"  # 0.12
_TOP_LEVEL = frozenset(("format", "keep_alive", "think", "options", "template", "truncate", "shift", "logprobs"))
_OPTION_NAMES = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


@dataclass(frozen=True)
class OllamaLane(LaneSpec):
    """A lane on an Ollama server. ``num_ctx`` in tokens, None: ``NUM_CTX``. ``keep_alive`` as Ollama takes it: how long
    the model stays in memory. ``think`` None: as the model can. ``parallel``: how many requests of the model the server
    answers at a time, None: what it shows."""

    can_pull = True
    takes_num_ctx = True
    needs_key = False

    provider: str = "ollama"
    model: Needed = ""
    num_ctx: Annotated[int, whole(MIN_NUM_CTX, MAX_NUM_CTX)] | None = None
    keep_alive: str = ""
    think: StrictBool | Literal["low", "medium", "high", "max"] | None = None
    parallel: Annotated[int, whole(1, 64)] | None = None

    @property
    def via(self) -> str:
        where = f"Ollama on {len(self.servers)} servers" if len(self.servers) > 1 else "Ollama"
        return "Ollama's cloud" if is_cloud(self.model) else where

    @property
    def context_tokens(self) -> int | None:
        chosen = self.params.get("num_ctx")
        return None if is_cloud(self.model) else chosen if isinstance(chosen, int) else self.num_ctx or NUM_CTX

    @property
    def thinking_choices(self) -> tuple[Thinking, ...]:
        return by_think("low", "medium", "high", "max")

    def with_model(self, model: str) -> LaneSpec:
        """What runs on one's own machine costs the same whichever model it is; the cloud's prices are not known."""
        price = self.price if is_cloud(model or self.model) == is_cloud(self.model) else None
        return replace(super().with_model(model), price=price)


class Ollama(Provider):
    """One lane on an Ollama server. ``key``: for servers behind a gateway that wants one; empty: none is sent."""

    lane = OllamaLane
    spec: OllamaLane

    def __init__(self, spec: OllamaLane, key: str = "") -> None:
        super().__init__(spec, key)
        self._client: Client | None = None
        self._states: dict[str, ModelState] = {}  # queried while preparing, used once by the next stream
        self._told: set[str] = set()  # models whose too large num_ctx was said

    async def prepare(self, report: Reporter) -> None:
        """Ask what the model can do and whether it is in memory, so that asking is not counted as its time."""
        self._states[self.spec.model] = await self._state(self.spec.model)

    def line(self, request: ChatRequest) -> Line | None:
        """None for a model in Ollama's cloud, which is not this server's to answer."""
        model = request.model or self.spec.model
        if is_cloud(model):
            return None
        return Line(self.spec.server, full_name(model), self.spec.parallel)

    # -- the stream

    def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        """Send the request and yield its events; raises ``ProviderError`` (see ``base.Provider``)."""
        return self._events(request, Texts(), host)

    async def _events(self, request: ChatRequest, texts: Texts, host: Host) -> AsyncGenerator[Event, None]:
        model = request.model or self.spec.model
        target = self._target(model)
        state = self._states.pop(model, None) or await self._state(model)
        by_prefix = request.continues and state.thinks is False  # after a prefix a thinking model has no place to think
        body = self._body(in_words(request) if request.continues and not by_prefix else request, model, state)
        waits = self._waits(model, body, state, host)
        if self.spec.think and state.thinks is False:
            yield Flag("think_unsupported")
        if request.continues:
            yield Flag(CONTINUED, BY_PREFIX if by_prefix else BY_WORDS)
        try:
            async with AsyncExitStack() as stack:
                with sending_for(host):
                    opening = asyncio.create_task(self._accepted(body, stack, target))
                stack.push_async_callback(_ended, opening)
                async for phase in self._watched(opening, waits, host):
                    yield phase
                response, refused = await opening
                if waits.before is not None and not waits.has(waits.before):
                    last_look = asyncio.create_task(self._look(waits))
                    stack.push_async_callback(_ended, last_look)
                answer = OllamaBody(target, texts, waits)
                async with aclosing(events_of(response, answer, target, host)) as events:
                    yield await anext(events)  # the headers have arrived
                    for event in (*refused, *self._context(model, body, state)):
                        yield event
                    async for event in events:
                        yield event
        except ProviderError as error:
            if error.failure.kind == "context":
                error.failure = await asyncio.to_thread(self._too_long, error.failure, request, body, state)
            raise

    def _waits(self, model: str, body: Mapping[str, Any], state: ModelState, host: Host) -> Waits:
        num_ctx, name = body["options"].get("num_ctx"), full_name(model)
        wanted = frozenset((name, context) for context in (num_ctx, state.window(num_ctx)))
        before = None if state.is_remote or state.contexts is None else in_memory(state.contexts)
        return Waits(wanted, model, before, state.version, self.spec.parallel, host.beside(), time.perf_counter_ns())

    async def _watched(self, opening: asyncio.Task[Any], waits: Waits, host: Host) -> AsyncGenerator[Phase, None]:
        """What the request waits for, as that changes, until its headers have come or it has failed."""
        sent = asyncio.create_task(host.until_sent())
        try:
            await asyncio.wait({opening, sent}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sent.cancel()
        waits.sent_ns = time.perf_counter_ns()
        reported: Phase | None = None
        for pause_s in pauses():
            phase = waits.phase(time.perf_counter_ns())
            if phase is not None and phase != reported and not opening.done():
                yield phase
                reported = phase
            await asyncio.wait({opening}, timeout=pause_s)
            if opening.done() or waits.before is None:
                return
            looking = asyncio.create_task(self._look(waits))
            try:
                await asyncio.wait({opening, looking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _ended(looking)

    async def _look(self, waits: Waits) -> None:
        """Note what is in memory now; a server that does not answer is queried again later."""
        with suppress(Exception):
            running = await asyncio.wait_for(self._opened().ask("GET", "/api/ps"), ASK_S)
            if (contexts := contexts_of(running)) is not None:
                waits.seen.append((time.perf_counter_ns(), in_memory(contexts)))

    async def _accepted(
        self, body: dict[str, Any], stack: AsyncExitStack, target: Target
    ) -> tuple[httpx.Response, list[Flag]]:
        """The response, and a flag if the server took the request only with another ``think`` or without it."""
        refused: list[Flag] = []
        while True:
            try:
                return await self._opened().open("/api/chat", body, stack, target), refused
            except ProviderError as error:
                words = error.failure.detail.lower()
                if isinstance(body.get("think"), str) and _LEVEL_REFUSED in words:
                    body["think"] = True
                    refused = [Flag("think_level_unsupported")]
                elif "think" in body and _THINK_REFUSED in words:
                    del body["think"]  # a server that could not be queried beforehand
                    refused = [Flag("think_unsupported")]
                else:
                    raise

    def _context(self, model: str, body: Mapping[str, Any], state: ModelState) -> Iterator[Event]:
        """What is known of the context, and what the lane's own params let the server do with it."""
        num_ctx, trained = body["options"].get("num_ctx"), state.trained_tokens
        if num_ctx or trained:
            yield Meta(context_tokens=state.window(num_ctx), trained_tokens=trained)
        if allowed := [name for name in ("truncate", "shift") if body.get(name) is not False]:
            yield Flag("may_truncate", " and ".join(f"`{name}`" for name in allowed))
        if num_ctx and trained and num_ctx > trained and model not in self._told:
            self._told.add(model)
            yield Flag("num_ctx_too_large", f"{num_ctx:,}, trained for {trained:,}")

    def _too_long(self, failure: Failure, request: ChatRequest, body: Mapping[str, Any], state: ModelState) -> Failure:
        """The refusal of a prompt that does not fit, with all numbers and, where one would, a context that fits."""
        num_ctx, trained, model = body["options"].get("num_ctx"), state.trained_tokens, body["model"]
        said = re.search(r"\((\d+) tokens\)", failure.detail)
        if said:
            need, about = int(said[1]), ""
        else:  # before 0.30, and in the stream, the server gives no numbers
            text = "\n".join(message.content for message in request.messages)
            need, about = prompt_size(text, counter(self.spec.tokenizer)).estimate, "about "
        if not num_ctx:
            return failure
        limit = f"the lane's num_ctx is {num_ctx:,}"
        if trained:
            limit += f", and {model} was trained for {trained:,}"
        most = body["options"].get("num_predict")
        fits = fitting(max(need, num_ctx + 1), most if type(most) is int and most > 0 else None, trained)
        if fits is None:
            remedy = (
                "It is longer than anything this model can read: shorten it, start a new conversation, or choose a "
            )
            remedy += "model with a longer context."
        else:
            remedy = (
                f"Ask again with num_ctx = {fits} (a larger context takes more memory), or start a new conversation."
            )
        return replace(
            failure,
            message=f"The prompt has {about}{need:,} tokens; {limit}. It was not cut, so nothing was answered.",
            remedy=remedy,
            again={"num_ctx": fits} if fits else {},
        )

    def _body(self, request: ChatRequest, model: str, state: ModelState) -> dict[str, Any]:
        params = {**self.spec.params, **request.params, **self.spec.extra_body}
        top = {name: value for name, value in params.items() if name in _TOP_LEVEL}
        options = {_OPTION_NAMES.get(name, name): value for name, value in params.items() if name not in _TOP_LEVEL}
        options |= dict_of(top.pop("options", None))
        body: dict[str, Any] = {
            "model": model,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": options if state.is_remote else {"num_ctx": self.spec.num_ctx or NUM_CTX, **options},
        }
        if self.spec.keep_alive:
            body["keep_alive"] = _duration(self.spec.keep_alive)
        if (think := self._think(state)) is not None:
            body["think"] = think
        return {**body, **top}

    def _think(self, state: ModelState) -> bool | str | None:
        """What to send as ``think``: the lane's wish where the model can, true where it can and nothing was wished."""
        wish = self.spec.think
        if state.thinks is False:
            return None
        if wish is None and state.thinks and state.switchable:
            return True
        return wish

    async def _state(self, model: str) -> ModelState:
        """Two small questions at once; what cannot be learned stays None, the chat request will say why."""
        client = self._opened()
        answers = await asyncio.gather(
            asyncio.wait_for(client.ask("GET", "/api/ps"), ASK_S),
            asyncio.wait_for(client.ask("POST", "/api/show", {"model": model}), ASK_S),
            asyncio.wait_for(client.ask("GET", "/api/version"), ASK_S),
            return_exceptions=True,
        )
        running, shown, version = ({} if isinstance(answer, BaseException) else answer for answer in answers)
        state = state_of(model, shown)
        return replace(state, contexts=contexts_of(running), version=version_of(str(version.get("version", ""))))

    # -- the connection

    def _opened(self) -> Client:
        if self._client is None:
            self._client = self._made()
        return self._client

    def _made(self, silence_s: float | None = None) -> Client:
        """A client of its own. Raises ``ProviderError`` for a key, a base_url or an environment nothing can be sent
        with."""
        check_key(self._key, self.spec.api_key_env)
        try:
            return Client(self.spec.server, self._key, silence_s)
        except (ValueError, httpx.InvalidURL) as error:
            raise from_exception(error, self._target()) from None

    def _target(self, model: str = "") -> Target:
        spec = self.spec
        secrets = (self._key,) if self._key else ()
        return Target(spec.server, model or spec.model, spec.api_key_env, secrets, OLLAMA_SERVER)

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]

    # -- what there is; on connections of their own, so that any event loop may ask

    async def models(self) -> list[str]:
        """The names of the models that are pulled, sorted. Raises ``ProviderError``."""
        twin = Ollama(self.spec, self._key)
        try:
            listed = await asyncio.wait_for(twin._opened().list(), ASK_S)
        except Exception as error:
            raise self._failure(error) from None
        finally:
            await twin.aclose()
        return sorted(item.model for item in listed.models if item.model and is_model_id(item.model))

    async def takes_images(self, model: str = "") -> bool | None:
        """Whether ``/api/show`` lists "vision" among the model's capabilities, as ``prepare`` may have read already."""
        known = self._states.get(model or self.spec.model)
        if known is not None and known.sees is not None:
            return known.sees
        twin = Ollama(self.spec, self._key)
        try:
            shown = await asyncio.wait_for(
                twin._opened().ask("POST", "/api/show", {"model": model or self.spec.model}), ASK_S
            )
        except Exception:
            return None  # as for the other small questions; the request itself will say why
        finally:
            await twin.aclose()
        return state_of(model or self.spec.model, shown).sees

    async def pull(self, model: str = "") -> AsyncGenerator[Phase, None]:
        """Have the server fetch the model; phases with bytes done and bytes in all, as far as they are known.

        Raises ``ProviderError``; ends when the server says that it is done.
        """
        name = model or self.spec.model
        target, sizes, done = self._target(name), dict[str, tuple[int, int]](), False
        client = self._made(PULL_SILENCE_S)
        lines = JsonLines()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(client.close)
            response = await client.open("/api/pull", {"model": name, "stream": True}, stack, target)
            pieces = await stack.enter_async_context(aclosing(plain(response, target)))
            while not done:
                try:
                    data = await anext(pieces, b"")
                except HTTP_ERRORS as error:
                    raise from_exception(error, target) from None
                for line in lines.feed(data) if data else lines.finish():
                    value = loads(line).value
                    if not isinstance(value, dict):
                        continue
                    if value.get("error"):
                        raise from_payload(value, target)
                    yield _progress(value, sizes)
                    done = value.get("status") == "success"
                if not data and not done:
                    raise simple("unfinished", target, "the download ended early", retryable=True)

    async def check(self, probe: bool = False) -> Check:
        """Running, model pulled, able to think; ``probe`` asks it something small, which may load it."""
        start = time.perf_counter()
        try:
            names = await self.models()
        except ProviderError as error:
            return failed(error)
        latency_ms = (time.perf_counter() - start) * 1000
        model = self.spec.model
        if not any(is_same(model, name) for name in names):
            likely = near(model, names)
            return Check(
                ok=False,
                reachable=True,
                model_present=False,
                latency_ms=latency_ms,
                problem=f"{model} is not pulled on this Ollama.",
                remedy=f"Pull it once, or use one that is there: {', '.join(likely)}." if likely else "Pull it once.",
                command=f"ollama pull {model}",
            )
        twin, texts = Ollama(self.spec, self._key), Texts()
        try:
            state = await twin._state(model)
            num_ctx = self._body(PROBE, model, state)["options"].get("num_ctx") or NUM_CTX
            is_beyond = bool(state.trained_tokens and num_ctx > state.trained_tokens and not state.is_remote)
            found = Check(
                ok=True,
                reachable=True,
                model_present=True,
                thinking=state.thinks,
                dialect="thinking" if state.thinks else None,
                latency_ms=latency_ms,
                context_tokens=state.window(None if state.is_remote else num_ctx),
                trained_tokens=state.trained_tokens,
                warnings=(_BEYOND.format(num_ctx, state.trained_tokens),) if is_beyond else (),
            )
            if probe:
                request = replace(PROBE, params={"num_predict": PROBE_TOKENS})
                thinks = await shows_reasoning(twin._events(request, texts, Unmeasured()))
                found = replace(found, thinking=thinks, dialect=texts.dialect)
            return found
        except (ProviderError, TimeoutError) as error:
            return failed(self._failure(error), latency_ms)
        finally:
            await twin.aclose()

    def _failure(self, error: Exception) -> ProviderError:
        """Whatever the library may raise for a small question."""
        target = self._target()
        match error:
            case ProviderError():
                return error
            case ResponseError():
                return from_status(error.status_code, {}, error.error.encode(), target)
            case ConnectionError():  # the library's own, which has swallowed the cause
                return from_exception(httpx.ConnectError(str(error)), target)
            case TimeoutError():
                return simple("empty", target, f"no answer within {ASK_S:g} s", retryable=True)
            case ValueError():
                return simple("not_a_stream", target)
            case _:
                return from_exception(error, target)


def _message(message: Message) -> dict[str, Any]:
    """A message of the history; it has reasoning only where that is to go back to the model."""
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        made["images"] = [image.base64 for image in message.images]
    if message.reasoning:
        made["thinking"] = message.reasoning
    return made


async def _ended(task: asyncio.Task[Any]) -> None:
    """Return once the task has ended; it is not waited for but cancelled."""
    task.cancel()
    await asyncio.wait([task])


def _duration(text: str) -> str | int:
    """Ollama takes ``"10m"``, but a bare number only as a number (seconds; negative: for ever)."""
    try:
        return int(text)
    except ValueError:
        return text


def _progress(value: dict[str, Any], sizes: dict[str, tuple[int, int]]) -> Phase:
    """One line of a pull: layers are counted together."""
    digest, total, completed = value.get("digest"), value.get("total"), value.get("completed")
    if isinstance(digest, str) and isinstance(total, int):
        sizes[digest] = (completed if isinstance(completed, int) else 0, total)
    detail = str(value.get("status", ""))[:200]
    if not sizes:
        return Phase(PREPARING, detail)
    return Phase(PREPARING, detail, sum(done for done, _ in sizes.values()), sum(total for _, total in sizes.values()))


# -- is Ollama there, and which models does it have?


@dataclass(frozen=True)
class OllamaState:
    """Ollama as last seen at ``url``. ``running`` None: not queried yet. ``models``: names as Ollama lists them."""

    url: str
    running: bool | None = None
    models: frozenset[str] = frozenset()


def probe(url: str, timeout_s: float) -> OllamaState:
    """Ask ``/api/tags``; any failure means that Ollama is not there. Blocks, for use in a thread.

    By the standard library alone: the answer decides which lanes there are, before any client is made.
    """
    try:
        handlers = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
        with urllib.request.build_opener(*handlers).open(f"{url}/api/tags", timeout=timeout_s) as response:
            listed = json.loads(response.read(4_000_000))["models"]
            return OllamaState(url, True, frozenset(str(item["name"]) for item in listed))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return OllamaState(url, False)
