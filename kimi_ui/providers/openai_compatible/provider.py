"""Any OpenAI-compatible server as a provider; the only file that imports ``openai``.

The client library makes the requests; the answer's body is read by ``ChatBody``, because the library's own stream
decoding ends in silence where a stream breaks off. The client never retries (retries are the engine's, and visible),
follows no redirect, and keeps the environment's proxies away from loopback addresses.

A key goes nowhere but into the ``Authorization`` header of the lane's own host. This module knows nothing of turns and
stamps nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import threading
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx

from ...core.conversation_settings import is_model_id
from ...core.events import BY_PREFIX, BY_WORDS, CONTINUED, LOADING_MODEL, Event, Failure, Flag, Phase, Reporter
from ...core.lane import LaneSpec, Needed, NeededUrls, Thinking
from ..base import (
    GO_ON,
    ChatRequest,
    Check,
    Host,
    Message,
    Provider,
    ProviderError,
    Unmeasured,
    in_words,
)
from ..errors import Target, check_key, from_exception, from_payload, from_status, missing_key, scrub, simple
from ..http.body import HTTP_ERRORS, events_of, plain, read_bounded
from ..http.text_splitter import Texts
from ..http.transport import Transport, sending_for
from ..http.wire import loads
from ..images import modalities
from ..provider_checks import PROBE, PROBE_TOKENS, failed, near, shows_reasoning, some
from .body import ChatBody
from .thinking import choices_at

if TYPE_CHECKING:
    import openai  # loading it takes a tenth of the start, so that happens where it is used: ``load_library``

CONNECT_S = 10.0
LIST_S = 15.0
IMAGES_WAIT_S = 5.0  # for a list that only says whether a model takes images
IMAGES_FOR_S = 600.0
LOADING_S = 1.0  # between two requests while the server loads the model
MOST_LOADING_S = 5.0  # the most of a Retry-After that is waited for then
MOST_LIST = 8 * 1024 * 1024  # bytes of a model list

TAKES_PARTIAL = frozenset(("Moonshot",))  # gateways where `"partial": true` marks the beginning of an answer
_PARTIAL = "partial"

_IN_VAIN = ("auth", "connect", "dns", "tls", "redirect")  # after these a second request can only fail alike


@dataclass(frozen=True)
class OpenAILane(LaneSpec):
    """A lane on an OpenAI-compatible server."""

    provider: str = "openai"
    model: Needed = ""
    base_url: NeededUrls = ""

    @property
    def thinking_choices(self) -> tuple[Thinking, ...]:
        return choices_at(self.servers[0] if self.servers else "", self.params, self.extra_body)


class OpenAICompatible(Provider):
    """One lane on an OpenAI-compatible server.

    ``api_key``: the key itself, as read from the lane's variable (or made for a server this process has started);
    without one the variable is read at each request.
    """

    lane = OpenAILane

    def __init__(self, spec: LaneSpec, api_key: str = "") -> None:
        super().__init__(spec, api_key)
        self._client: openai.AsyncOpenAI | None = None
        self._making = asyncio.Lock()
        self._refused: set[str] = set()  # options this server has refused before
        self._images: tuple[float, dict[str, bool | None]] | None = None  # when, and by model; see ``takes_images``

    def warm_up(self) -> None:
        load_library()

    async def prepare(self, report: Reporter) -> None:
        """Make the client. Opening the connection is left to the request: it is part of the wait a person has."""
        await self._opened()

    # -- the stream

    def stream(self, request: ChatRequest, host: Host) -> AsyncGenerator[Event, None]:
        """Send the request and yield its events; raises ``ProviderError`` (see ``base.Provider``)."""
        return self._events(request, Texts(), host)

    async def _events(self, request: ChatRequest, texts: Texts, host: Host) -> AsyncGenerator[Event, None]:
        """The answer's events. While the server loads the model, the request is sent again until the engine's limit."""
        while True:
            try:
                async with aclosing(self._answer(request, texts, host)) as events:
                    async for event in events:
                        yield event
                return
            except ProviderError as error:
                if not error.is_loading or texts.chars:
                    raise
                wait_s = min(error.retry_after_s or LOADING_S, MOST_LOADING_S)
            host.arrived(0)
            yield Phase(LOADING_MODEL, "the server is loading the model")
            await asyncio.sleep(wait_s)

    async def _answer(self, request: ChatRequest, texts: Texts, host: Host) -> AsyncGenerator[Event, None]:
        target = self._target(request.model)
        client = await self._opened()
        body = self._body(request)
        async with AsyncExitStack() as stack:
            with sending_for(host):
                response, dropped = await self._send(client, body, stack, target)
            for name in dropped:
                if name != _PARTIAL:
                    yield Flag("dropped_option", _NEWER.get(name, name))
            if request.continues:
                yield Flag(CONTINUED, BY_PREFIX if _is_partial(body) else BY_WORDS)
            if response.extensions.get("reconnected"):
                yield Flag("reconnected")
            answer = ChatBody(target, response.headers.get("content-type", ""), texts)
            async with aclosing(events_of(response, answer, target, host)) as events:
                async for event in events:
                    yield event

    async def _send(
        self, client: openai.AsyncOpenAI, body: dict[str, Any], stack: AsyncExitStack, target: Target
    ) -> tuple[httpx.Response, list[str]]:
        """The response once its headers are in, and which options were left out.

        An option that the server refuses by name is left out and the request sent again; the next requests leave it
        out at once.
        """
        dropped = [name for name in sorted(self._refused) if _drop(body, name)]
        while True:
            try:
                return await self._open(_chat(client, body, self._headers(target)), stack, target), dropped
            except ProviderError as error:
                name = _refused_option(body, error)
                if not name:
                    raise
                _drop(body, name)
                self._refused.add(name)
                dropped.append(name)

    async def _open(self, call: Awaitable[Any], stack: AsyncExitStack, target: Target) -> httpx.Response:
        """Make a request of the client, closed with the stack; all that it may raise becomes a ``ProviderError``."""
        import openai

        try:
            response = await call
        except openai.APIStatusError as error:
            raise from_status(error.status_code, error.response.headers, error.response.content, target) from None
        except (openai.OpenAIError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise from_exception(error, target) from None
        assert isinstance(response, httpx.Response)
        stack.push_async_callback(response.aclose)
        return response

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """The request's JSON: the lane's params and extra_body as they are, and streaming with usage."""
        by_prefix = request.continues and self._target().gateway in TAKES_PARTIAL
        if request.continues and not by_prefix:
            request = in_words(request)
        messages: list[dict[str, Any]] = [_message(message) for message in request.messages]
        if by_prefix:
            messages[-1][_PARTIAL] = True
        return {
            "stream_options": {"include_usage": True},
            **self.spec.params,
            **request.params,
            **self.spec.extra_body,
            "model": request.model or self.spec.model,
            "messages": messages,
            "stream": True,
        }

    # -- the key

    def _sent_key(self) -> str:
        return self._key or (os.environ.get(self.spec.api_key_env, "").strip() if self.spec.api_key_env else "")

    def _target(self, model: str = "") -> Target:
        spec, key = self.spec, self._sent_key()
        return Target(spec.server, model or spec.model, spec.api_key_env, (key,) if key else ())

    def _headers(self, target: Target) -> dict[str, str | openai.Omit]:
        """The header that carries the key, none for a server without one; and what the library would add, left out.

        Raises ``ProviderError`` where the key is missing or cannot be sent.
        """
        import openai

        key = self._sent_key()
        if not key and self.spec.api_key_env:
            raise missing_key(self.spec.api_key_env, target.gateway)
        check_key(key, self.spec.api_key_env)
        absent = openai.Omit()
        return {
            "Authorization": f"Bearer {key}" if key else absent,
            "OpenAI-Organization": absent,
            "OpenAI-Project": absent,
        }

    async def _opened(self) -> openai.AsyncOpenAI:
        """The client; made on a thread, since the first one loads most of the library and no lane may wait for that."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(_client, self.spec)
            return self._client

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # -- what there is; on connections of their own, so that any event loop may ask

    async def models(self) -> list[str]:
        """The ids of ``GET {base_url}/models``, sorted. Raises ``ProviderError``."""
        target = self._target()
        headers = self._headers(target)
        try:
            return _ids(await asyncio.wait_for(self._listed(target, headers), LIST_S), target)
        except TimeoutError:
            raise simple("empty", target, f"no model list within {LIST_S:g} s", retryable=True) from None

    async def takes_images(self, model: str = "") -> bool | None:
        """What the server's list of models says of it; it is asked at most every ``IMAGES_FOR_S``."""
        wanted, now = model or self.spec.model, time.monotonic()
        if self._images is None or now - self._images[0] > IMAGES_FOR_S:
            target = self._target()
            try:
                content = await asyncio.wait_for(self._listed(target, self._headers(target)), IMAGES_WAIT_S)
                items = {_name(item): item for item in _items(content, target) if isinstance(item, dict)}
            except (ProviderError, TimeoutError):
                items = {}
            self._images = (now, {name: modalities(item) for name, item in items.items()})
        known = self._images[1]
        return known.get(wanted, known.get(wanted.rpartition(":")[0]))

    async def _listed(self, target: Target, headers: dict[str, str | openai.Omit]) -> bytes:
        """The server's list of models, as it sent it."""
        async with _client(self.spec) as client, AsyncExitStack() as stack:
            call = client.get("/models", cast_to=httpx.Response, options={"headers": headers}, stream=True)
            response = await self._open(call, stack, target)
            try:
                return await read_bounded(plain(response, target), MOST_LIST)
            except HTTP_ERRORS as error:
                raise from_exception(error, target) from None

    async def check(self, probe: bool = False) -> Check:
        """Reachable, key accepted, model listed; with ``probe`` one small request tells how it shows reasoning."""
        target, start = self._target(), time.perf_counter()
        ids: list[str] | None
        try:
            ids = await self.models()
        except ProviderError as error:
            kind = error.failure.kind
            if kind in _IN_VAIN or not (probe or kind in ("bad_url", "model_missing")):
                return failed(error)
            ids = None  # a server without a list, or with an odd one, may answer all the same
        found = Check(ok=ids is not None, reachable=True, latency_ms=(time.perf_counter() - start) * 1000)
        model = self.spec.model
        if ids is not None:
            # Ids may carry a suffix that chooses a variant (`:nitro`, `:THINKING`) and is not listed.
            present = model in ids or model.rpartition(":")[0] in ids
            found = replace(found, ok=present, model_present=present)
        if probe:
            return await self._probed(found)
        if ids is None:
            message = f"{target.gateway} has no list of models at {target.host}."
            return replace(found, problem=message, remedy="Check base_url (it usually ends in /v1), or probe the lane.")
        if not found.ok:
            likely = near(model, ids)
            hint = f"Similar ids: {', '.join(likely)}." if likely else f"It lists {some(ids)}."
            found = replace(found, problem=f"{target.gateway} does not list the model {model}.", remedy=hint)
        return found

    async def _probed(self, found: Check) -> Check:
        """``found`` and what one tiny request adds: the model answers, and where its reasoning arrives."""
        limit = "max_completion_tokens" if "max_completion_tokens" in self.spec.params else "max_tokens"
        twin, texts = OpenAICompatible(self.spec, self._key), Texts()
        try:
            thinks = await shows_reasoning(
                twin._events(replace(PROBE, params={limit: PROBE_TOKENS}), texts, Unmeasured())
            )
        except ProviderError as error:
            return failed(error, found.latency_ms)
        except TimeoutError:
            return failed(simple("empty", self._target(), "no answer to the probe"), found.latency_ms)
        finally:
            await twin.aclose()
        key_valid = True if self._sent_key() else None
        return replace(found, ok=True, key_valid=key_valid, model_present=True, thinking=thinks, dialect=texts.dialect)


def _message(message: Message) -> dict[str, Any]:
    """A message of the history; it has reasoning only where that is to go back to the model. Images go before the text,
    as parts of the content."""
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        parts = [{"type": "image_url", "image_url": {"url": image.data_url}} for image in message.images]
        made["content"] = [*parts, {"type": "text", "text": message.content}] if message.content else parts
    if message.reasoning:
        made["reasoning_content"] = message.reasoning
    return made


def _chat(client: openai.AsyncOpenAI, body: dict[str, Any], headers: dict[str, str | openai.Omit]) -> Awaitable[Any]:
    """The chat request, by the library's method for any path.

    It sends the body as it is. That for chat completions would go through it, 0.2 ms a message while every lane waits,
    and takes 0.3 ms for parameters that are not there.
    """
    options: openai.RequestOptions = {"headers": headers}
    return client.post("/chat/completions", cast_to=httpx.Response, body=body, options=options, stream=True)


def _items(content: bytes, target: Target) -> list[Any]:
    """The entries of a model list: in OpenAI's shape, under ``models``, or as it is. ``[None]``: it is no such list.

    Raises ``ProviderError`` where it is an error.
    """
    listed: Any = None
    match value := loads(content).value:
        case {"error": error} if error:
            raise from_payload(value, target)
        case {"data": listed} | {"models": listed}:
            listed = [] if listed is None else listed  # some servers write an empty list as null
        case {"detail": _} | {"message": _}:
            raise from_payload(value, target)
        case list():
            listed = value
    return listed if isinstance(listed, list) else [None]


def _ids(content: bytes, target: Target) -> list[str]:
    """The ids of a model list, sorted: by ``id``, by ``name``, or as plain strings.

    Ids that nobody could choose (see ``is_model_id``) are left out. Raises ``ProviderError``.
    """
    names = [_name(item) for item in _items(content, target)]
    if names and not any(names):
        words = content[:500].decode("utf-8", "replace")
        if words.lstrip().startswith("<"):
            raise simple("not_a_stream", target, words)
        message = f"The model list of {target.gateway} cannot be read."
        remedy = "The lane may still answer: test it."
        raise ProviderError(Failure("protocol", message, remedy, detail=scrub(words, target.secrets)))
    return sorted({name for name in names if is_model_id(name)})


def _name(item: Any) -> str:
    name = item.get("id") or item.get("name") if isinstance(item, dict) else item
    return name if isinstance(name, str) else ""


def _refused_option(body: dict[str, Any], error: ProviderError) -> str:
    """The part of the request that a 400 or 422 refuses and the answer can do without; empty if there is none.

    ``max_tokens`` counts where its newer name is the remedy, not where both names stand beside a number too large.
    """
    failure = error.failure
    if failure.http_status not in (400, 422) or failure.kind == "context":
        return ""
    words = failure.detail.lower()
    if "stream_options" in body and re.search(r"stream.?options|include_usage", words):
        return "stream_options"
    if "max_tokens" in body and "max_completion_tokens" not in body and _NEWER_NAME.search(words):
        return "max_tokens"
    if _is_partial(body) and _PARTIAL in words:
        return _PARTIAL
    return ""


def _is_partial(body: dict[str, Any]) -> bool:
    """Whether the request's last message is the beginning of an answer."""
    return _PARTIAL in body["messages"][-1]


_NEWER = {"max_tokens": "max_tokens (sent as max_completion_tokens)"}
_NEWER_NAME = re.compile(
    r"\buse\W+(?:the )?\W*max_completion_tokens|max_completion_tokens\W+(?:parameter )?instead"
    r"|(?:unsupported|deprecated)(?s:.)*max_completion_tokens"
)


def _drop(body: dict[str, Any], name: str) -> bool:
    """Take the option out (``max_tokens`` goes by its newer name, ``partial`` by words). False if it was not there."""
    if name == _PARTIAL:
        if not _is_partial(body):
            return False
        del body["messages"][-1][_PARTIAL]
        body["messages"].append({"role": "user", "content": GO_ON})
        return True
    if name not in body:
        return False
    value = body.pop(name)
    if name == "max_tokens":
        body["max_completion_tokens"] = value
    return True


def load_library() -> None:
    """Load the client library in the background, so that the first prompt need not wait for it."""
    threading.Thread(target=importlib.import_module, args=("openai",), name="openai", daemon=True).start()


def _client(spec: LaneSpec) -> openai.AsyncOpenAI:
    """A client that keeps to the lane's server: no retry, no redirect, no compression, no header from elsewhere.

    Raises ``ProviderError`` for a base_url or an environment nothing can be sent with.
    """
    import openai

    limits = httpx.Limits(keepalive_expiry=15)  # how many requests there are is the engine's to limit
    try:
        transport = Transport(spec.server, limits)
        return openai.AsyncOpenAI(
            base_url=spec.server,
            api_key="none",  # never sent: the key goes into each request
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=httpx.AsyncClient(  # type: ignore[arg-type]  # it takes httpx's, but annotates httpx2's alone
                transport=transport,
                # Silence has its limits in the engine; the socket's own would cost a fifth more CPU for every chunk.
                timeout=httpx.Timeout(None, connect=CONNECT_S, pool=CONNECT_S),
                follow_redirects=False,
                trust_env=False,
            ),
        )
    except (ValueError, httpx.InvalidURL) as error:
        raise from_exception(error, Target(spec.server)) from None
