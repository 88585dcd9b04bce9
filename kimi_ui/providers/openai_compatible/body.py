"""The body of an OpenAI-compatible chat answer, from bytes to events, in every dialect that gateways speak.

``ChatBody`` finds out what it is given, whatever its header says: an event stream, lines of JSON, a whole completion,
an error body, a web page, plain words, nothing. Reasoning is read from ``reasoning_content`` (Moonshot, DeepSeek,
SGLang, llama.cpp), else ``reasoning`` (vLLM, OpenRouter, Ollama), else ``reasoning_details`` (OpenRouter), else from
templates inside the content; several fields in one delta hold the same text, so only the first counts. Usage is read
from the chunk, else from its choice (Moonshot), else from llama.cpp's ``timings``.

Text that a server sends twice is shown once: a ``message`` beside or behind the deltas holds the answer so far, and
only what it adds counts; so does a last delta that is the whole answer again. A finish reason before any answer text
ends nothing (some servers put one on every chunk of reasoning); the answer's own counts, or the end of the stream.
"""

from __future__ import annotations

from typing import Any

from ...core.events import READING_PROMPT, Event, Flag, Phase, Usage
from ..base import ProviderError
from ..errors import Target, simple
from ..http.stream_body import ERROR_REASONS, StreamBody, finish_word, meta, title
from ..http.text_splitter import Texts
from ..http.wire import BOM, RawLine, ServerEvent, ServerEvents, loads, objects_of
from ..usage import read_timings, read_usage

USAGE_STEP_TOKENS = 8  # where every chunk carries usage (Chutes), it becomes an event only this often
_OTHER_PARTS = ("tool_calls", "function_call", "images", "audio")
_PLAIN_KEYS = frozenset(("role", "content", "reasoning_content", "reasoning", "reasoning_details"))
# Most chunks have none of these keys, as one comparison shows.
_RARE_IN_CHUNK = frozenset(("usage", "timings", "prompt_progress", "error", "base_resp"))
_RARE_IN_CHOICE = frozenset(("message", "text", "usage", "finishReason", "done_reason"))
_ANSWER_KEYS = frozenset(("role", "content"))
_REASONING_KEYS = ("reasoning_content", "reasoning")
_FINISH_KEYS = ("finish_reason", "finishReason", "done_reason")
_DONE = (b"[DONE]", b'"[DONE]"', b"[done]", b"DONE")
LEAST_REPEATED = 16  # characters; a shorter last delta that equals the answer may be intended, not a repetition


class ChatBody(StreamBody):
    """One answer's body; ``content_type`` is what its header claims."""

    def __init__(self, target: Target, content_type: str = "text/event-stream", texts: Texts | None = None) -> None:
        super().__init__(target, texts)
        self._is_stream: bool | None = True if "event-stream" in content_type else None
        self._sse = ServerEvents()
        self._head = b""  # of a body that may be a stream, a completion or a page
        self._unknown = {"model": "response_model", "provider": "upstream", "id": "response_id"}  # not reported yet
        self._usage_tokens = 0
        self._progress: tuple[Any, Any] = (None, None)
        self._refusal = ""
        self._early = ""  # a finish reason that received before any answer text
        self._received: dict[str, list[str]] = {"content": [], "reasoning": []}  # as the deltas brought it

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._is_stream is None:
            data = self._find_out(data)
        if self._is_stream:
            for item in self._sse.feed(data):
                self._item(item, events)
                if self.error or self.texts.full:  # ``over``, without a call for each token
                    return events
            if self._sse.overflowed:
                self.error = simple("too_large", self._target)
        return events

    def _rest(self, events: list[Event], cut: ProviderError | None) -> None:
        if self._is_stream:
            for item in self._sse.finish():
                self._item(item, events)
        body = bytes(self._stray) if self._is_stream else self._head.removeprefix(BOM)
        if not self._started and body.strip():
            self._whole_body(body, events, cut)
        if self._refusal:
            events.append(Flag("refusal", self._refusal))
        if self._early and cut is None and (self.closing or not self.texts.answered):
            super()._end(self._early, events)

    def _end(self, reason: str, events: list[Event]) -> None:
        word = finish_word(reason)
        if self.texts.answered or self.finished or word in ERROR_REASONS:
            super()._end(reason, events)
        else:
            self._early = self._early or word

    def _unfinished(self, events: list[Event]) -> ProviderError:
        if self.closing:
            events.append(Flag("no_finish_reason"))  # [DONE] alone
        return super()._unfinished(events)

    # -- what kind of body is this

    def _find_out(self, data: bytes) -> bytes:
        """Collect until it shows what the body is; returns the bytes of a stream that was found."""
        self._head += data
        start = self._head.removeprefix(BOM).lstrip()[:1]
        if start == b"<":
            self.error = simple("not_a_stream", self._target, title(self._head))
        elif start in (b"{", b"["):
            if len(self._head) > self._sse.max_line:
                self.error = simple("too_large", self._target)
            elif _is_chunk_line(self._head.removeprefix(BOM).lstrip()):
                self._is_stream = True
                return self._head
        elif start:
            self._is_stream = True
            return self._head
        return b""

    def _whole_body(self, body: bytes, events: list[Event], cut: ProviderError | None) -> None:
        """A body that is no stream: a completion the server did not stream, an error, or something else."""
        parsed = loads(body.strip())
        if not parsed.ok or not isinstance(parsed.value, dict | list):
            self.error = cut or self._no_stream(body)
        elif isinstance(parsed.value, dict) and isinstance(parsed.value.get("choices"), list):
            self._start(events)
            self._flag(events, "non_streaming")
            self._chunk(parsed.value, parsed.surrogates, events)
        else:
            self._failed(parsed.value)
            self._start(events)

    # -- the stream

    def _item(self, item: ServerEvent | RawLine, events: list[Event]) -> None:
        if isinstance(item, RawLine):
            self._raw_line(item.line, events)
            return
        data, name = item
        if len(data) < 16 and name != "error" and ((word := data.strip()) in _DONE or not word):
            if word:
                self._start(events)
                self.closing = True
            return
        if not self._started:
            self._start(events)
        if self.closing:
            self._flag(events, "after_done")
        if self._sse.unseparated:
            self._flag(events, "unseparated_events")
        value, ok, repaired, surrogates = loads(data)
        if repaired:
            self._flag(events, "invalid_utf8")
        is_object = ok and type(value) is dict
        if name == "error" and not (is_object and value.get("error")):
            self._failed(value if ok else data.decode("utf-8", "replace"))
        elif is_object:
            self._chunk(value, surrogates, events)
        elif not self._glued(data, events) and not self._glued_error(data, events):
            self._skip(data)

    def _raw_line(self, line: bytes, events: list[Event]) -> None:
        """A line without ``data:``: a chunk all the same, an error (Chutes writes it so), or nothing."""
        parsed = loads(line)
        if parsed.ok and isinstance(parsed.value, dict) and self._is_raw_chunk(parsed.value):
            self._start(events)
            self._flag(events, "unseparated_events")
            self._chunk(parsed.value, parsed.surrogates, events)
        elif parsed.ok and isinstance(parsed.value, dict) and _is_error(parsed.value):
            self._failed(parsed.value)
            self._start(events)
        elif line.strip() in _DONE and self._started:
            self.closing = True
        else:
            self._keep(line)

    def _is_raw_chunk(self, value: dict[str, Any]) -> bool:
        """Not so a completion on one line: it is the whole body."""
        choice = _first_choice(value.get("choices"))
        return _is_chunk(value) and (self._started or (choice is not None and "delta" in choice))

    def _glued(self, data: bytes, events: list[Event]) -> bool:
        """Several chunks on one line, or one behind a second ``data:``."""
        objects = objects_of(data)
        if not any(map(_is_chunk, objects)):
            return False
        self._flag(events, "unseparated_events")
        for value in objects:
            self._chunk(value, b"\\ud" in data.lower(), events)
            if self.over:
                break
        if data.rstrip().endswith(b"[DONE]"):
            self.closing = True
        return True

    def _glued_error(self, data: bytes, events: list[Event]) -> bool:
        """An event, whole or broken off, with an error written behind it on the same line."""
        place = data.rfind(b'{"error"')
        parsed = loads(data[place:]) if place > 0 else None
        if parsed is None or not parsed.ok:
            return False
        before = loads(data[:place])
        if before.ok and type(before.value) is dict:
            self._chunk(before.value, before.surrogates, events)
        self._failed(parsed.value)
        return True

    def _chunk(self, chunk: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        """One chunk object: meta, text, finish, usage, error, in that order."""
        keys = chunk.keys()
        if not keys.isdisjoint(self._unknown):
            self._read_meta(chunk, events)
        choices = chunk.get("choices")
        choice = _first_choice(choices) if choices else None
        is_plain = False
        if choice is not None:
            is_plain = choice.keys().isdisjoint(_RARE_IN_CHOICE)
            reason = _finish_reason(choice) if not is_plain or choice.get("finish_reason") else ""
            delta = choice.get("delta")
            if type(delta) is dict:
                self._delta(delta, surrogates, events, is_last=bool(reason))
            if not is_plain:
                self._whole_text(choice, surrogates, events)
            if reason:
                self._end(reason, events)
        if not (is_plain and keys.isdisjoint(_RARE_IN_CHUNK)):
            self._beside(chunk, choice, events)

    def _whole_text(self, choice: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        """Text that is not in a delta."""
        if type(message := choice.get("message")) is dict:
            self._message(message, surrogates, events)
        elif "delta" not in choice and type(text := choice.get("text")) is str:  # a completion of the older kind
            self._delta({"content": text}, surrogates, events)

    def _beside(self, chunk: dict[str, Any], choice: dict[str, Any] | None, events: list[Event]) -> None:
        """What a chunk holds beside the text: usage, progress, an error."""
        usage = chunk.get("usage") or (choice is not None and choice.get("usage"))
        timings = chunk.get("timings")
        if usage or timings:
            self._read_usage(usage, timings, events)
        if isinstance(progress := chunk.get("prompt_progress"), dict):
            self._read_progress(progress.get("processed"), progress.get("total"), events)
        if (
            chunk.get("error")
            or ("base_resp" in chunk and _minimax_failed(chunk))
            or (choice is None and _is_error(chunk))
        ):
            self._failed(chunk)

    def _message(self, message: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        """A message is the answer so far, or all of it: what the deltas brought before counts once."""
        rest = dict(message)
        names = (
            "content",
            next((key for key in _REASONING_KEYS if type(message.get(key)) is str and message[key]), ""),
        )
        for part, name in zip(("content", "reasoning"), names, strict=True):
            text, received = message.get(name), self._so_far(part)
            if type(text) is list and received and name == "content":
                rest.pop(name)
            if type(text) is not str or not received:
                continue
            rest[name] = text[len(received) :] if text.startswith(received) else ""
            if not text.startswith(received) and not (received.startswith(text) or text.strip() in received):
                self._flag(events, "message_differs", str(len(text)))
        if self._so_far("reasoning"):
            rest.pop("reasoning_details", None)
            for other in _REASONING_KEYS:
                if other != names[1]:
                    rest.pop(other, None)
        self._delta(rest, surrogates, events)

    def _so_far(self, part: str) -> str:
        pieces = self._received[part]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""

    def _delta(self, delta: dict[str, Any], surrogates: bool, events: list[Event], is_last: bool = False) -> None:
        """The text of one delta. ``is_last``: it comes with a finish reason."""
        texts = self.texts
        content, reasoning, name = delta.get("content"), "", ""
        if not delta.keys() <= _ANSWER_KEYS:
            for name in _REASONING_KEYS:
                if (found := delta.get(name)) and type(found) is str:
                    reasoning = found
                    break
            else:
                if details := delta.get("reasoning_details"):
                    name, reasoning = "reasoning_details", _details_text(details)
        if type(content) is list:
            thoughts, content = _parts_text(content)
            if thoughts and not reasoning:
                name, reasoning = "content parts", thoughts
        if is_last and type(content) is str and len(content) >= LEAST_REPEATED and content == self._so_far("content"):
            self._flag(events, "repeated_answer")
            content = ""
        if self._early and (reasoning or content):
            self._flag(events, "text_after_finish")
        if type(content) is not str:
            content = ""
        if reasoning:
            self._received["reasoning"].append(reasoning)
        if content:
            self._received["content"].append(content)
        if surrogates or texts.has_half:
            reasoning = texts.whole(reasoning, "field") if reasoning else ""
            content = texts.whole(content, "content") if content else ""
        if self.finished and (reasoning or content):
            self._flag(events, "text_after_finish")
        if reasoning:
            events += texts.reasoning(reasoning, name)
        if content:
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

    def _read_meta(self, chunk: dict[str, Any], events: list[Event]) -> None:
        """Model, upstream and id, each when it first appears."""
        new = {name: chunk[key] for key, name in self._unknown.items() if chunk.get(key)}
        if found := meta(**new):
            self._unknown = {key: name for key, name in self._unknown.items() if getattr(found, name) is None}
            events.append(found)

    def _read_progress(self, done: Any, total: Any, events: list[Event]) -> None:
        """llama.cpp's prefill, each time its numbers change."""
        if isinstance(done, int) and isinstance(total, int) and (done, total) != self._progress:
            self._progress = done, total
            events.append(Phase(READING_PROMPT, done=done, total=total))

    def _read_usage(self, usage: Any, timings: Any, events: list[Event]) -> None:
        timings = timings if isinstance(timings, dict) else None
        if isinstance(usage, dict):
            self._counted(read_usage(usage, timings), events)
        elif timings:
            self._counted(read_timings(timings), events)
        step = self._usage
        if step is None or self.finished or (step.output_tokens or 0) < self._usage_tokens + USAGE_STEP_TOKENS:
            return
        self._usage_tokens = step.output_tokens or 0
        reasoning = step.reasoning_tokens or None
        events.append(
            Usage(step.input_tokens, step.cached_input_tokens, step.output_tokens, reasoning, source=step.source)
        )


def _first_choice(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0 (or none); others were not requested."""
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and choice.get("index") in (0, None, "0"):
                return choice
    return None


def _finish_reason(choice: dict[str, Any]) -> str:
    words = (choice.get(key) for key in _FINISH_KEYS)
    return next((word for word in words if word and isinstance(word, str)), "")


def _is_chunk(value: dict[str, Any]) -> bool:
    return type(value.get("choices")) is list


def _is_chunk_line(body: bytes) -> bool:
    """Whether the body begins with a line that is a whole chunk: lines of JSON, not one document."""
    line, end, _ = body.partition(b"\n")
    if not end or b'"delta"' not in line:
        return False
    value = loads(line).value
    return type(value) is dict and _is_chunk(value)


def _minimax_failed(value: dict[str, Any]) -> bool:
    """MiniMax says in ``base_resp`` how it went, whatever the HTTP status; 0 is well."""
    base_resp = value.get("base_resp")
    return isinstance(base_resp, dict) and base_resp.get("status_code") not in (0, None, "0")


def _is_error(value: dict[str, Any]) -> bool:
    """Whether an object without choices is an error in one of the shapes servers use."""
    if value.get("error") or value.get("object") == "error" or value.get("success") is False or _minimax_failed(value):
        return True
    if not value.get("choices") and (value.get("error_code") or value.get("error_msg")):
        return True
    return "choices" not in value and (
        "detail" in value
        or isinstance(value.get("message"), str)
        or ("message" in value and ("code" in value or "type" in value))
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
        if isinstance(text := part.get("text"), str):
            if any(word in str(part.get("type")) for word in ("think", "reason")):
                thoughts += text
            else:
                answer += text
        elif isinstance(inner := part.get("thinking"), str):
            thoughts += inner
        elif isinstance(inner, list):
            thoughts += _parts_text(inner)[1]
    return thoughts, answer
