"""What the body of any streamed answer has in common, whatever its wire: limits, flags, usage, and how it ends.

Only an explicit finish makes an answer whole. ``finish`` looks at how the body ended and leaves in ``error`` what went
wrong; the text that had come is in the events all the same. Pure: bytes in, events out, no network and no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ...core.events import FIRST_CHUNK, Event, Finish, Flag, Meta, Phase, Usage
from ..base import ProviderError
from ..errors import Target, from_payload, simple
from ..usage import LEAST_REST, Counted, explained, implausible, merged, unexplained
from .text_splitter import Texts
from .wire import MAX_LINE

# The words of other servers, which gateways hand on, for the two reasons that have a meaning here.
_REASONS = {
    "stop": "stop_sequence end_turn eos eos_token complete completed done",  # Anthropic, TGI, Cohere
    "length": "max_tokens max_output_tokens model_length token_limit max_length",  # Anthropic, Google, Mistral
    "content_filter": "safety recitation blocklist prohibited_content spii sensitive refusal",  # Google, GLM, Anthropic
    "error": "network_error",  # GLM
}
_SAME_AS = {word: reason for reason, words in _REASONS.items() for word in words.split()}
# OpenRouter, OpenAI, DeepSeek; vLLM and SGLang when they shut down
ERROR_REASONS = ("error", "content_filter", "insufficient_system_resource", "abort")
MOST_BAD = 3  # unreadable pieces that are skipped; after one more, reading is given up


class StreamBody(ABC):
    """One answer's body. Subclasses read bytes in ``feed`` and say in ``_rest`` what the end leaves them to read.

    ``finished``: the server said that it is finished. ``closing``: nothing more is expected, only perhaps comes.
    """

    def __init__(self, target: Target, texts: Texts | None = None) -> None:
        self.texts = texts or Texts()
        self.error: ProviderError | None = None
        self.finished = False
        self.closing = False
        self._target = target
        self._started = False
        self._bad = 0
        self._stray = bytearray()  # lines that came before any stream began, perhaps instead of one
        self._flags: set[str] = set()
        self._usage: Usage | None = None  # as known so far, not yet an event
        self._reading = ""  # which part the server counts apart

    @property
    def over(self) -> bool:
        """Nothing more is wanted: an error, or all the text an attempt may hold."""
        return self.error is not None or bool(self.texts.full)

    @abstractmethod
    def feed(self, data: bytes) -> list[Event]:
        """The events these bytes complete. Never raises."""

    @abstractmethod
    def _rest(self, events: list[Event], cut: ProviderError | None) -> None:
        """Read what the end of the body left open."""

    def finish(self, cut: ProviderError | None = None) -> list[Event]:
        """The last events. ``cut``: why the body ended, if it was cut off."""
        events: list[Event] = []
        if not self.over:
            self._rest(events, cut)
        events += self.held()
        if self._bad and self._started:
            events.append(Flag("skipped_pieces", str(self._bad)))
        if self.texts.full:
            events += [Flag("text_limit", self.texts.full), Finish("length")]
        elif cut and cut.failure.kind != "network":  # reading was given up: no finish makes that good
            self.error = self.error or cut
        elif self.finished and cut:
            events.append(Flag("cut_after_finish"))
        elif not self.finished and self.error is None:
            self.error = cut or self._unfinished(events)
        return events

    def held(self) -> list[Event]:
        """What was held back: text that could have become a tag, and the newest usage. Nothing is held after that."""
        events = self.texts.flush()
        self._last_usage(events)
        return events

    def _unfinished(self, events: list[Event]) -> ProviderError:
        """The body ended without a finish reason."""
        if not self._started and self._stray:
            return self._no_stream(bytes(self._stray))
        if not self._started:
            return simple("empty", self._target, retryable=True)
        return simple("unfinished", self._target, retryable=not self.texts.chars)

    def _no_stream(self, body: bytes) -> ProviderError:
        """What a body is that holds neither a stream nor a document this app can read."""
        start = body.lstrip()[:1]
        kind = "not_a_stream" if start == b"<" else "protocol" if start in (b"{", b"[") else "words"
        return simple(kind, self._target, title(body))

    def _failed(self, payload: Any) -> None:
        """The server says that it failed, in whatever shape."""
        self.error = from_payload(payload, self._target, streaming=self._started)

    def _keep(self, line: bytes) -> None:
        """A line that is no part of a stream; before one has begun it may be part of what came instead."""
        if not self._started:
            self._stray += line + b"\n"
            if len(self._stray) > MAX_LINE:
                self.error = simple("too_large", self._target)

    def _start(self, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            events.append(Phase(FIRST_CHUNK))

    def _end(self, reason: str, events: list[Event]) -> None:
        """The server's finish; the first one counts. Some reasons are errors."""
        if self.finished:
            return
        self.finished = True
        word = finish_word(reason)
        events.append(Finish(word))
        if word == "content_filter" and self.texts.chars:
            self.error = simple("filtered", self._target, reason)
        elif word in ERROR_REASONS:
            self._failed({"message": reason})

    def _skip(self, data: bytes) -> None:
        """Count a piece that cannot be read."""
        self._bad += 1
        if self._bad > MOST_BAD and self._started:
            self.error = simple("protocol", self._target, data[:500].decode("utf-8", "replace"))

    def _flag(self, events: list[Event], name: str, detail: str = "") -> None:
        """A flag once per attempt."""
        if name not in self._flags:
            self._flags.add(name)
            events.append(Flag(name, detail))

    def _counted(self, counted: Counted, events: list[Event]) -> None:
        """What this usage knows replaces what was known; it becomes an event at the end."""
        if counted.suspect:
            self._flag(events, "usage_suspect", counted.suspect)
        self._reading = counted.reading or self._reading
        self._usage = merged(self._usage, counted.usage)

    def _last_usage(self, events: list[Event]) -> None:
        if self._usage is None:
            return
        usage, texts = self._usage, self.texts
        if not usage.reasoning_tokens and texts.reasoning_chars:
            usage.reasoning_tokens = None  # 0 cannot be right while there is reasoning to read
        self._read_total(usage, events)
        events.append(usage)
        if usage.output_tokens is None and texts.chars:
            self._flag(events, "usage_suspect", "no output tokens")
        elif why := implausible(usage, texts.reasoning_chars, texts.answer_chars):
            self._flag(events, "usage_suspect", why)

    def _read_total(self, usage: Usage, events: list[Event]) -> None:
        """Say which reading of the server's counts was taken, and take the one that the text explains."""
        rest = unexplained(usage.raw, usage.input_tokens, usage.output_tokens)
        if self._reading == "cached_apart":
            self._flag(events, self._reading, str(usage.input_tokens))
        elif self._reading:
            self._flag(events, self._reading, str(usage.output_tokens))
        elif usage.output_tokens and explained(usage, self.texts.reasoning_chars, self.texts.answer_chars):
            usage.output_tokens, usage.reasoning_tokens = usage.output_tokens + rest, rest
            self._flag(events, "reasoning_apart", str(usage.output_tokens))
        elif rest >= LEAST_REST:
            self._flag(events, "usage_total", str(rest))


def finish_word(reason: str) -> str:
    """A finish reason in OpenAI's words, where it has one."""
    word = reason.strip().lower()
    return _SAME_AS.get(word, word)


def meta(response_model: object = None, upstream: object = None, response_id: object = None) -> Meta | None:
    """What the response says of itself, as far as it is text; None if nothing is."""
    found = Meta(_word(response_model), _word(upstream), _word(response_id))
    return found if found != Meta() else None


def _word(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def title(body: bytes) -> str:
    """The title of a web page, or the beginning of what came."""
    text = body[:4000].decode("utf-8", "replace")
    start = text.lower().find("<title>")
    return text[start + 7 :].split("<", 1)[0].strip() if start >= 0 else text[:200].strip()
