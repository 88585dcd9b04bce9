"""The Ollama of the tests: ``/api/*`` with the habits of the real server, before and after 0.30 (May 2026).

``Upstream`` serves it; ``upstream.ollama`` is this object. The source is a run of two real servers in November 2026
(0.12.6 of October 2025, which has its own runners, and a build that answers as 0.32–0.33, with llama-server), with
SmolLM2-135M on a CPU; the shapes of ``tags``, ``ps``, ``show``, of a chat's lines, of a pull and of the refusals are
those that were recorded there (tests/recorded/ollama). Scheduling follows server/sched.go of ollama/ollama: pending
requests are scheduled one after the other, one that needs a model unloaded waits until that is idle, and everybody
behind it waits too.

Every habit is a field of ``Habits`` and can be set for a test, also while the server runs:

    upstream.ollama.habits = before_030(slots=4)
    upstream.ollama.habits.load_s = 0.2
    upstream.alias("qwen3-coder:30b", "m-200-0-50", trained=8192)
    until_set = upstream.ollama.hold("qwen3-coder:30b")      # its answers do not end before until_set.set()
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from kimi_ui.tokenizers import counter

from .paced import START_S, Plan, plan_of, tokens
from .wire import LAST_CHUNK, NDJSON, Request, Stream, chunked, head, plain, streamed

WARM_NUM_CTX = 32_768  # tokens: what a model in memory was loaded with, if a test says nothing
TEMPLATE_TOKENS = 5  # around each message
OLD_BATCH = 512  # tokens of a batch of the runners before 0.30
GPT_OSS = "gptoss"

NO_SPACE = (  # ollama/ollama #15547, on 0.20.6
    "write /usr/share/ollama/.ollama/models/blobs/"
    "sha256-4c27e0f5b5adf02ac956c7322bd2ee7636fe3f45a8512c9aba5385242cb6e09a-partial: no space left on device"
)
NO_SUCH_MODEL = "pull model manifest: file does not exist"
NO_WAY_OUT = (
    'pull model manifest: Get "https://registry.invalid/v2/library/qwen3-coder/manifests/30b": '
    "dial tcp: lookup registry.invalid on 127.0.0.53:53: no such host"
)
TOO_OLD = (
    "pull model manifest: 412: \n\nThe model you are attempting to pull requires a newer version of Ollama.\n\n"
    "Please download the latest version at:\n\n\thttps://ollama.com/download\n\n"
)


@dataclass
class Habits:
    """What a server does. Times in seconds, contexts in tokens.

    ``cuts``: a message that alone exceeds the context is cut to half of it plus 2, or fills it.
    ``refusal``: what ``truncate: false`` brings: 400 with both numbers, nested twice; 400 with words alone; words
    inside the stream of a 200; or nothing, because the server does not know the field (nor ``shift``).
    ``lists_details``: ``/api/tags`` has capabilities and trained contexts.
    ``counts_whole_prompt``: ``prompt_eval_duration`` is the prompt's time, not that of its last batch alone.
    ``takes_levels``: a level for a model that has none is taken as true.
    ``slots``: requests that one model answers at once. ``room``: models in memory at once.
    ``default_num_ctx``: where neither the request nor the model has one. ``load_s``: a load. ``prompt_tps``: tokens of
    a prompt per second. ``most_pending``: requests that wait to be scheduled; one more is refused with 503.
    ``online``, ``signed_in``: whether ollama.com can be reached, whether it knows the user.
    """

    version: str = "0.33.1"
    cuts: Literal["half", "full"] = "half"
    refusal: Literal["numbers", "words", "stream", "none"] = "numbers"
    lists_details: bool = True
    counts_whole_prompt: bool = True
    takes_levels: bool = True
    slots: int = 1
    room: int = 3
    default_num_ctx: int = 4096
    load_s: float = 0.0
    prompt_tps: float = 100_000.0
    most_pending: int = 512
    online: bool = True
    signed_in: bool = False


def after_030(**habits: Any) -> Habits:
    """A server since 0.30, with these other habits."""
    return replace(Habits(), **habits)


def before_030(**habits: Any) -> Habits:
    """A server before 0.30, with these other habits."""
    old = Habits("0.12.6", "full", "words", lists_details=False, counts_whole_prompt=False, takes_levels=False)
    return replace(old, **habits)


@dataclass(frozen=True)
class Model:
    """An installed model. ``trained`` and ``num_ctx`` (of its Modelfile) in tokens; ``load_error``: why it cannot be
    loaded; ``chats``: false for an embedding model; ``remote``: it runs at ollama.com."""

    plan: Plan
    trained: int = 262_144
    num_ctx: int | None = None
    template: str = "{{ .Prompt }}"
    family: str = "llama"
    load_error: str = ""
    chats: bool = True
    sees: bool = False
    remote: bool = False

    @property
    def thinks(self) -> bool:
        return self.plan.n_reasoning > 0 and self.plan.variant != "think-tags"

    @property
    def capabilities(self) -> list[str]:
        able = {"completion": self.chats, "embedding": not self.chats, "vision": self.sees, "thinking": self.thinks}
        return [name for name, can in able.items() if can]


PULLED = Model(Plan(2000, 0, 6, ""))


@dataclass
class Pulling:
    """How pulls go: ``size`` bytes in pieces of ``piece`` bytes every ``every_s`` seconds.

    ``error``: the last line, sent once ``error_at`` bytes are here. ``held_at``: while it is set, nothing beyond so
    many bytes comes. ``parts``: bytes that are here of what was not finished, by name.
    """

    size: int = 1000
    piece: int = 400
    every_s: float = 0.005
    error: str = ""
    error_at: int = 0
    held_at: int | None = None
    parts: dict[str, int] = field(default_factory=dict)


class _Runner:
    """A model in memory."""

    def __init__(self, name: str, context: int) -> None:
        self.name, self.context = name, context
        self.slots: asyncio.Semaphore | None = None  # made by the first request
        self.users = 0
        self.keep_alive_s = 300.0
        self.expiry: asyncio.TimerHandle | None = None
        self.expires_at = datetime.now(UTC)


class Refused(Exception):
    """The answer is this status and this body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.answer = plain(status, body if isinstance(body, dict) else {"error": body})


class OllamaServer:
    """``/api/*``. ``installed``: names that are listed; ``models``: what they are (a name of the form ``m-…`` says it);
    ``library``: what a pull brings, ``PULLED`` for other names.

    Attributes may be set from any thread; the methods that answer run on the server's loop.
    """

    def __init__(self, installed: list[str]) -> None:
        self.installed = installed
        self.models: dict[str, Model] = {}
        self.library: dict[str, Model] = {}
        self.habits = Habits()
        self.pulling = Pulling()
        self._held: dict[str, threading.Event] = {}
        self._blobs: dict[str, int] = {}
        self._runners: dict[str, _Runner] = {}
        self._scheduling = asyncio.Lock()
        self._became_idle = asyncio.Condition()
        self._pending = 0

    # -- what a test uses

    @property
    def loaded(self) -> list[str]:
        """Names of the models in memory."""
        return list(self._runners)

    def warm(self, name: str, num_ctx: int = WARM_NUM_CTX) -> None:
        """Let the model be in memory with this context. Call it while no request runs."""
        self._runners[_full(name)] = _Runner(_full(name), num_ctx)

    def unload_all(self) -> None:
        """Let no model be in memory. Call it while no request runs."""
        self._runners.clear()

    def hold(self, name: str) -> threading.Event:
        """Until the event is set, answers of this model wait before their last token, and keep their slot."""
        return self._held.setdefault(_full(name), threading.Event())

    def model(self, name: str) -> Model | None:
        """What goes by this name, in any case, with or without ``:latest``."""
        if plan := plan_of(name):
            return self.models.get(_full(name)) or Model(plan)
        return self.models.get(_full(name))

    def add(self, name: str, model: Model) -> None:
        self.models[_full(name)] = model
        if name not in self.installed:
            self.installed.append(name)

    # -- questions

    def version(self, _request: Request) -> Stream:
        return plain(200, {"version": self.habits.version})(_request)

    def tags(self, request: Request) -> Stream:
        return plain(200, {"models": [self._tag(name) for name in self.installed]})(request)

    def _tag(self, name: str) -> dict[str, Any]:
        tag: dict[str, Any] = {"name": name, "model": name, "modified_at": _now(), "size": 98_362_760}
        tag |= {"digest": _digest(name), "details": _details(model := self.model(name))}
        if model and model.remote:
            tag |= {"remote_model": name.split(":")[0], "remote_host": "https://ollama.com:443"}
        if model and self.habits.lists_details:
            tag["details"] |= {"context_length": model.trained, "embedding_length": 576}
            tag["capabilities"] = model.capabilities
        return tag

    def ps(self, request: Request) -> Stream:
        """Only what is loaded is here, with the context in use."""
        running = [
            {
                "name": runner.name,
                "model": runner.name,
                "size": 160_222_411,
                "digest": _digest(runner.name),
                "details": _details(self.model(runner.name)),
                "expires_at": runner.expires_at.isoformat(),
                "size_vram": 0,
                "context_length": runner.context,
            }
            for runner in list(self._runners.values())
        ]
        return plain(200, {"models": running})(request)

    def show(self, request: Request) -> Stream:
        model = self.model(request.model)
        if model is None:
            return _missing(request)
        shown: dict[str, Any] = {
            "parameters": f"num_ctx                        {model.num_ctx}" if model.num_ctx else "",
            "template": model.template,
            "details": _details(model),
            "model_info": {"general.architecture": "llama", "llama.context_length": model.trained},
            "capabilities": model.capabilities,
            "modified_at": _now(),
        }
        if model.remote:
            shown |= {"remote_model": request.model.split(":")[0], "remote_host": "https://ollama.com:443"}
        return plain(200, shown)(request)

    # -- chat

    async def chat(self, request: Request) -> Stream:
        """The answer's head is sent with its first line, not before."""
        began = time.perf_counter()
        try:
            model = self._accepted(request)
            if model.remote:
                room = 10**9
                async for data in _framed(self._generated(request, model, began, began, began, room)):
                    yield data
                return
            async with self._runner(request, model) as runner:
                loaded = time.perf_counter()
                if not request.body.get("messages"):
                    unloads = "keep_alive" in request.body and _seconds(request.body["keep_alive"]) == 0
                    yield await _whole(_line(request, {}, done=True, done_reason="unload" if unloads else "load"))
                    return
                runner.slots = runner.slots or asyncio.Semaphore(self.habits.slots)
                waits = runner.slots.locked()
                async with runner.slots:
                    started = time.perf_counter() if waits else loaded  # a busy machine is no queue
                    answer = self._generated(request, model, began, loaded, started, runner.context)
                    async for data in _framed(answer):
                        yield data
        except Refused as refused:
            async for data in refused.answer(request):
                yield data

    def _accepted(self, request: Request) -> Model:
        """What is asked; raises ``Refused`` for what the server says before it loads anything."""
        name, body, habits = request.model, request.body, self.habits
        model = self.model(name)
        if model is None:
            raise Refused(404, f"model '{name}' not found")
        if not model.chats:
            raise Refused(400, f'"{name}" does not support chat')
        for option, kinds, go_name in _OPTIONS:
            value = (body.get("options") or {}).get(option)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise Refused(400, f'option "{option}" must be of type {go_name}')
        think = body.get("think")
        if isinstance(think, str) and think not in ("high", "medium", "low", "max"):
            raise Refused(
                400, f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
            )
        if think and not model.thinks:
            raise Refused(400, f'"{name}" does not support thinking')
        if isinstance(think, str) and not habits.takes_levels and model.family != GPT_OSS:
            raise Refused(400, f'think value "{think}" is not supported for this model')
        if any(message.get("images") for message in body.get("messages") or []) and not model.sees:
            words = "Multimodal data provided, but model does not support multimodal requests."
            raise Refused(400, _nested(400, words, "invalid_request_error"))
        if model.remote and not habits.online:
            words = 'Post "https://ollama.com:443/api/chat?ts=1764414000": dial tcp: lookup ollama.com: no such host'
            raise Refused(502, words)
        if model.remote and not habits.signed_in:
            signin = "https://ollama.com/connect?name=test&key=c3NoLWVkMjU1MTk"
            raise Refused(401, {"error": "unauthorized", "signin_url": signin})
        return model

    async def _generated(
        self, request: Request, model: Model, began: float, loaded: float, started: float, context: int
    ) -> AsyncGenerator[bytes]:
        """The lines of one answer, once there is a slot for it. Raises ``Refused`` before the first line."""
        habits, body = self.habits, request.body
        options = body.get("options") or {}
        n_prompt = self._fitted(request, context)
        if n_prompt is None:
            words = "the prompt is longer than the context length currently available to the model; shorten the prompt"
            yield orjson.dumps({"error": words, "status": 400}) + b"\n"
            return
        shifts = body.get("shift") is not False or habits.refusal == "none"
        most = int(options.get("num_predict", -1))
        limits = [] if shifts else [context - n_prompt]
        limits += [most] if most >= 0 else []
        plan = model.plan if body.get("think") is not False else model.plan._replace(n_reasoning=0)
        count, reason, first = 0, "stop", 0.0
        await asyncio.sleep(n_prompt / habits.prompt_tps)
        held, last = self._held.get(_full(request.model)), plan.n_reasoning + plan.n_answer
        if plan.variant == "think-tags":
            yield _line(request, {"content": "<think>"})
        async with aclosing(tokens(plan, request)) as coming:
            async for text, is_answer in coming:
                first = first or time.perf_counter()
                if text is None:
                    if plan.variant == "think-tags":
                        yield _line(request, {"content": "</think>\n\n"})
                    continue
                if limits and count >= min(limits):
                    reason = "length"
                    break
                count += 1
                while held and count == last and not held.is_set():  # noqa: ASYNC110 - another thread sets it
                    await asyncio.sleep(0.005)
                in_content = is_answer or plan.variant == "think-tags"
                yield _line(request, {"content": text} if in_content else {"content": "", "thinking": text})
        ended = time.perf_counter()
        prompt_s = min(n_prompt / habits.prompt_tps + START_S, (first or ended) - started)
        evaluated = n_prompt if habits.counts_whole_prompt else (n_prompt - 1) % OLD_BATCH + 1
        yield _line(
            request,
            {},
            done=True,
            done_reason=reason,
            total_duration=_ns(ended - began),
            load_duration=_ns(loaded - began),
            prompt_eval_count=n_prompt,
            prompt_eval_duration=_ns(prompt_s * evaluated / n_prompt),
            eval_count=count,
            eval_duration=_ns(ended - started - prompt_s),
        )

    def _fitted(self, request: Request, context: int) -> int | None:
        """Tokens of the prompt that are read; None: the refusal comes in the stream. Raises ``Refused``."""
        habits, messages = self.habits, list(request.body["messages"])
        count = counter().count
        sizes = [count(str(message.get("content") or "")) + TEMPLATE_TOKENS for message in messages]
        total = sum(sizes)
        if total <= context:
            return total
        if request.body.get("truncate") is False:
            match habits.refusal:
                case "numbers":
                    words = (
                        f"request ({total} tokens) exceeds the available context size ({context} tokens), "
                        "try increasing it"
                    )
                    more = {"n_prompt_tokens": total, "n_ctx": context}
                    raise Refused(400, _nested(400, words, "exceed_context_size_error", **more))
                case "words":
                    raise Refused(400, "the input length exceeds the context length")
                case "stream":
                    return None
        kept = list(zip(messages, sizes, strict=True))
        while len(kept) > 1 and sum(size for _, size in kept) > context:  # whole messages, system ones stay
            oldest = next((i for i, (message, _) in enumerate(kept[:-1]) if message["role"] != "system"), None)
            if oldest is None:
                break
            del kept[oldest]
        total = sum(size for _, size in kept)
        if total <= context:
            return total
        return context // 2 + 2 if habits.cuts == "half" else context

    # -- models in memory

    @asynccontextmanager
    async def _runner(self, request: Request, model: Model) -> AsyncGenerator[_Runner]:
        """The model in memory with the context asked for; whatever has to be waited for is waited for here."""
        asked = (request.body.get("options") or {}).get("num_ctx") or model.num_ctx or self.habits.default_num_ctx
        context, name = min(asked, model.trained), _full(request.model)
        if self._pending >= self.habits.most_pending:
            raise Refused(503, "server busy, please try again.  maximum pending requests exceeded")
        self._pending += 1
        try:
            async with self._scheduling:
                runner = self._runners.get(name)
                if runner and runner.context != context:
                    await self._unloaded(runner)
                    runner = None
                if runner is None:
                    while len(self._runners) >= self.habits.room:
                        idle = [each for each in self._runners.values() if not each.users]
                        await self._unloaded((idle or list(self._runners.values()))[0])
                    await asyncio.sleep(self.habits.load_s)
                    if model.load_error:
                        raise Refused(500, model.load_error)
                    runner = self._runners[name] = _Runner(name, context)
                runner.users += 1
        finally:
            self._pending -= 1
        if runner.expiry:
            runner.expiry.cancel()
        if "keep_alive" in request.body:
            runner.keep_alive_s = _seconds(request.body["keep_alive"])
        try:
            yield runner
        finally:
            runner.users -= 1
            await self._left(runner)

    async def _unloaded(self, runner: _Runner) -> None:
        async with self._became_idle:
            await self._became_idle.wait_for(lambda: not runner.users)
        self._runners.pop(runner.name, None)

    async def _left(self, runner: _Runner) -> None:
        """A request has let go of the model: it stays in memory for its ``keep_alive``."""
        if not runner.users:
            keep_s = runner.keep_alive_s
            if keep_s == 0:
                self._drop(runner)
            elif keep_s > 0:
                runner.expires_at = datetime.now(UTC) + timedelta(seconds=min(keep_s, 10**9))
                runner.expiry = asyncio.get_running_loop().call_later(keep_s, self._drop, runner)
        async with self._became_idle:
            self._became_idle.notify_all()

    def _drop(self, runner: _Runner) -> None:
        if not runner.users and self._runners.get(runner.name) is runner:
            del self._runners[runner.name]

    # -- models on disk

    async def pull(self, request: Request) -> Stream:
        """Fetch a model; what is here of it stays when the client leaves, and the next pull goes on from there."""
        name, pulling = request.model, self.pulling
        digest = _digest(name)
        layer = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": pulling.size}

        async def lines() -> AsyncGenerator[bytes]:
            yield orjson.dumps({"status": "pulling manifest"}) + b"\n"
            while True:
                here = pulling.parts.get(name, 0)
                if pulling.error and here >= pulling.error_at:
                    yield orjson.dumps({"error": pulling.error}) + b"\n"
                    return
                yield orjson.dumps({**layer, "completed": here}) + b"\n"
                if here == pulling.size:
                    break
                await asyncio.sleep(pulling.every_s)
                while pulling.held_at is not None and here >= pulling.held_at:  # noqa: ASYNC110 - another thread sets it
                    await asyncio.sleep(0.005)
                pulling.parts[name] = min(pulling.size, here + pulling.piece)
            del pulling.parts[name]
            self.add(name, self.library.get(_full(name), PULLED))
            for status in ("verifying sha256 digest", "writing manifest", "success"):
                yield orjson.dumps({"status": status}) + b"\n"

        async for data in _framed(lines()):
            yield data

    def blob(self, request: Request) -> Stream:
        """HEAD asks whether a file is here, POST sends it."""
        digest = request.path.removeprefix("/api/blobs/")
        if request.method == "HEAD":
            return _bare(200 if digest in self._blobs else 404)
        if f"sha256:{hashlib.sha256(request.body).hexdigest()}" != digest:
            return plain(400, {"error": "digest does not match file"})(request)
        self._blobs[digest] = len(request.body)
        return _bare(201)

    def create(self, request: Request) -> Stream:
        """A model from a file sent before (``files``), or from another model, with a template and parameters."""
        body = request.body
        template, parameters = body.get("template", ""), body.get("parameters") or {}
        if source := body.get("from"):
            base = self.model(source)
            if base is None:
                return streamed([orjson.dumps({"error": f"pull model manifest: {source} not found"}) + b"\n"])(request)
        elif missing := [digest for digest in (body.get("files") or {}).values() if digest not in self._blobs]:
            return plain(400, {"error": f"blob {missing[0]} not found"})(request)
        else:
            base = Model(Plan(2000, 0, 600, ""), trained=8192)
        plan = base.plan._replace(n_reasoning=20) if ".Thinking" in template else base.plan
        made = replace(base, plan=plan, template=template or base.template)
        self.add(_full(request.model), replace(made, num_ctx=parameters.get("num_ctx", base.num_ctx)))
        statuses = ("parsing GGUF", "writing manifest", "success")
        return streamed([orjson.dumps({"status": status}) + b"\n" for status in statuses])(request)

    def delete(self, request: Request) -> Stream:
        name = _full(request.model)
        if name not in self.models:
            return _missing(request)
        del self.models[name]
        self.installed[:] = [each for each in self.installed if _full(each) != name]
        self._runners.pop(name, None)
        return _bare(200)


Answer = Callable[[OllamaServer, Request], Stream]
ROUTES: dict[tuple[str, str], Answer] = {
    ("POST", "/api/chat"): OllamaServer.chat,
    ("POST", "/api/show"): OllamaServer.show,
    ("POST", "/api/pull"): OllamaServer.pull,
    ("POST", "/api/create"): OllamaServer.create,
    ("DELETE", "/api/delete"): OllamaServer.delete,
    ("GET", "/api/tags"): OllamaServer.tags,
    ("GET", "/api/ps"): OllamaServer.ps,
    ("GET", "/api/version"): OllamaServer.version,
}

_OPTIONS: list[tuple[str, tuple[type, ...], str]] = [
    ("temperature", (int, float), "float32"),
    ("top_p", (int, float), "float32"),
    ("top_k", (int,), "integer"),
    ("num_ctx", (int,), "integer"),
    ("num_predict", (int,), "integer"),
    ("seed", (int,), "integer"),
]
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _full(name: str) -> str:
    """The name in Ollama's own form: lower case, with a tag."""
    lower = name.lower()
    return lower if ":" in lower.rsplit("/", 1)[-1] or plan_of(name) else f"{lower}:latest"


def _missing(request: Request) -> Stream:
    return plain(404, {"error": f"model '{request.model}' not found"})(request)


def _nested(code: int, message: str, kind: str, **more: Any) -> str:
    """An error of llama-server as Ollama passes it on: JSON inside a string."""
    return orjson.dumps({"error": {"code": code, "message": message, "type": kind, **more}}).decode()


def _details(model: Model | None) -> dict[str, Any]:
    family = model.family if model else "llama"
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "134.52M",
        "quantization_level": "Q4_1",
    }


def _line(request: Request, message: dict[str, Any], done: bool = False, **more: Any) -> bytes:
    said = {"role": "assistant", "content": "", **message}
    return orjson.dumps({"model": request.model, "created_at": _now(), "message": said, "done": done, **more}) + b"\n"


async def _framed(lines: AsyncGenerator[bytes]) -> Stream:
    """The lines as a chunked answer whose head comes with the first of them."""
    begun = False
    try:
        async for line in lines:
            yield (b"" if begun else head(200, NDJSON, "Transfer-Encoding: chunked")) + chunked(line)
            begun = True
    finally:
        await lines.aclose()
    yield LAST_CHUNK


async def _whole(body: bytes) -> bytes:
    return head(200, NDJSON, f"Content-Length: {len(body)}") + body


async def _bare(status: int) -> Stream:
    yield head(status, "text/plain", "Content-Length: 0")


def _seconds(keep_alive: Any) -> float:
    """``keep_alive`` in seconds; negative: for ever."""
    if isinstance(keep_alive, int | float):
        return float(keep_alive)
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", str(keep_alive))
    sign = -1 if str(keep_alive).startswith("-") else 1
    return sign * sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _ns(seconds: float) -> int:
    return max(1, int(seconds * 1e9))
