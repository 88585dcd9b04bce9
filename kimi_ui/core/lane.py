"""Lane configuration as values. Every key is declared once.

Each field is a key of the lanes file, with its name, its default and, in its type, a pydantic rule for its value.
``lanes_file`` reads and writes lanes by these declarations and knows no provider. A provider with further keys declares
them in a subclass of ``LaneSpec`` in its own file, so that adding a provider touches one file. ``lanes_file`` cannot
import the providers, which are a layer above, so it takes these classes as an argument.

The rules apply to lanes read from a file, not to lanes constructed in code. The ``ValueError`` of a rule completes a
sentence that begins with the key: "must be true or false".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import date
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PlainValidator, StrictBool, Tag

from .context import OUTPUT_LIMITS

MOST = 1e12  # the largest number accepted; a larger one is a slip and may not fit a float
MOST_SERVERS = 64  # of one lane
MOST_LEVELS = 50  # of nested tables and lists; any JSON schema has fewer, and the stack is limited
FILLED_IN = ("stand_in_for", "how_to_get_real")  # set in shipped lanes only, never in a lanes file
_NOT_PARAMS = ("model", "messages", "stream", "stream_options", "n")  # the app sets these in every request
_LOGGED_APART = (
    *("id", "label", "provider", "model", "base_url", "api_key_env", "params", "price", *FILLED_IN),
    *("tokenizer", "gguf", "prompt"),  # paths of this machine
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


# -- the rules


class Misplaced(ValueError):
    """A mistake at the key ``at`` of the table that is a lane key's value."""

    def __init__(self, words: str, at: str) -> None:
        super().__init__(words)
        self.at = at


def whole(low: int, high: int) -> BeforeValidator:
    """The rule for a whole number from ``low`` to ``high``, both included."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return BeforeValidator(check)


def number(unit: str, least: float) -> BeforeValidator:
    """The rule for a number from ``least`` to ``MOST``. ``unit`` is for the error message."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= MOST:
            raise ValueError(f"must be a number of {unit}, not negative")
        return value

    return BeforeValidator(check)


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("must be 1 to 40 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return value


def _url(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError:
        raise ValueError("is not a URL; write it like https://host/v1") from None
    if parts.scheme not in ("http", "https") or not has_host:
        raise ValueError("must start with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password; use api_key_env for the key")
    if "?" in url or "#" in url:
        raise ValueError("must end with the path, without '?' or '#'")
    if not url.isprintable() or " " in url:
        raise ValueError("must not hold blanks or line ends")
    return url.rstrip("/")


def _urls(urls: Sequence[Any]) -> str | tuple[str, ...]:
    """The addresses of a list; of a list of one, that address."""
    if not 1 <= len(urls) <= MOST_SERVERS:
        raise ValueError(f'must name 1 to {MOST_SERVERS} servers, like ["http://one:8000/v1", "http://two:8000/v1"]')
    checked = []
    for number, url in enumerate(urls, 1):
        if not isinstance(url, str) or not url.strip():
            raise ValueError(f'entry {number} must be an address in quotes, like "http://host:8000/v1"')
        try:
            checked.append(_url(url.strip()))
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from None
        if checked[-1] in checked[:-1]:
            first = checked.index(checked[-1]) + 1
            raise ValueError(f"entry {number} is the same server as entry {first}; name each server once")
    return checked[0] if len(checked) == 1 else tuple(checked)


def _one_or_several(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


def _variable(name: str) -> str:
    if name and not _VARIABLE.fullmatch(name):
        raise ValueError(
            "is the name of a variable in capitals (like CHUTES_API_KEY), never the key itself; "
            "put the key in .env under that name"
        )
    return name


def _sendable(params: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in params:
        if name in _NOT_PARAMS:
            raise Misplaced(f"cannot set {name}, the app sends it itself; remove it", at=name)
    if _is_deeper(params, MOST_LEVELS):
        raise ValueError(f"is nested more than {MOST_LEVELS} levels deep; flatten it")
    try:
        json.dumps(params, allow_nan=False)
    except (TypeError, ValueError):
        words = "holds a value JSON cannot carry (a date, nan or inf); use numbers, text, lists and tables"
        raise ValueError(words) from None
    return params


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _day(value: Any) -> Any:
    """A date or an ISO date string, as an ISO date string."""
    text = value.isoformat()[:10] if isinstance(value, date) else value
    try:
        if text == "" or date.fromisoformat(text).isoformat() == text:  # fromisoformat also reads week dates
            return text
    except (TypeError, ValueError):
        pass
    raise ValueError("must be a date like 2026-07-01")


def host_of(url: str) -> str:
    """Host and port of an address, without credentials; empty if it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


Needed = Annotated[str, Field(min_length=1)]
Url = Annotated[str, AfterValidator(_url)]
NeededUrl = Annotated[Needed, AfterValidator(_url)]
_SeveralUrls = Annotated[tuple[str, ...], PlainValidator(_urls), Tag("several")]
Urls = Annotated[Annotated[Url, Tag("one")] | _SeveralUrls, Discriminator(_one_or_several)]
NeededUrls = Annotated[Annotated[NeededUrl, Tag("one")] | _SeveralUrls, Discriminator(_one_or_several)]
Variable = Annotated[str, AfterValidator(_variable)]
Params = Annotated[Mapping[str, Any], AfterValidator(_sendable)]
Seconds = Annotated[float, number("seconds above 0", least=0.001)]
Usd = Annotated[float, number("USD per million tokens", least=0)]


# -- the values


@dataclass(frozen=True)
class Limits:
    """Wall-clock limits of one attempt, in seconds. Only text restarts ``idle_s``; comments and empty deltas do not."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    first_token_s: Seconds = 300
    idle_s: Seconds = 120
    total_s: Seconds = 1800


@dataclass(frozen=True)
class Price:
    """USD per million tokens, as published on ``as_of`` (ISO date). ``cached_input`` None: billed as ``input``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    as_of: Annotated[str, BeforeValidator(_day)] = ""


FREE = Price(input=0.0, output=0.0)


class Thinking(NamedTuple):
    """A choice of whether, or how much, a model thinks; ``keys`` of the lane make it so, None: without the key."""

    label: str
    keys: Mapping[str, Any]


AS_IT_DOES, OFF, ON = "As the model does", "Off", "On"


def by_think(*levels: str) -> tuple[Thinking, ...]:
    """The choices of a provider whose lanes have the key ``think``."""
    states = {AS_IT_DOES: None, OFF: False, ON: True} | {level.capitalize(): level for level in levels}
    return tuple(Thinking(label, {"think": think}) for label, think in states.items())


@dataclass(frozen=True)
class LaneSpec:
    """One configured lane. ``params`` and ``extra_body`` are added to the request body unchanged.

    ``base_url`` is the address of the lane's server, or those of its servers if it has several, which then all have the
    model: each attempt is sent to one of them (``servers``).
    ``api_key_env`` names an environment variable; the key itself is never stored here. ``of`` names the lane that this
    one runs ``width`` times (0: this lane is not built from another). ``tokenizer`` is the path of the model's
    ``tiktoken.model``. ``send_reasoning`` sends earlier reasoning back to the model; plain chat does not need it.
    ``stand_in_for`` names the model that the embedded model replaces in this lane, empty for a real one;
    ``how_to_get_real`` is then the exact line to set.

    Class attributes state the capabilities of the provider, so that no code compares provider names.
    ``lists_models``: the user can choose from ``Provider.models``. ``can_pull``: ``Provider.pull`` fetches a missing
    model. ``takes_num_ctx``: a request names the context it needs (``num_ctx``). ``needs_key``: the variable named by
    ``api_key_env`` must be set. ``is_shipped``: the table of a lanes file only names a shipped lane, which the roster
    puts in its place. ``no_keys``: fields that a lanes file cannot set.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "str_strip_whitespace": True,
        "validate_default": True,
    }
    no_keys: ClassVar[tuple[str, ...]] = ("of", "width", *FILLED_IN)
    lists_models: ClassVar[bool] = True
    can_pull: ClassVar[bool] = False
    takes_num_ctx: ClassVar[bool] = False
    needs_key: ClassVar[bool] = True
    is_shipped: ClassVar[bool] = False

    id: Annotated[Needed, AfterValidator(_id)]
    label: str = ""  # empty: the id
    provider: str = ""
    model: str = ""
    base_url: Urls = ""
    api_key_env: Variable = ""
    params: Params = field(default_factory=dict)
    extra_body: Params = field(default_factory=dict)
    price: Price | None = None
    limits: Limits = Limits()
    of: str = ""
    width: int = 0
    tokenizer: str = ""
    system: str = ""
    send_reasoning: StrictBool = False
    stand_in_for: str = ""
    how_to_get_real: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.id)

    @classmethod
    def file_keys(cls) -> tuple[str, ...]:
        """The keys allowed in a ``[[lane]]`` table of this class."""
        return tuple(item.name for item in fields(cls) if item.name not in cls.no_keys)

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of the lane's servers, in the file's order; none where the provider needs no address."""
        return self.base_url if isinstance(self.base_url, tuple) else (self.base_url,) if self.base_url else ()

    @property
    def server(self) -> str:
        """The address of the lane's server; of several, all of them with blanks between, which no address holds."""
        return " ".join(self.servers)

    @property
    def via(self) -> str:
        """The lane's server: its base URL, or the provider's name."""
        return ", ".join(self.servers) or self.provider

    @property
    def context_tokens(self) -> int | None:
        """The context of a request, prompt and answer together, where the lane's configuration says it."""
        return None

    @property
    def thinking_choices(self) -> tuple[Thinking, ...]:
        """What a person can choose from; empty where the provider has no switch of its own."""
        return ()

    @property
    def most_output(self) -> int | None:
        """The most tokens that a request may write, where the lane limits it."""
        limits = (self.params.get(name) for name in OUTPUT_LIMITS)
        return next((limit for limit in limits if type(limit) is int and limit > 0), None)

    @property
    def settings(self) -> dict[str, Any]:
        """What else than its name, server, model, parameters and price a request of this lane depends on, where it
        differs from the default: what is sent beside the parameters, limits, the provider's own keys. Never a path of
        this machine, and never a key."""
        found = {}
        for item in fields(self):
            default = item.default if item.default_factory is MISSING else item.default_factory()
            if item.name not in _LOGGED_APART and (value := getattr(self, item.name)) != default:
                found[item.name] = asdict(value) if isinstance(value, Limits) else value
        return found

    def with_model(self, model: str) -> LaneSpec:
        """This lane with another model of its provider; unchanged for an empty ``model``.

        Price and tokenizer belong to the old model, so they are removed.
        """
        if not model or model == self.model:
            return self
        return replace(self, model=model, price=None, tokenizer="")


@dataclass(frozen=True)
class LaneChoice:
    """The user's choices for a lane in one conversation; an empty or None field keeps the lane's configuration.

    ``model`` is another model of the lane's provider, ``params`` override the lane's, ``send_reasoning`` is as in
    ``LaneSpec``. ``heavy``: options of a heavy lane (``core.heavy.options``).
    """

    model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    send_reasoning: bool | None = None
    heavy: Mapping[str, Any] = field(default_factory=dict)
