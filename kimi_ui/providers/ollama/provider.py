"""Ollama as a provider; the only file that imports ``ollama``.

The client library knows the host and asks the small questions (``/api/show``, ``/api/ps``, ``/api/tags``); the answer's
body is read by ``OllamaBody``, because the library tears lines at U+0085 and takes a missing end for success. Every
request has a timeout, none follows a redirect, and a loopback address is never asked through a proxy.

``params`` and ``extra_body`` go into the body where they are fields of it, else into ``options`` (``max_tokens`` is
called ``num_predict`` there); ``num_ctx`` is always sent, because Ollama's default cuts long prompts without a word.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import StrictBool

from ...config import hidden_from_clients
from ...core.admission import Line
from ...core.conversation_settings import is_model_id
from ...core.events import LOADING_MODEL, PREPARING, Event, Flag, Phase, Reporter
from ...core.lane import LaneSpec, Needed, whole
from ...core.loopback import is_loopback
from ..base import ChatRequest, Check, Host, Message, Provider, ProviderError, Unmeasured
from ..errors import ServerWords, Target, check_key, from_exception, from_payload, from_status, simple
from ..http.body import HTTP_ERRORS, events_of, plain, read_bounded
from ..http.text_splitter import Texts
from ..http.transport import MOST_ERROR_BODY, Transport, sending_for
from ..http.wire import JsonLines, loads
from ..provider_checks import PROBE, PROBE_TOKENS, failed, near, shows_reasoning
from .body import OllamaBody

with hidden_from_clients():
    import ollama

NUM_CTX = 32768  # tokens of context where the lane says nothing
CONNECT_S = 5.0
ASK_S = 3.0  # for the small questions: what they tell is worth little waiting
PULL_SILENCE_S = 300.0

OLLAMA_SERVER = ServerWords(
    name="Ollama",
    path="for Ollama it has no path",
    has_path=False,
    remedy="Start Ollama (or install it from ollama.com).",
    command="ollama serve",
)

_TOP_LEVEL = frozenset(("format", "keep_alive", "think", "options", "template", "truncate", "shift", "logprobs"))
_OPTION_NAMES = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


@dataclass(frozen=True)
class ModelState:
    """What Ollama says of a model. None: not known (an older server, or it did not answer).

    ``switchable``: ``think`` takes true and false, not only levels.
    """

    loaded: bool | None = None
    thinks: bool | None = None
    switchable: bool = True


class _Client(ollama.AsyncClient):
    """The library's client with our limits, and with access to a response as it comes.

    ``silence_s``: how long the server may say nothing, where neither the engine nor the caller has a limit.
    """

    def __init__(self, base_url: str, key: str, silence_s: float | None = None) -> None:
        super().__init__(
            base_url,
            timeout=httpx.Timeout(silence_s, connect=CONNECT_S),
            follow_redirects=False,
            # A new connection costs nothing here, a stale one does.
            transport=Transport(base_url, httpx.Limits(max_keepalive_connections=0)),
            trust_env=False,
            headers={"accept-encoding": "identity", **({"authorization": f"Bearer {key}"} if key else {})},
        )
        if not key:  # the library would send OLLAMA_API_KEY to whatever host this is
            self._client.headers.pop("authorization", None)

    async def open(self, path: str, body: Mapping[str, Any], stack: AsyncExitStack, target: Target) -> httpx.Response:
        """POST and return once the headers are in. Raises ``ProviderError``."""
        try:
            response: httpx.Response = await stack.enter_async_context(self._client.stream("POST", path, json=body))
            if response.is_success:
                return response
            content = await read_bounded(plain(response, target), MOST_ERROR_BODY)
        except (*HTTP_ERRORS, httpx.InvalidURL) as error:
            raise from_exception(error, target) from None
        raise from_status(response.status_code, response.headers, content, target)


@dataclass(frozen=True)
class OllamaLane(LaneSpec):
    """A lane on an Ollama server. ``num_ctx`` in tokens, None: ``NUM_CTX``. ``keep_alive`` as Ollama takes it: how long
    the model stays in memory. ``think`` None: as the model can. ``parallel``: how many requests of the model the server
    answers at a time, None: what it shows."""

    can_pull = True
    needs_key = False

    provider: str = "ollama"
    model: Needed = ""
    num_ctx: Annotated[int, whole(256, 10_000_000)] | None = None
    keep_alive: str = ""
    think: StrictBool | Literal["low", "medium", "high", "max"] | None = None
    parallel: Annotated[int, whole(1, 64)] | None = None

    @property
    def via(self) -> str:
        return "Ollama"

    def asking(self, model: str) -> LaneSpec:
        """What runs on one's own machine costs the same whichever model it is."""
        return replace(super().asking(model), price=self.price)


class Ollama(Provider):
    """One lane on an Ollama server. ``key``: for servers behind a gateway that wants one; empty: none is sent."""

    lane = OllamaLane
    spec: OllamaLane

    def __init__(self, spec: OllamaLane, key: str = "") -> None:
        super().__init__(spec, key)
        self._client: _Client | None = None
        self._states: dict[str, ModelState] = {}  # asked while preparing, used once by the stream that follows

    async def prepare(self, report: Reporter) -> None:
        """Ask what the model can do and whether it is in memory, so that asking is not counted as its time."""
        self._states[self.spec.model] = await self._state(self.spec.model)

    def line(self, request: ChatRequest) -> Line | None:
        """None for a model in Ollama's cloud, which is not this server's to answer."""
        model = request.model or self.spec.model
        if model.endswith(("-cloud", ":cloud")):
            return None
        return Line(self.spec.base_url, model if ":" in model else f"{model}:latest", self.spec.parallel)

    # -- the stream

    def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        """Send the request and yield its events; raises ``ProviderError`` (see ``base.Provider``)."""
        return self._events(request, Texts(), host)

    async def _events(self, request: ChatRequest, texts: Texts, host: Host) -> AsyncGenerator[Event, None]:
        model = request.model or self.spec.model
        target = self._target(model)
        state = self._states.pop(model, None) or await self._state(model)
        body = self._body(request, model, state)
        if state.loaded is False:
            yield Phase(LOADING_MODEL, model)
        if self.spec.think and state.thinks is False:
            yield Flag("think_unsupported")
        async with AsyncExitStack() as stack:
            try:
                with sending_for(host):
                    response = await self._opened().open("/api/chat", body, stack, target)
            except ProviderError as error:
                if "think" not in body or "think" not in error.failure.detail.lower():
                    raise
                del body["think"]  # an older server that could not be asked beforehand
                yield Flag("think_unsupported")
                response = await self._opened().open("/api/chat", body, stack, target)
            events = events_of(response, OllamaBody(target, body["options"]["num_ctx"], texts), target, host)
            async with aclosing(events):
                async for event in events:
                    yield event

    def _body(self, request: ChatRequest, model: str, state: ModelState) -> dict[str, Any]:
        params = {**self.spec.params, **request.params, **self.spec.extra_body}
        top = {name: value for name, value in params.items() if name in _TOP_LEVEL}
        options = {_OPTION_NAMES.get(name, name): value for name, value in params.items() if name not in _TOP_LEVEL}
        given = top.pop("options", None)
        body: dict[str, Any] = {
            "model": model,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "options": {"num_ctx": self.spec.num_ctx or NUM_CTX, **options, **_dict(given)},
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
            asyncio.wait_for(client.ps(), ASK_S), asyncio.wait_for(client.show(model), ASK_S), return_exceptions=True
        )
        return ModelState(_is_loaded(model, answers[0]), *_thinks(answers[1]))

    # -- the connection

    def _opened(self) -> _Client:
        if self._client is None:
            self._client = self._made()
        return self._client

    def _made(self, silence_s: float | None = None) -> _Client:
        """A client of its own. Raises ``ProviderError`` for a key, a base_url or an environment nothing can be sent
        with."""
        check_key(self._key, self.spec.api_key_env)
        try:
            return _Client(self.spec.base_url, self._key, silence_s)
        except (ValueError, httpx.InvalidURL) as error:
            raise from_exception(error, self._target()) from None

    def _target(self, model: str = "") -> Target:
        spec = self.spec
        secrets = (self._key,) if self._key else ()
        return Target(spec.base_url, model or spec.model, spec.api_key_env, secrets, OLLAMA_SERVER)

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
        if not any(_same(model, name) for name in names):
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
            found = Check(
                ok=True,
                reachable=True,
                model_present=True,
                thinking=state.thinks,
                dialect="thinking" if state.thinks else None,
                latency_ms=latency_ms,
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
            case ollama.ResponseError():
                return from_status(error.status_code, {}, error.error.encode(), target)
            case ConnectionError():  # the library's own, which has swallowed the cause
                return from_exception(httpx.ConnectError(str(error)), target)
            case TimeoutError():
                return simple("empty", target, f"no answer within {ASK_S:g} s", retryable=True)
            case ValueError():
                return simple("not_a_stream", target)
            case _:
                return from_exception(error, target)


def _message(message: Message) -> dict[str, str]:
    """A message of the history; it has reasoning only where that is to go back to the model."""
    made = {"role": message.role, "content": message.content}
    if message.reasoning:
        made["thinking"] = message.reasoning
    return made


def _is_loaded(model: str, answer: ollama.ProcessResponse | BaseException) -> bool | None:
    if isinstance(answer, BaseException):
        return None
    return any(_same(model, item.model or "") for item in answer.models)


def _thinks(answer: ollama.ShowResponse | BaseException) -> tuple[bool | None, bool]:
    """Whether the model can think, and whether ``think`` may be true (gpt-oss takes levels only)."""
    if isinstance(answer, BaseException) or answer.capabilities is None:
        return None, True
    family = (answer.details.family or "") if answer.details else ""
    return "thinking" in answer.capabilities, family != "gptoss"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _same(model: str, name: str) -> bool:
    """Ollama's names have a tag, ``latest`` where none is given."""
    return name in (model, f"{model}:latest")


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
    """Ollama as last seen at ``url``. ``running`` None: not asked yet. ``models``: names as Ollama lists them."""

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
