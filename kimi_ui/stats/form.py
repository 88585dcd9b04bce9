"""The Stats tab's filters: from the page's controls, or a link's query, to ``stats.sample.Filters``.

Both use the same field names, so the page's figures and the file behind a link cover the same attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from .sample import WIDE, Filters, since

PERIODS = {"All time": None, "Last 24 hours": 1, "Last 7 days": 7, "Last 30 days": 30, "Last 365 days": 365}
LENGTHS: dict[str, tuple[int | None, int | None]] = {
    "Any length": (None, None),
    "Under 200 characters": (None, 200),
    "200 to 1,000": (200, 1000),
    "1,000 to 10,000": (1000, 10_000),
    "10,000 and more": (10_000, None),
}
KINDS = {"All": "", "Chat": "chat", "Benchmark": "bench"}
STARTS = {"All": "", "Cold": "cold", "Warm or not known": "warm"}
SINGLE = ("period", "length", "conversation", "kind", "start")
SEVERAL = ("lanes", "models", "providers", "include")  # fields with any number of values
INCLUDES = {
    "retried": "superseded",
    "aggregated again": "reaggregated",
    "suspect": "suspect",
    "cold starts": "cold",
    "wide error bounds": WIDE,
}


@dataclass(frozen=True)
class Form:
    """The controls' values. Values that are not choices (from an old or forged link) set no limit."""

    lanes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    period: str = "All time"
    length: str = "Any length"
    conversation: str = ""
    kind: str = "All"
    start: str = "All"
    include: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Form:
        """From the controls' values; None counts as empty."""
        fields: dict[str, Any] = {name: _words(values.get(name)) for name in SEVERAL}
        fields |= {name: str(values[name]) for name in SINGLE if values.get(name)}
        return cls(**fields)

    @classmethod
    def of_query(cls, items: Iterable[tuple[str, str]]) -> Form:
        """From a link's query; the inverse of ``query``."""
        values: dict[str, Any] = {}
        for name, value in items:
            if name in SEVERAL:
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
        return cls.of(values)

    @property
    def query(self) -> str:
        """The form as a link's query, without empty fields."""
        default = Form()
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return urlencode({name: value for name, value in fields.items() if value != getattr(default, name)}, doseq=True)

    def filters(self, owner: str | None) -> Filters:
        """The filters; ``owner`` None: all owners."""
        shortest, longest = LENGTHS.get(self.length, (None, None))
        return Filters(
            lanes=self.lanes,
            models=self.models,
            providers=self.providers,
            since_utc=since(PERIODS.get(self.period)),
            prompt_chars_from=shortest,
            prompt_chars_to=longest,
            conversation_id=self.conversation,
            kind=KINDS.get(self.kind, ""),
            start=STARTS.get(self.start, ""),
            owner=owner,
            include=frozenset(INCLUDES[word] for word in self.include if word in INCLUDES),
        )


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(word) for word in value) if isinstance(value, list | tuple) else ()
