"""The body of an Ollama ``/api/chat`` answer, from bytes to events.

One JSON object to a line: ``message.thinking`` and ``message.content`` as text, at the end ``done`` with the reason and
the counters. An ``error`` line may come at any time though the HTTP status was 200.
Source: docs/api.md and api/types.go of ollama/ollama.
"""

from __future__ import annotations

from typing import Any

from ...core.events import Event
from ..base import ProviderError
from ..errors import Target, simple
from ..http.stream_body import StreamBody, meta
from ..http.text_splitter import Texts
from ..http.wire import JsonLines, loads
from ..usage import read_counters
from .waiting import Waits

MOST_REPEATED = 30  # Ollama ends the stream once a token was repeated so often (llm/server.go)


class OllamaBody(StreamBody):
    """One answer's body. ``waits`` learns when it begins, and takes the waits out of the counters."""

    def __init__(self, target: Target, texts: Texts | None = None, waits: Waits | None = None) -> None:
        super().__init__(target, texts)
        self._waits = waits
        self._lines = JsonLines()
        self._token, self._n_repeated = "", 0  # the newest piece of text without blanks, and how often it was repeated

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        for line in self._lines.feed(data):
            self._line(line, events)
            if self.over:
                return events
        if self._lines.overflowed:
            self.error = simple("too_large", self._target)
        return events

    def _rest(self, events: list[Event], cut: ProviderError | None) -> None:
        for line in self._lines.finish():
            if cut is None or loads(line).ok:  # half a line says nothing
                self._line(line, events)
        whole = loads(bytes(self._stray))  # one document over many lines
        if not self._started and whole.ok and type(whole.value) is dict:
            self._object(whole.value, whole.surrogates, events)

    def _line(self, line: bytes, events: list[Event]) -> None:
        value, ok, repaired, surrogates = loads(line)
        if repaired:
            self._flag(events, "invalid_utf8")
        if not ok and not self._started and line.startswith(b"<"):
            self.error = self._no_stream(line)
        elif not ok or type(value) is not dict:
            self._keep(line)
            self._skip(line)
        else:
            self._object(value, surrogates, events)

    def _object(self, value: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        if not self._started:
            self._start(events)
            if self._waits:
                self._waits.first_line()
            if found := meta(response_model=value.get("model")):
                events.append(found)
        message = value.get("message")
        if type(message) is dict:
            self._message(message, surrogates, events)
        if value.get("done") is True and not self.finished:
            self._done(value, events)
        if value.get("error"):
            self._failed(value)

    def _message(self, message: dict[str, Any], surrogates: bool, events: list[Event]) -> None:
        texts = self.texts
        found = message.get("thinking"), message.get("content")
        thinking, content = (text if type(text) is str else "" for text in found)
        if self.finished and (thinking or content):
            self._flag(events, "text_after_finish")
        if thinking:
            self._repeated(thinking)
            if surrogates or texts.has_half:
                thinking = texts.whole(thinking, "field")
            events += texts.reasoning(thinking, "thinking")
        if content:
            self._repeated(content)
            if surrogates or texts.has_half:
                content = texts.whole(content, "content")
            events += texts.content(content)
        if calls := message.get("tool_calls"):
            self._flag(events, "tool_calls", str(calls)[:500])

    def _repeated(self, text: str) -> None:
        token = text.strip()
        self._n_repeated = self._n_repeated + 1 if token == self._token else 0
        self._token = token

    def _unfinished(self, events: list[Event]) -> ProviderError:
        if self._n_repeated >= MOST_REPEATED:
            return simple("repeats", self._target, f"{self._token[:40]!r}, {self._n_repeated + 1} times")
        return super()._unfinished(events)

    def _done(self, value: dict[str, Any], events: list[Event]) -> None:
        """The last line. Without a reason and without counters it only means that the runner's connection closed."""
        counted = read_counters(value)
        split = self._waits.split(counted.usage) if self._waits else counted.usage
        if split.prompt_ns is None and counted.usage.prompt_ns is not None:
            self._flag(events, "prompt_time_unknown", str(counted.usage.prompt_ns))
        self._counted(counted._replace(usage=split), events)
        if self._waits and (gone := self._waits.unloaded()):
            took_ms = "" if split.load_ns is None else str(split.load_ns // 1_000_000)
            names = sorted({name for name, _ in gone})
            self._flag(events, "reloaded", " ".join([self._waits.model, took_ms, *names]))
        reason = value.get("done_reason")
        reason = reason if isinstance(reason, str) else ""
        usage = self._usage
        self.closing = True
        if reason in ("load", "unload"):
            self.error = simple("empty", self._target, f"done_reason {reason}")
        elif reason or (usage and usage.output_tokens):
            self._end(reason or "stop", events)
