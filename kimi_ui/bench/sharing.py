"""A run of this process alone (``Runner``), or one that it leads and others work on too (``Lead``).

It is shared where there is a bus, unless it has a budget: each request is then checked before it is sent against what
all others may cost, which one process knows. ``redis`` is imported for a shared run only.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from ..bus import NO_REDIS
from ..engine import Engine
from ..turns import Turns
from . import records, runner
from .runner import Runner
from .start import CannotRun, Wanted

if TYPE_CHECKING:
    from .lead import Lead

Run: TypeAlias = "Runner | Lead"


def begin(engine: Engine, turns: Turns, wanted: Wanted, bus_url: str, *, works: bool = True) -> Run:
    """A new run. ``bus_url``: of the bus, empty without one; ``works``: see ``Lead``.

    Raises ``PlanError``, ``CannotRun``.
    """
    if not _is_shared(bus_url, wanted.budget_usd):
        return runner.begin(engine, turns, wanted)
    from . import lead

    return lead.begin(engine, turns, bus_url, wanted, works=works)


def resume(
    engine: Engine, turns: Turns, run_id: str, bus_url: str, *, budget_usd: float | None = None, works: bool = True
) -> Run:
    """Go on with a run. Raises what ``start.take_over`` raises."""
    if budget_usd is None:
        with turns.reader.snapshot() as rows:
            budget_usd = records.head(rows, run_id).budget_usd
    if not _is_shared(bus_url, budget_usd):
        return runner.resume(engine, turns, run_id, budget_usd)
    from . import lead

    return lead.resume(engine, turns, bus_url, run_id, works=works)


def _is_shared(bus_url: str, budget_usd: float | None) -> bool:
    if not bus_url or budget_usd is not None:
        return False
    if find_spec("redis") is None:
        raise CannotRun(NO_REDIS)
    return True
