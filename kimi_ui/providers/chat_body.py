"""The body of an OpenAI-compatible chat answer, from bytes to events, in every dialect gateways speak.

Pure: bytes in, events out, no network and no clock, so every stream ever met can be replayed at it. ``ChatBody`` finds
out by itself what it is given: an event stream, a whole JSON completion, an error body, a web page, nothing. Only an
explicit ``finish_reason`` becomes ``Finish``. What ended badly stands in ``error`` once ``finish`` was called (or
earlier, and then reading on makes no sense); what had come before is in the events.
"""

from __future__ import annotations

from typing import Any

from ..core.events import FIRST_CHUNK, READING_PROMPT, Event, Finish, Flag, Meta, Phase, Usage
from .base import ProviderError
from .errors import Asked, from_payload, simple
from .ndjson import loads
from .sse import BOM, EventStream, RawLine, ServerEvent
from .texts import Texts
from .usage import implausible, read_timings, read_usage

MOST_BAD_EVENTS = 3  # unreadable events that are skipped; one more and the stream is not worth reading
USAGE_STEP_TOKENS = 8  # where every chunk carries usage, it becomes an event only this often
_OTHER_PARTS = ("tool_calls", "function_call", "images", "audio")
_PLAIN_KEYS = frozenset(("role", "content", "reasoning_content", "reasoning", "reasoning_details"))


class ChatBody:
    """One answer's body. ``done``: ``[DONE]`` came; ``finished``: a finish reason came."""

    def __init__(self, asked: Asked, content_type: str = "text/event-stream", texts: Texts | None = None) -> None:
        self.texts = texts or Texts()
        self.error: ProviderError | None = None
        self.done = False
        self.finished = False
        self._asked = asked
        self._is_stream: bool | None = True if "event-stream" in content_type else None
        self._sse = EventStream()
        self._head = b""  # of a body that may be a stream, a completion or a page
        self._started = False
        self._bad = 0
        self._flags: set[str] = set()
        self._meta: dict[str, str] = {}
        self._meta_chunks = 4  # chunks still worth looking at for it
        self._raw_line_seen = b""
        self._usage: Usage | None = None  # the newest, not yet an event
        self._usage_tokens = 0
        self._refusal = ""

    @property
    def over(self) -> bool:
        """Nothing more is wanted: an error, or all the text an attempt may hold."""
        return self.error is not None or bool(self.texts.full)

    def feed(self, data: bytes) -> list[Event]:
        """The events these bytes complete. Never raises."""
        events: list[Event] = []
        if self._is_stream is None:
            data = self._find_out(data)
        if self._is_stream:
            for item in self._sse.feed(data):
                self._item(item, events)
                if self.over:
                    return events
            if self._sse.overflowed:
                self.error = simple("too_large", self._asked)
        return events

    def finish(self, cut: ProviderError | None = None) -> list[Event]:
        """The last events. ``cut``: why the body ended, if not by itself."""
        events: list[Event] = []
        if self._is_stream and not self.over:
            for item in self._sse.finish():
                self._item(item, events)
        elif self._is_stream is None and self.error is None and self._head.strip():
            self._whole_body(events, cut)
        events += self.texts.flush()
        self._last_usage(events)
        if self._refusal:
            events.append(Flag("refusal", self._refusal))
        if self._bad:
            events.append(Flag("skipped_events", str(self._bad)))
        if self.texts.full:
            events.append(Flag("text_limit", self.texts.full))
            events.append(Finish("length"))
        elif self.finished and cut:
            events.append(Flag("cut_after_finish"))
        elif not self.finished and self.error is None:
            self.error = cut or self._unfinished(events)
        if cut and cut.failure.kind != "network":  # reading was given up: no finish makes that good
            self.error = self.error or cut
        return events

    def _unfinished(self, events: list[Event]) -> ProviderError:
        """The stream ended by itself but never said that it was finished."""
        if not self._started and self._raw_line_seen:
            return simple("not_a_stream", self._asked, _title(self._raw_line_seen))
        if not self._started:
            return simple("empty", self._asked, retryable=True)
        if self.done:
            events.append(Flag("no_finish_reason"))
        return simple("unfinished", self._asked, retryable=not self.texts.chars)

    # -- what kind of body is this

    def _find_out(self, data: bytes) -> bytes:
        """Collect until it shows what the body is; returns the bytes of a stream that was found."""
        self._head += data
        start = self._head.removeprefix(BOM).lstrip()[:1]
        if start == b"<":
            self.error = simple("not_a_stream", self._asked, _title(self._head))
        elif start in (b"{", b"["):
            if len(self._head) > self._sse.max_line:
                self.error = simple("too_large", self._asked)
        elif start:
            self._is_stream = True
            return self._head
        return b""

    def _whole_body(self, events: list[Event], cut: ProviderError | None) -> None:
        """A body of one JSON document: a completion the server did not stream, or an error."""
        parsed = loads(self._head.strip())
        if not parsed.ok:
            self.error = cut or simple("protocol", self._asked, self._head[:500].decode("utf-8", "replace"))
            return
        self._start(events)
        value = parsed.value
        if isinstance(value, dict) and isinstance(value.get("choices"), list):
            self._flag(events, "non_streaming")
            self._chunk(value, parsed.surrogates, events)
        else:
            self.error = from_payload(value, self._asked)

    # -- the stream

    def _start(self, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            events.append(Phase(FIRST_CHUNK))

    def _item(self, item: ServerEvent | RawLine, events: list[Event]) -> None:
        if isinstance(item, RawLine):
            self._raw_line(item.line, events)
            return
        data = item[0]
        if len(data) < 16 and data.strip() in (b"", b"[DONE]"):
            if data.strip():
                self.done = True
                self._start(events)
            return
        if not self._started:
            self._start(events)
        value, ok, mended, surrogates = loads(data)
        if mended:
            self._flag(events, "invalid_utf8")
        if self.done:
            self._flag(events, "after_done")
        if type(value) is dict and ok:
            if item[1] == "error" and not value.get("error"):
                self.error = from_payload(value, self._asked)
            else:
                self._chunk(value, surrogates, events)
        elif not self._glued_error(data):
            self._bad += 1
            if self._bad > MOST_BAD_EVENTS:
                self.error = simple("protocol", self._asked, data[:500].decode("utf-8", "replace"))

    def _raw_line(self, line: bytes, events: list[Event]) -> None:
        """A line that is no event. Chutes writes ``{"error": …}`` so, without ``data:``; other lines mean nothing."""
        parsed = loads(line)
        if parsed.ok and isinstance(parsed.value, dict) and _is_error(parsed.value):
            self._start(events)
            self.error = from_payload(parsed.value, self._asked)
        else:
            self._raw_line_seen = self._raw_line_seen or line[:4000]

    def _glued_error(self, data: bytes) -> bool:
        """An event that broke off because an error was written into its middle."""
        place = data.rfind(b'{"error"')
        parsed = loads(data[place:]) if place > 0 else None
        if parsed is None or not parsed.ok:
            return False
        self.error = from_payload(parsed.value, self._asked)
        return True

    def _chunk(self, chunk: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        """One chunk object: meta, text, finish, usage, error, in that order."""
        if self._meta_chunks:
            self._meta_chunks -= 1
            self._read_meta(chunk, events)
        choices = chunk.get("choices")
        choice = _first_choice(choices) if choices else None
        if choice is not None:
            delta = choice.get("delta") or choice.get("message")
            if type(delta) is dict:
                self._delta(delta, surrogates, events)
            reason = choice.get("finish_reason")
            if reason and not self.finished and isinstance(reason, str):
                self._finish_reason(reason, chunk, events)
        usage = chunk.get("usage") or (choice is not None and choice.get("usage"))
        timings = chunk.get("timings")
        if usage or timings:
            self._read_usage(usage, timings, events)
        if (progress := chunk.get("prompt_progress")) and isinstance(progress, dict):
            done, total = progress.get("processed"), progress.get("total")
            if isinstance(done, int) and isinstance(total, int):
                events.append(Phase(READING_PROMPT, done=done, total=total))
        if (choice is None and _is_error(chunk)) or chunk.get("error"):
            self.error = from_payload(chunk, self._asked)

    def _delta(self, delta: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        """The text of one delta. The first reasoning field that holds text counts: several hold the same."""
        texts = self.texts
        content = delta.get("content")
        name = "reasoning_content"
        reasoning = delta.get(name)
        if not reasoning or type(reasoning) is not str:
            name = "reasoning"
            reasoning = delta.get(name)
            if not reasoning or type(reasoning) is not str:
                reasoning = ""
                if details := delta.get("reasoning_details"):
                    name, reasoning = "reasoning_details", _details_text(details)
        if type(content) is list:
            thoughts, content = _parts_text(content)
            if thoughts and not reasoning:
                name, reasoning = "content parts", thoughts
        if surrogates or texts.has_half:
            reasoning = texts.whole(reasoning, "field") if reasoning else ""
            content = texts.whole(content, "content") if content and type(content) is str else ""
        if reasoning:
            if self.finished:
                self._flag(events, "text_after_finish")
            events += texts.reasoning(reasoning, name)
        if content and type(content) is str:
            if self.finished:
                self._flag(events, "text_after_finish")
            events += texts.content(content)
        if not delta.keys() <= _PLAIN_KEYS:
            self._other_parts(delta, events)

    def _other_parts(self, delta: dict[str, Any], events: list[Event]) -> None:
        """What this app did not ask for and cannot show: said, not dropped in silence."""
        for name in _OTHER_PARTS:
            if delta.get(name):
                self._flag(events, name, str(delta[name])[:500])
        if isinstance(refusal := delta.get("refusal"), str):
            self._refusal = (self._refusal + refusal)[:2000]

    def _finish_reason(self, reason: str, chunk: dict[str, Any], events: list[Event]) -> None:
        self.finished = True
        events.append(Finish(reason))
        if reason in ("error", "insufficient_system_resource") and not chunk.get("error"):
            self.error = from_payload({"message": reason}, self._asked)
        elif reason == "content_filter":
            self.error = from_payload({"message": "content_filter"}, self._asked)

    def _read_meta(self, chunk: dict[str, Any], events: list[Event]) -> None:
        """Model, upstream and id, each when it first appears."""
        found = {
            field: value
            for field, key in (("response_model", "model"), ("upstream", "provider"), ("response_id", "id"))
            if field not in self._meta and isinstance(value := chunk.get(key), str) and value
        }
        if found:
            self._meta.update(found)
            events.append(Meta(**{field: text[:200] for field, text in found.items()}))

    # -- usage

    def _read_usage(self, usage: Any, timings: Any, events: list[Event]) -> None:
        """The newest usage replaces earlier ones; it becomes an event now and then, and surely at the end."""
        timings = timings if isinstance(timings, dict) else None
        if isinstance(usage, dict):
            counted = read_usage(usage, timings)
        elif timings:
            counted = read_timings(timings)
        else:
            return
        if counted.suspect:
            self._flag(events, "usage_suspect", counted.suspect)
        self._usage = counted.usage
        tokens = counted.usage.output_tokens or 0
        if tokens >= self._usage_tokens + USAGE_STEP_TOKENS and not self.finished:
            self._usage_tokens = tokens
            step = counted.usage
            events.append(
                Usage(
                    step.input_tokens,
                    step.cached_input_tokens,
                    step.output_tokens,
                    self._reasoning_tokens(step),
                    source=step.source,
                )
            )

    def _reasoning_tokens(self, usage: Usage) -> int | None:
        """0 is no count while reasoning is there to be read (SGLang's stays 0 in streams)."""
        return usage.reasoning_tokens if usage.reasoning_tokens or not self.texts.reasoning_chars else None

    def _last_usage(self, events: list[Event]) -> None:
        if self._usage is None:
            return
        usage, self._usage = self._usage, None
        usage.reasoning_tokens = self._reasoning_tokens(usage)
        events.append(usage)
        if usage.output_tokens is None and self.texts.chars:
            self._flag(events, "usage_suspect", "completion_tokens")
        elif why := implausible(usage, self.texts.reasoning_chars, self.texts.answer_chars):
            self._flag(events, "usage_suspect", why)

    def _flag(self, events: list[Event], name: str, detail: str = "") -> None:
        """A flag once per attempt."""
        if name not in self._flags:
            self._flags.add(name)
            events.append(Flag(name, detail))


def _first_choice(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0 (or none); others were not asked for."""
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and choice.get("index") in (0, None, "0"):
                return choice
    return None


def _is_error(value: dict[str, Any]) -> bool:
    """Whether an object without choices is an error in one of the shapes servers use."""
    if value.get("error") or value.get("object") == "error":
        return True
    return "choices" not in value and (
        "detail" in value or ("message" in value and ("code" in value or "type" in value))
    )


def _details_text(details: Any) -> str:
    """The text of ``reasoning_details``: text and summary elements in order; encrypted ones have none."""
    if not isinstance(details, list):
        return ""
    found = (part.get("text") or part.get("summary") for part in details if isinstance(part, dict))
    return "".join(text for text in found if isinstance(text, str))


def _parts_text(parts: list[Any]) -> tuple[str, str]:
    """Reasoning and answer of a content that is a list of typed parts."""
    thoughts, answer = "", ""
    for part in parts:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            answer += part["text"]
        elif isinstance(inner := part.get("thinking"), str):
            thoughts += inner
        elif isinstance(inner, list):
            thoughts += _parts_text(inner)[1]
    return thoughts, answer


def _title(body: bytes) -> str:
    text = body[:4000].decode("utf-8", "replace")
    start = text.lower().find("<title>")
    return text[start + 7 :].split("<", 1)[0].strip() if start >= 0 else text[:200].strip()
