"""The attempts behind a statistic: filtered, and as columns per series.

Only top-level attempts that have ended (a heavy run is one). They come from ``measured``, the log's copy of the view
``attempt_metrics``, so figures equal those of the view. Three things are left out, counted, and can be included again:
retried attempts; the values of attempts that contradict themselves or had to load the model; and single values
with a wide error bound (``core.bounds``). Outcomes count all attempts that were not retried, and a series is
never empty because of what is left out. Times are ms, rates tokens/s, cost USD; NaN means "unknown".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import utc
from ..core.bounds import BOUNDED, is_wide
from ..core.metrics import CENSORED
from ..core.owner import LOCAL, PROGRAM, may_read, may_read_programs
from ..log.reader import LogReader
from ..log.store import Rows
from .statistics import Floats, known

One = TypeVar("One")

MAX_DAYS = 36_500  # longest period; a longer one would begin before year 1

NUMBERS = (
    "ttft_ms",
    "ttfo_ms",
    "e2e_ms",
    "decode_tps",
    "cost_usd",
    "output_tokens",
    "connect_ms",
    "cold_load_ms",
    "first_ms",
)
# A model is not compared by its load or by a queue at its server; ``first_ms`` has both, for the time's split.
_SOURCES = {"ttft_ms": "coalesce(ttft_warm_ms, ttft_ms)", "first_ms": "ttft_ms"}
ERRORS = {name: BOUNDED[name][0] for name in NUMBERS if name in BOUNDED}  # a value's column -> its bound's
_READ = (*NUMBERS, *ERRORS.values())
_ROW = np.dtype([("turn_id", object), ("held", bool), *((name, np.float64) for name in _READ)])  # no list of tuples

NOT_KNOWN = -1e300  # stands for NULL while rows are read into an array; lower than any real value

# Reasons to leave out an attempt, in order of precedence: the SQL condition, and the words for the user.
_REAGGREGATED = "SELECT attempt_id FROM heavy_runs WHERE answers_of IS NOT NULL"
REASONS = {
    "blind": (
        "turn_id IN (SELECT turn_id FROM turns WHERE slots <> '' AND turn_id NOT IN (SELECT turn_id FROM votes))",
        "of blind turns that are not voted on yet",
    ),
    "reaggregated": (
        f"attempt_id IN ({_REAGGREGATED})",
        "that only aggregated the answers of an earlier heavy run again",
    ),
    "superseded": (
        "turn_id IN (SELECT turn_id FROM measured WHERE attempt_no > 1) AND EXISTS (SELECT 1 FROM measured later"
        " WHERE later.turn_id = m.turn_id AND later.lane = m.lane AND later.attempt_no > m.attempt_no"
        f" AND later.attempt_id NOT IN ({_REAGGREGATED}))",
        "that were retried in the same turn",
    ),
    "suspect": ("suspect = 1", "with counts or a clock that contradict themselves"),
    "cold": ("cold_start = 1", "that had to load the model first"),
}
HELD = ("suspect", "cold")  # reasons that leave out an attempt's values, not its outcome
WIDE = "wide"  # in ``Filters.include``: values with a wide error bound
ATTEMPTS_A_TURN = 12  # more than a turn usually has: six lanes, each retried
ALWAYS_OUT = "blind"  # its numbers would identify the lanes
SHOWN = f"coalesce(reason, '') <> '{ALWAYS_OUT}'"


@dataclass(frozen=True)
class Filters:
    """Selects attempts; an empty field sets no limit. Periods are UTC texts, lengths are characters of the prompt.

    ``start``: "cold" or "warm"; "cold" includes cold starts. ``owner`` None: all owners. ``include``: reasons of
    ``REASONS`` whose attempts are included, and ``WIDE``.
    """

    lanes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    since_utc: str = ""
    prompt_chars_from: int | None = None
    prompt_chars_to: int | None = None
    conversation_id: str = ""
    kind: str = ""
    start: str = ""
    owner: str | None = None
    include: frozenset[str] = frozenset()

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """SQL for the matching rows of ``measured``, each with its ``reason`` for exclusion or NULL; and its values."""
        conditions: dict[str, tuple[str, Any]] = {
            "lanes": ("lane IN :lanes", self.lanes or None),
            "models": ("request_model IN :models", self.models or None),
            "providers": ("provider IN :providers", self.providers or None),
            "since": ("started_at_utc >= :since", self.since_utc or None),
            "kind": ("kind = :kind", self.kind or None),
            "conversation": (
                "turn_id IN (SELECT turn_id FROM turns WHERE conversation_id = :conversation)",
                self.conversation_id or None,
            ),
            "chars_from": ("prompt_chars >= :chars_from", self.prompt_chars_from),
            "chars_to": ("prompt_chars < :chars_to", self.prompt_chars_to),
            "chosen_owner": ("owner = :chosen_owner", self.owner),
        }
        given = {name: (condition, value) for name, (condition, value) in conditions.items() if value is not None}
        start = {"": "TRUE", "cold": "cold_start = 1"}.get(self.start, "coalesce(cold_start, 0) <> 1")
        counted = (self.include | {"cold"} if self.start == "cold" else self.include) - {ALWAYS_OUT}
        cases = [f"WHEN {test} THEN '{reason}'" for reason, (test, _) in REASONS.items() if reason not in counted]
        where = " AND ".join([start, *(condition for condition, _ in given.values())])
        sql = f"SELECT m.*, CASE {' '.join(cases)} END AS reason FROM measured m WHERE {where}"
        return sql, {name: value for name, (_, value) in given.items()}


def since(days: float | None) -> str:
    """``Filters.since_utc`` for the last ``days``; None: all time. Raises ``ValueError`` with the allowed range."""
    if days is None:
        return ""
    if not 0 < days <= MAX_DAYS:
        raise ValueError(f"a number above 0, at most {MAX_DAYS}")
    return utc.text(utc.now() - timedelta(days=days))


class Key(NamedTuple):
    """A unit of comparison: a lane with one model. ``stand_in_for``: the model it stood in for, else empty."""

    lane: str
    model: str
    stand_in_for: str


@dataclass
class Series:
    """The attempts of one key, oldest first. ``turns`` are hashes of their turn ids, for pairing.

    ``label`` is the newest label of its lane, ``name`` a name that is unique in the sample. ``usd`` is the cost of all
    attempts, including those excluded from distributions; ``n_unpriced`` of them have text but no known price,
    ``n_estimated`` have an estimated cost. ``statuses`` count outcomes, ``held`` those of them whose values are left
    out, by reason, ``wide`` the single values left out, by column. ``errors``: the bounds of ``numbers``.
    ``takes_held``: nothing else is there, so the values are not left out after all; ``takes_wide``: columns likewise.
    """

    key: Key
    label: str
    name: str = ""
    is_heavy: bool = False
    statuses: Counter[str] = field(default_factory=Counter)
    usd: float = 0.0
    n_unpriced: int = 0
    n_estimated: int = 0
    turns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    numbers: dict[str, Floats] = field(default_factory=dict)
    errors: dict[str, Floats] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    wide: Counter[str] = field(default_factory=Counter)
    takes_held: bool = False
    takes_wide: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        return self.statuses.total()

    @property
    def n_censored(self) -> int:
        """Attempts that were cut off: their first-token times count, their totals are unknown."""
        return sum(n for status, n in self.statuses.items() if status in CENSORED)


@dataclass
class Sample:
    """All series: lanes in the order of the newest turns, a lane's newest model first.

    ``excluded``: counts of attempts by reason. ``wide``: counts of values by column.
    """

    series: list[Series]
    excluded: Counter[str]

    @property
    def n(self) -> int:
        return sum(series.n for series in self.series)

    @property
    def wide(self) -> Counter[str]:
        return sum((series.wide for series in self.series), Counter())

    def lanes(self) -> dict[str, str]:
        """The lanes' names by their ids, in order."""
        newest = {series.key.lane: series.label for series in reversed(self.series)}
        return distinguished({series.key.lane: newest[series.key.lane] for series in self.series}, str)

    def pairs(self) -> Iterator[tuple[Series, Series]]:
        """Every two series of different lanes, each once."""
        for first, second in combinations(self.series, 2):
            if first.key.lane != second.key.lane:
                yield first, second


def state(reader: LogReader) -> tuple[Any, ...]:
    """A value that changes with every measured or deleted attempt and every vote. Some ms for 100,000 attempts."""
    query = """
        SELECT count(*), max(number), (SELECT count(*) FROM votes), (SELECT count(*) FROM turns) FROM measured
    """
    (found,) = reader.rows(query)
    return found


def load(reader: LogReader, filters: Filters | None = None) -> Sample:
    """The matching attempts. Raises ``LogUnreadable``."""
    filters = filters or Filters()
    chosen, values = filters.chosen()
    with reader.snapshot() as log:
        sample = _counted(log, chosen, values)
        columns = ", ".join(f"coalesce({_SOURCES.get(name, name)}, {NOT_KNOWN})" for name in _READ)
        query = f"""
            SELECT turn_id, reason IS NOT NULL, {columns} FROM ({chosen}) AS chosen
            WHERE lane = :lane AND request_model = :model AND stand_in_for = :stand_in_for
                AND (reason IS NULL OR reason IN :held)
            ORDER BY number
        """
        for series in sample.series:
            rows = np.fromiter(log.rows(query, **values, **series.key._asdict(), held=HELD), _ROW, series.n)
            _fill(series, rows, takes_wide=WIDE in filters.include)
    for series in sample.series:
        if not series.takes_held:
            sample.excluded += series.held
    return sample


def _fill(series: Series, rows: NDArray[Any], takes_wide: bool) -> None:
    """Set a series' values from its rows, without those that are left out, unless that would leave none."""
    series.takes_held = bool(len(rows)) and bool(rows["held"].all())
    rows = rows if series.takes_held else rows[~rows["held"]]
    series.turns = np.fromiter(map(hash, rows["turn_id"]), np.int64, len(rows))
    read = {name: np.where(rows[name] == NOT_KNOWN, np.nan, rows[name]) for name in _READ}
    series.numbers = {name: read[name] for name in NUMBERS}
    series.errors = {name: read[error] for name, error in ERRORS.items()}
    for name, errors in {} if takes_wide else series.errors.items():
        numbers = series.numbers[name]
        wide = is_wide(name, numbers, errors)
        if wide.sum() and wide.sum() == len(known(numbers)):
            series.takes_wide.append(name)
        elif wide.sum():
            series.wide[name] = int(wide.sum())
            series.numbers[name] = np.where(wide, np.nan, numbers)


def _counted(log: Rows, chosen: str, values: dict[str, Any]) -> Sample:
    """The series with their counts and costs, without their values."""
    query = f"""
        SELECT lane, request_model, stand_in_for, reason, status, count(*), coalesce(sum(cost_usd), 0.0),
               count(*) FILTER (WHERE cost_usd IS NULL AND output_tokens IS NOT NULL),
               count(*) FILTER (WHERE cost_source = 'estimate'), max(number)
        FROM ({chosen}) AS chosen GROUP BY 1, 2, 3, 4, 5 ORDER BY max(number)
    """
    groups = list(log.rows(query, **values))
    named = "SELECT number, label, role = 'heavy' FROM measured WHERE number IN :numbers"
    names_of = {row[0]: row[1:] for row in log.rows(named, numbers=[row[-1] for row in groups])}
    by_key: dict[Key, Series] = {}
    newest: dict[Key, int] = {}
    excluded: Counter[str] = Counter()
    for *key_fields, reason, status, n, usd, n_unpriced, n_estimated, number in groups:
        key = Key(*key_fields)
        label, heavy = names_of[number]
        series = by_key.setdefault(key, Series(key, label))
        if reason is None or reason in HELD:
            series.statuses[status] += n
        if reason in HELD:
            series.held[reason] += n
        elif reason is not None:
            excluded[reason] += n
        if reason != ALWAYS_OUT:
            series.usd += usd
            series.n_unpriced += n_unpriced
            series.n_estimated += n_estimated
        if number > newest.get(key, 0):
            newest[key], series.label, series.is_heavy = number, label, bool(heavy)
    names = {key: f"{series.label} (stand-in)" if key.stand_in_for else series.label for key, series in by_key.items()}
    for key, name in distinguished(names, *_DISTINCTIONS).items():
        by_key[key].name = name
    lanes = list(dict.fromkeys([*lane_order(log), *(key.lane for key in by_key)]))
    return Sample(sorted(by_key.values(), key=lambda s: (lanes.index(s.key.lane), -newest[s.key])), excluded)


_DISTINCTIONS: tuple[Callable[[Key], str], ...] = (
    lambda key: key.lane,
    lambda key: key.model.rpartition("/")[2],
    lambda key: key.model,
    lambda key: key.stand_in_for,
)


def distinguished(names: Mapping[One, str], *distinctions: Callable[[One], str]) -> dict[One, str]:
    """The names; duplicates get a suffix from the first of ``distinctions`` that makes them unique."""
    found = dict(names)
    for distinction in distinctions:
        alike: dict[str, set[str]] = {}
        for one, name in found.items():
            alike.setdefault(name, set()).add(distinction(one))
        found = {one: f"{name} · {distinction(one)}" if len(alike[name]) > 1 else name for one, name in found.items()}
    return found


def lane_order(log: Rows) -> list[str]:
    """Lane ids in the order of the newest turns."""
    query = """
        WITH newest AS (SELECT turn_id, started_at_utc FROM turns ORDER BY started_at_utc DESC, turn_id LIMIT 20)
        SELECT l.lane FROM newest n JOIN turn_lanes l ON l.turn_id = n.turn_id
        ORDER BY n.started_at_utc DESC, n.turn_id, l.place
    """
    return list(dict.fromkeys(lane for (lane,) in log.rows(query)))


def lane_labels(log: Rows, condition: str = "TRUE", **values: Any) -> dict[str, str]:
    """Each measured lane's newest label, made unique, in the order of their newest attempts."""
    query = f"""
        SELECT lane, label FROM measured
        WHERE number IN (SELECT max(number) FROM measured WHERE {condition} GROUP BY lane) ORDER BY number
    """
    return distinguished(dict(log.rows(query, **values)), str)


class Point(NamedTuple):
    """One attempt as a dot in a plot. Numbers are None where they are not known.

    ``is_readable``: the viewer may open its turn.
    """

    turn_id: str
    key: Key
    status: str
    started_at_utc: str
    ttft_ms: float | None
    ttfo_ms: float | None
    e2e_ms: float | None
    decode_tps: float | None
    ttft_err_ms: float | None
    ttfo_err_ms: float | None
    e2e_err_ms: float | None
    decode_err_pct: float | None
    cost_usd: float | None
    output_tokens: int | None
    left_out: str | None  # the reason why figures exclude it
    is_readable: bool


_POINT = f"""
    turn_id, lane, request_model, stand_in_for, status, started_at_utc,
    {_SOURCES["ttft_ms"]}, ttfo_ms, e2e_ms, decode_tps, ttft_err_ms, ttfo_err_ms, e2e_err_ms, decode_err_pct,
    cost_usd, output_tokens, reason, owner
"""


def points(
    reader: LogReader,
    filters: Filters | None = None,
    viewer: str = "",
    limit: int = 2000,
    sample: Sample | None = None,
) -> list[Point]:
    """The newest attempts behind the figures, oldest first, without the values that these leave out.

    ``viewer``: the owner who looks at them. ``sample``: what ``load`` found for these filters.
    """
    filters = filters or Filters()
    sample = sample or load(reader, filters)
    chosen, values = filters.chosen()
    query = f"""
        SELECT {_POINT} FROM ({chosen}) AS chosen WHERE reason IS NULL OR reason IN :held
        ORDER BY started_at_utc DESC, number DESC LIMIT :limit
    """
    series = {one.key: one for one in sample.series}
    found = (_point(row, viewer) for row in reversed(reader.rows(query, **values, held=HELD, limit=limit)))
    return [
        point if WIDE in filters.include else _narrow(point, series[point.key])
        for point in found
        if point.key in series and (point.left_out is None or series[point.key].takes_held)
    ]


def _narrow(point: Point, series: Series) -> Point:
    """The point without values that are left out for their wide bound."""
    wide: dict[str, Any] = {}
    for name, error_name in ERRORS.items():
        value, error = getattr(point, name), getattr(point, error_name)
        if value is not None and error is not None and name not in series.takes_wide and is_wide(name, value, error):
            wide[name] = None
    return point._replace(**wide)


def _point(row: Sequence[Any], viewer: str) -> Point:
    return Point._make([row[0], Key(*row[1:4]), *row[4:-1], may_read(row[-1], viewer)])


class TurnRow(NamedTuple):
    """A turn with its attempts, oldest first, including those excluded from figures.

    ``prompt`` is one line of text; None if the viewer may not read it.
    """

    turn_id: str
    started_at_utc: str
    prompt: str | None
    points: list[Point]


def turns(reader: LogReader, filters: Filters | None = None, viewer: str = "", limit: int = 20) -> list[TurnRow]:
    """The newest turns with matching attempts. ``viewer``: the owner whose prompts may be shown."""
    chosen, values = (filters or Filters()).chosen()
    seen = f"FROM ({chosen}) AS chosen WHERE {SHOWN}"
    with reader.snapshot() as log:
        query = f"SELECT turn_id {seen} ORDER BY started_at_utc DESC, number DESC LIMIT :limit"
        newest = log.rows(query, **values, limit=limit * ATTEMPTS_A_TURN)
        turn_ids = list(dict.fromkeys(turn_id for (turn_id,) in newest))[:limit]
        query = f"SELECT {_POINT} {seen} AND turn_id IN :turn_ids ORDER BY number"
        by_turn: dict[str, list[Point]] = {turn_id: [] for turn_id in turn_ids}
        for row in log.rows(query, **values, turn_ids=turn_ids):
            by_turn[row[0]].append(_point(row, viewer))
        query = "SELECT turn_id, started_at_utc, owner, substr(prompt, 1, 400) FROM turns WHERE turn_id IN :turn_ids"
        heads = {row[0]: row[1:] for row in log.rows(query, turn_ids=turn_ids)}
    found = []
    for turn_id in turn_ids:
        if head := heads.get(turn_id):
            started_at_utc, owner, prompt = head
            shown = " ".join(prompt.split()) if may_read(owner, viewer) else None
            found.append(TurnRow(turn_id, started_at_utc, shown, by_turn[turn_id]))
    return found


def cost_by_day(reader: LogReader, filters: Filters | None = None) -> list[tuple[str, Key, float]]:
    """``(UTC day, series, USD)`` over all matching attempts, including those excluded from distributions."""
    chosen, values = (filters or Filters()).chosen()
    query = f"""
        SELECT substr(started_at_utc, 1, 10), lane, request_model, stand_in_for, sum(cost_usd)
        FROM ({chosen}) AS chosen WHERE cost_usd > 0 AND {SHOWN} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    """
    return [(row[0], Key(*row[1:4]), row[4]) for row in reader.rows(query, **values)]


class Choices(NamedTuple):
    """The choices of the filters, as ``(label, value)``."""

    lanes: list[tuple[str, str]]
    models: list[tuple[str, str]]
    providers: list[tuple[str, str]]
    conversations: list[tuple[str, str]]


def readable(viewer: str, column: str = "owner") -> str:
    """The SQL condition that the viewer may read a row's text; ``:viewer`` is its parameter."""
    if viewer == LOCAL:
        return "TRUE"
    return f"{column} IN ('{PROGRAM}', :viewer)" if may_read_programs(viewer) else f"{column} = :viewer"


def choices(reader: LogReader, owner: str | None = None, viewer: str = "") -> Choices:
    """Lanes, models and providers that were measured, and the viewer's newest 200 conversations.

    ``owner`` as in ``Filters``; ``viewer``: the owner whose titles may be shown.
    """
    condition, values = ("owner = :owner", {"owner": owner}) if owner is not None else ("TRUE", {})
    columns = {"models": "request_model", "providers": "provider"}
    with reader.snapshot() as log:
        found: dict[str, list[tuple[str, str]]] = {}
        for name, column in columns.items():
            query = f"SELECT DISTINCT {column} FROM measured WHERE {condition} ORDER BY 1"
            found[name] = [(value or "(none)", value) for (value,) in log.rows(query, **values)]
        names = lane_labels(log, condition, **values)
        lanes = dict.fromkeys(lane for lane in [*lane_order(log), *names] if lane in names)
        query = f"""
            SELECT title, conversation_id FROM conversations WHERE {condition} AND {readable(viewer)}
            ORDER BY created_at_utc DESC LIMIT 200
        """
        conversations = [(title or "(none)", one) for title, one in log.rows(query, **values, viewer=viewer)]
    return Choices([(names[lane], lane) for lane in lanes], **found, conversations=conversations)
