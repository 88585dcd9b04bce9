"""What went wrong, in plain words: statuses, error bodies and exceptions of a model server → ``ProviderError``.

Each failure gets a kind of ``ERROR_KINDS``, one sentence, a remedy and, where one helps, a line to copy. Nothing a
person reads holds a key: every text passes ``scrub``. ``RULES`` is the table of what servers say; the first row that
fits decides, and its last rows look at the status alone.
"""

from __future__ import annotations

import ast
import html
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..core.events import Failure
from ..core.lane import host_of
from .base import ProviderError
from .error_rules import NO_KEY_NAMED, RULES, ErrorRule
from .http.proxies import proxy_for
from .http.wire import loads

MOST_DETAIL = 2000  # characters of the server's own words that are kept
MOST_RETRY_AFTER_S = 60.0
_KEY_LIKE = re.compile(r"\b(?:sk|cpk|gsk|rk|key|api)[-_][A-Za-z0-9_.\-]{12,}")
_BEARER = re.compile(r"(?i)\bbearer\s+[^\s\"',}]+")
_USERINFO = re.compile(r"(://)[^/\s@\"']+@")
_ENDPOINT = re.compile(r"/(?:chat/completions|completions|models|responses|chat)\Z")
_VERSION = re.compile(r"/v\d+\w*(?:/|\Z)|/openai\b|/api/paas\b")
_GATEWAYS = (
    ("chutes.ai", "Chutes"),
    ("openrouter.ai", "OpenRouter"),
    ("moonshot.", "Moonshot"),
    ("openai.com", "OpenAI"),
    ("groq.com", "Groq"),
)


@dataclass(frozen=True)
class ServerWords:
    """What sentences say of a kind of server: its name (empty: the gateway's, or the host), what its base_url looks
    like, what to do where it cannot be reached, and the rows for its own words, which are tried before ``RULES``."""

    name: str = ""
    path: str = "it usually ends in /v1"
    has_path: bool = True
    remedy: str = ""
    command: str = ""
    rules: tuple[ErrorRule, ...] = ()


@dataclass(frozen=True)
class Target:
    """The server and model a request goes to: what a sentence about a failure needs. ``secrets`` must never show."""

    base_url: str
    model: str = ""
    key_env: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    server: ServerWords = ServerWords()

    @property
    def host(self) -> str:
        """Host and port, without credentials."""
        return host_of(self.base_url) or self.base_url

    @property
    def gateway(self) -> str:
        """The service's name where it is known, else its host."""
        if self.server.name:
            return self.server.name
        host = self.host.lower()
        return next((name for part, name in _GATEWAYS if part in host), self.host)

    @property
    def address_words(self) -> str:
        """What to do about a base_url with nothing behind it: the corrected line where one is likely."""
        parts = urlsplit(self.base_url)
        origin = f"{parts.scheme}://{self.host}"
        if not self.server.has_path:
            if parts.path.strip("/"):
                return f'{self.server.name}\'s address has no path: write base_url = "{origin}".'
            return f"Check base_url ({self.server.path}) and that {self.server.name} is what runs there."
        path = _ENDPOINT.sub("", parts.path.rstrip("/"))
        path = re.sub(r"(/v\d+\w*)(?:/v\d+\w*)+\Z", r"\1", path)
        if not _VERSION.search(path):
            path += "/v1"
        if path != parts.path.rstrip("/"):
            return f'Most servers answer under /v1: write base_url = "{origin}{path}".'
        return "Check base_url: most end in /v1, once, and without /chat/completions."


def scrub(text: str, secrets: tuple[str, ...] = ()) -> str:
    """``text`` without keys, bearer tokens and URL credentials, at most ``MOST_DETAIL`` characters."""
    for secret in secrets:
        if len(secret) >= 6:  # shorter ones are dummies, and replacing them would tear the text
            text = text.replace(secret, "[key]")
    text = _KEY_LIKE.sub("[key]", _BEARER.sub("Bearer [key]", _USERINFO.sub(r"\1", text)))
    return text if len(text) <= MOST_DETAIL else text[: MOST_DETAIL - 1] + "…"


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds the server asks to wait (``retry-after-ms``, ``retry-after`` in seconds or as an HTTP date).

    At most ``MOST_RETRY_AFTER_S``; None where there is nothing, or nothing that makes sense.
    """
    value = headers.get("retry-after", "")
    found = (_number(headers.get("retry-after-ms", ""), 1000), _number(value), _seconds_until(value, now))
    seconds = next((seconds for seconds in found if seconds is not None), None)
    return None if seconds is None else min(seconds, MOST_RETRY_AFTER_S)


def _number(text: str, per_second: float = 1.0) -> float | None:
    """The text as seconds; None for a negative number, NaN and anything else."""
    try:
        seconds = float(text) / per_second
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def _seconds_until(date: str, now: datetime | None) -> float | None:
    """From ``now`` to an HTTP date, 0 if that is past."""
    try:
        when = parsedate_to_datetime(date)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


# Where servers put their words, best first. A dict or a list under one of them is an envelope, however deep.
_WORD_KEYS = (
    *("error", "detail", "message", "msg", "errors", "fault", "title"),
    *("error_description", "error_msg", "faultstring", "status_msg", "base_resp"),  # OAuth, Baidu, Apigee, MiniMax
    *("type", "code", "error_code", "status_code", "param", "loc", "provider_name", "raw", "metadata"),
    "quota_reset_timestamp",
)
_MARKS = ("signin_url",)  # keys that say something by being there; their values are not shown
_STATUS_KEYS = ("code", "status", "status_code", "http_status")
_NUMBERS = ("limit", "need")  # groups of a rule's pattern that are numbers
_MOST_DEPTH = 8


def words_of(body: Any, depth: int = 0) -> str:
    """The server's own words out of an error in any envelope: message, type, code, field, the upstream's text."""
    return " · ".join(dict.fromkeys(_words(body, depth)))


def _words(body: Any, depth: int) -> list[str]:
    if depth > _MOST_DEPTH or isinstance(body, bool | None):
        return []
    if isinstance(body, str):
        text = body.strip()
        before, inner, after = _unwrapped(text)  # gateways hand on what their upstream said as a string
        if found := _words(inner, depth + 1):
            return [part for part in (before, *found, after) if part]
        return [text] if text else []
    if isinstance(body, int | float):
        return [str(body)] if depth else []
    if isinstance(body, list):
        if depth and body and all(isinstance(part, str | int) and "{" not in str(part) for part in body):
            # FastAPI's place of a field
            return [".".join(map(str, body))]
        return ["; ".join(filter(None, (words_of(part, depth + 1) for part in body[:5])))]
    if not isinstance(body, dict):
        return []
    marks = [mark for mark in _MARKS if body.get(mark)]
    return [words for key in _WORD_KEYS if key in body for words in _words(body[key], depth + 1) if words] + marks


def _unwrapped(text: str) -> tuple[str, Any, str]:
    """An object written inside a text, as JSON or as Python prints it, with the words before and after it.

    A text that is a JSON document as a whole is that document. None where there is nothing that reads as one.
    """
    whole = loads(text.encode("utf-8", "replace")) if text[:1] in ("{", "[") else None
    if whole and whole.ok:
        return "", whole.value, ""
    start = text.find("{")
    if start < 0:
        return "", None, ""
    try:
        inner, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        end = text.rfind("}") + 1
        try:  # "Error code: 400 - {'error': {'message': …}}" (the openai client, LiteLLM)
            inner = ast.literal_eval(text[start:end])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return "", None, ""
    return text[:start].rstrip(" :-"), inner, text[end:].lstrip(" .,;")


def _status_of(payload: Any, depth: int = 0) -> int:
    """The HTTP status an error names, the outermost first and however deep it is nested; 0 if it names none."""
    if isinstance(payload, str):
        payload = _unwrapped(payload.strip())[1]
    if not isinstance(payload, dict) or depth > _MOST_DEPTH:
        return 0
    for key in _STATUS_KEYS:
        code = payload.get(key)
        if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code):
            code = int(code)
        if type(code) is int and 400 <= code < 600:
            return code
    inner = (_status_of(payload[key], depth + 1) for key in _WORD_KEYS if key in payload)
    return next((status for status in inner if status), 0)


def from_status(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
    """The error an HTTP status other than 2xx stands for. ``body`` may be cut short."""
    parsed = loads(body)
    words = words_of(parsed.value) if parsed.ok else _readable(body)
    if 300 <= status < 400:
        to = urlsplit(headers.get("location", "")).netloc.rpartition("@")[2]
        return _error(
            "redirect",
            f"{target.gateway} redirects the request{f' to {to}' if to else ''}, and redirects are not followed.",
            "Set the lane's base_url to the address that answers without a redirect.",
            target,
            words,
            status,
        )
    return _by_rule(status, words, target, retry_after_s(headers))


def from_payload(payload: Any, target: Target, streaming: bool = False) -> ProviderError:
    """The error a body or a stream reports with HTTP status 200, in whatever shape.

    ``streaming``: the stream had begun. Then a 404 in it is another server's, behind the one of the request.
    """
    inner = payload.get("error", payload) if isinstance(payload, dict) else payload
    if isinstance(inner, bool | None):
        inner = payload
    status = _status_of(inner) or _status_of(payload)
    if streaming and status in (404, 405):
        status = 0
    return _by_rule(status, words_of(inner), target, None)


def _by_rule(status: int, words: str, target: Target, wait_s: float | None) -> ProviderError:
    lower = words.lower()
    for rule in (*target.server.rules, *RULES):
        if found := rule.fit(status, lower, target.gateway):
            if (status, rule.kind, rule.pattern, target.key_env) == (401, "auth", "", ""):
                rule = NO_KEY_NAMED
            return _of_rule(rule, found.groupdict(), status, words, target, wait_s)
    raise AssertionError("the last rule fits everything")


def _of_rule(
    rule: ErrorRule, found: Mapping[str, str], status: int, words: str, target: Target, wait_s: float | None
) -> ProviderError:
    names = {
        **{name: int(text.replace(",", "")) if name in _NUMBERS else text for name, text in found.items() if text},
        "address": target.address_words,
        "gateway": target.gateway,
        "host": target.host,
        "model": target.model or "the model",
        "key": target.key_env or "the lane's api_key_env",
        "status": f"HTTP {status}" if status else "an error in the stream",
    }
    message, remedy = rule.message.format(**names), rule.remedy.format(**names)
    error = _error(rule.kind, message, remedy, target, words, status or None, rule.command.format(**names))
    error.retryable, error.retry_after_s, error.is_loading = rule.retryable, wait_s, rule.is_loading
    return error


def _error(
    kind: str, message: str, remedy: str, target: Target, detail: str = "", status: int | None = None, command: str = ""
) -> ProviderError:
    detail = scrub(" ".join(detail.split()), target.secrets)
    failure = Failure(kind, scrub(message, target.secrets), remedy, command, detail, status)
    return ProviderError(failure)


def _readable(body: bytes) -> str:
    """What a person would read of a body that is not JSON: a page's title, or its text."""
    text = body[:20_000].decode("utf-8", "replace")
    if title := re.search(r"(?is)<title[^>]*>(.*?)</title>", text):
        return html.unescape(title[1]).strip()
    return html.unescape(re.sub(r"(?s)<[^>]*>", " ", text)).strip()[:MOST_DETAIL]


# -- what no status tells


def simple(kind: str, target: Target, detail: str = "", retryable: bool = False) -> ProviderError:
    """An error of the stream itself; ``kind`` is a key of ``_SENTENCES``."""
    message, remedy = _SENTENCES[kind]
    names = {"gateway": target.gateway, "host": target.host, "path": target.server.path}
    error = _error(_KINDS.get(kind, kind), message.format(**names), remedy.format(**names), target, detail)
    error.retryable = retryable
    return error


_KINDS = {
    "cut": "network",
    "unfinished": "network",
    "repeats": "network",
    "words": "not_a_stream",
    "filtered": "content_filter",
}
_SENTENCES = {
    "cut": ("The connection to {gateway} was cut before the answer was finished.", "Try again."),
    "unfinished": (
        "{gateway} closed the stream without saying that the answer is finished.",
        "The text so far is kept; its end may be missing. Try again.",
    ),
    "repeats": (
        "{gateway} closed the stream without saying that the answer is finished.",
        "The model repeated one token again and again, and {gateway} gives up on a model that does. The text so far is "
        "kept: ask again, or set repeat_penalty in the lane's params.",
    ),
    "empty": ("{gateway} answered with nothing at all.", "Try again; if it happens again, look at base_url and model."),
    "not_a_stream": (
        "{host} answered with a web page instead of a model's stream.",
        "Check base_url ({path}) and whether a login page or a proxy is in between.",
    ),
    "words": (
        "{host} answered with something other than a model's stream.",
        "The details say what came; check base_url ({path}) and whether a proxy is in between.",
    ),
    "filtered": (
        "{gateway} stopped the answer because of its content.",
        "The text so far is kept. Rephrase the prompt, or choose another model.",
    ),
    "protocol": ("{gateway} sent a stream that cannot be read.", "Try again; if it happens again, try another route."),
    "too_large": (
        "{gateway} sent a line or a body larger than any valid answer; reading stopped.",
        "Try again; if it happens again, do not use this server.",
    ),
}


def missing_key(key_env: str, gateway: str) -> ProviderError:
    """No key in the environment for a lane that names one."""
    message = f"No key for {gateway}: the environment variable {key_env} is not set."
    remedy = "Write it into .env (it takes effect at once), or set it in the environment and start again."
    return ProviderError(Failure("auth", message, remedy, f"export {key_env}=…"))


def check_key(key: str, key_env: str) -> None:
    """Raises ``ProviderError`` where the key cannot be part of a header value."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise _bad_key(key_env or "api_key")


def _bad_key(key_env: str) -> ProviderError:
    message = f"The value of {key_env} holds characters that no key has (blanks inside, line ends or non-ASCII)."
    return ProviderError(Failure("auth", message, f"Set {key_env} again, copying the key alone."))


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and everything behind it."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo and len(found) < 30:
        current = todo.pop(0)
        if current is None or current in found:
            continue
        found.append(current)
        todo += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]
    return found


def from_exception(error: BaseException, target: Target) -> ProviderError:
    """The error a failed connection or a broken body stands for; any exception of the HTTP libraries."""
    chain = _chain(error)
    for inner in chain:
        if isinstance(inner, ssl.SSLError) and not isinstance(inner, ssl.SSLWantReadError | ssl.SSLWantWriteError):
            return _tls(inner, target)
        if isinstance(inner, socket.gaierror) and not proxy_for(target.base_url):
            made = _error("dns", f"The name {target.host} cannot be resolved.", _SPELLING, target, str(inner))
            made.retryable = inner.errno == socket.EAI_AGAIN
            return made
        if isinstance(inner, ConnectionRefusedError | socket.gaierror):
            return _unreachable(target, "refused the connection", inner)
    for inner in chain:
        if isinstance(inner, httpx.HTTPError):
            return _http(inner, target)
        if isinstance(inner, httpx.InvalidURL | ValueError):
            return _bad_url(inner, target)
    return simple("cut", target, f"{type(error).__name__}: {error}", retryable=True)


_PROXY = "Check HTTP_PROXY and HTTPS_PROXY in the environment."
_SPELLING = "Check the spelling of base_url and the network connection."


def _http(error: Exception, target: Target) -> ProviderError:
    text = f"{type(error).__name__}: {error}"
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return _unreachable(target, "did not accept a connection in time", error)
        case httpx.ConnectError():
            return _unreachable(target, "cannot be reached", error)
        case httpx.ProxyError():
            return _error(
                "connect", f"The proxy did not let the request through to {target.host}.", _PROXY, target, text
            )
        case httpx.ReadTimeout():
            return _error("timeout_idle", f"{target.gateway} went silent.", "Try again.", target, text)
        case httpx.RemoteProtocolError() if not _is_cut(str(error)):
            if "\\x15\\x03" in str(error):  # a TLS alert where a status line should be
                return from_status(400, {}, b"HTTP request sent to an HTTPS port", target)
            large = "too long" in str(error).lower() or "too many" in str(error).lower()
            return simple("too_large" if large else "protocol", target, text)
        case httpx.LocalProtocolError():
            return _bad_key(target.key_env)  # nothing of the error is shown: it quotes the header
        case httpx.UnsupportedProtocol():
            return _bad_url(error, target)
        case _:
            return simple("cut", target, text, retryable=True)


def _bad_url(error: Exception, target: Target) -> ProviderError:
    text = f"{type(error).__name__}: {error}"
    return _error("bad_url", f"{target.host} is not a usable base_url.", "It starts with https://.", target, text)


def _is_cut(text: str) -> bool:
    return any(words in text for words in ("disconnected", "peer closed", "incomplete", "without sending"))


def _unreachable(target: Target, what: str, error: BaseException) -> ProviderError:
    if proxy_for(target.base_url):  # then nothing else was to be reached from here
        made = _error("connect", f"The proxy for {target.host} cannot be reached.", _PROXY, target, f"{error}")
        made.retryable = True
        return made
    remedy = target.server.remedy or f"Check base_url and whether a server is running at {target.host}."
    message = (
        f"{target.gateway} at {target.host} {what}." if target.gateway != target.host else f"{target.host} {what}."
    )
    made = _error("connect", message, remedy, target, f"{type(error).__name__}: {error}", command=target.server.command)
    made.retryable = True
    return made


def _tls(error: ssl.SSLError, target: Target) -> ProviderError:
    text = str(error).lower()
    why, remedy = "the secure connection failed", "Try again; a proxy in between may be the cause."
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not valid ({error.verify_message.strip(' .')})"
        remedy = "Check base_url and this machine's clock; for a private certificate set SSL_CERT_FILE."
    elif "wrong_version_number" in text or "http_request" in text or "record layer" in text:
        why, remedy = "the port does not speak TLS", "The server speaks plain HTTP: write http:// in base_url."
    return _error("tls", f"No secure connection to {target.host}: {why}.", remedy, target, str(error))
