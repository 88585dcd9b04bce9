"""``doctor``: show each lane's server, why no better one is used, and whether it answers; of a team also whether the
database and the bus do."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from .. import utc
from ..config import read_environment
from ..core.database_url import DatabaseUrl
from ..core.pull import Pull, PullKey
from .common import CommandError, add_common, complain, price_words, printable, settings_of

if TYPE_CHECKING:
    from ..config import Settings
    from ..core.lane import LaneSpec
    from ..providers.base import Check
    from ..providers.roster import Roster, Serving


def add(commands: Any) -> None:
    command = commands.add_parser(
        "doctor",
        help="show each lane's server, why no better one is used, and whether it answers",
        description="Exit code 0 if every lane can answer, and the database and the bus that are set; 1 otherwise.",
    )
    add_common(command)
    command.add_argument(
        "--probe", action="store_true", help="also send one tiny request per lane (a paid one, if paid)"
    )
    command.add_argument("--json", action="store_true", help="one JSON object per lane")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..providers.roster import Roster

    settings = settings_of(options)
    roster = Roster(settings, read_environment)
    roster.settle()
    checks = asyncio.run(_examine(roster, options.probe, unloaded_of(settings)))
    pulls = pulls_of(roster, settings)
    log, log_trouble = log_of(settings)
    trouble = [sentence for sentence in (log_trouble, bus_trouble(settings)) if sentence]
    for sentence in trouble:
        complain(sentence)
    if options.json:
        for spec in roster.specs:
            print(json.dumps(as_row(spec, roster.serving(spec.id), checks[spec.id], pulls.get(spec.id))))
    else:
        console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        console.print(f"Lanes: {roster.lanes_path or 'the shipped ones (no lanes file)'}", markup=False)
        console.print(f"Log:   {log}", markup=False)
        if remark := lateness_of(settings):
            console.print(f"Load:  {remark}", markup=False, style="yellow")
        for spec in roster.specs:
            console.print(report(roster.serving(spec.id), checks[spec.id], pulls.get(spec.id)))
    return 0 if all(check.ok for check in checks.values()) and not trouble else 1


async def _examine(roster: Roster, probe: bool, unloaded: set[tuple[str, str]]) -> dict[str, Check]:
    """Check all lanes at once, so that a slow one does not delay the others."""
    try:
        lanes = [spec.id for spec in roster.specs]
        found = await asyncio.gather(*(roster.check(lane, probe, unloaded) for lane in lanes))
        return dict(zip(lanes, found, strict=True))
    finally:
        await roster.aclose()


def log_of(settings: Settings) -> tuple[str, str]:
    """The log's place and how many turns it has; and a sentence if it is a database that cannot be used."""
    from ..log.store import LogError
    from .open_app import log_reader

    try:
        ((n,),) = log_reader(settings).rows("SELECT count(*) FROM turns")
    except (CommandError, LogError) as error:
        return str(settings.db), str(error) if isinstance(settings.db, DatabaseUrl) else ""
    return f"{settings.db} (turns: {n:,})", ""


def bus_trouble(settings: Settings) -> str:
    """A sentence if there is a bus that cannot be used."""
    from .open_app import reached_bus

    try:
        with reached_bus(settings.bus_url) if settings.bus_url else nullcontext():
            return ""
    except CommandError as error:
        return str(error)


def unloaded_of(settings: Settings) -> set[tuple[str, str]]:
    """Models that were unloaded to load another, by the log; a log that cannot be read tells of none."""
    from ..log.reloads import unloaded_pairs
    from ..log.store import LogError
    from .open_app import log_reader

    try:
        return unloaded_pairs(log_reader(settings))
    except (CommandError, LogError):
        return set()


def lateness_of(settings: Settings) -> str:
    """A sentence about a process that had more to do lately than it can; empty if none had, or the log is not read."""
    from ..log.lateness import LATE_MS, lateness
    from ..log.store import LogError
    from .open_app import log_reader

    since = datetime.now(UTC) - timedelta(days=1)
    try:
        late = lateness(log_reader(settings), utc.text(since))
    except (CommandError, LogError):
        return ""
    if not late.n_late:
        return ""
    return (
        f"In {late.n_late} of {late.n} attempts of the last 24 hours the engine was more than {LATE_MS:g} ms late (at "
        f"most {late.worst_ms:,.0f} ms, at {late.worst_at_utc[:16]} UTC): there was more to do than one core can. "
        "Pages lag then; the figures have wider error bounds. Fewer people at once or a faster machine help."
    )


def pulls_of(roster: Roster, settings: Settings) -> dict[str, Pull]:
    """What the app at this log pulls for each lane, or pulled in part; a log that cannot be read tells of none."""
    from ..core.pull import DONE
    from ..log.pulls import stored_pulls
    from ..log.store import LogError
    from .open_app import log_reader

    try:
        stored = {pull.key: pull for pull in stored_pulls(log_reader(settings)) if pull.state != DONE}
    except (CommandError, LogError):
        return {}
    wanted = {spec.id: provider.spec for spec in roster.specs if (provider := roster.puller(spec.id))}
    keys = {lane: PullKey(spec.server, spec.model) for lane, spec in wanted.items()}
    return {lane: stored[key] for lane, key in keys.items() if key in stored}


def as_row(spec: LaneSpec, serving: Serving, check: Check, pull: Pull | None) -> dict[str, Any]:
    """All that is known about a lane, as a flat dict for ``--json``. ``pull``: see ``core.pull``."""
    described = asdict(pull) | {"left_s": pull.left_s} if pull else None
    if described:
        del described["server"]  # the same as base_url, which a stand-in does not have
    return {
        **asdict(serving),
        "provider": spec.provider,
        "base_url": spec.base_url,
        **asdict(check),
        "pull": described,
    }


def report(serving: Serving, check: Check, pull: Pull | None = None) -> Text:
    """A lane as a short paragraph."""
    mark, style = ("✓", "green") if check.ok else ("✗", "red")
    text = Text(f"\n{mark} ", style=style).append(f"{serving.label}", style="bold")
    text.append(f"  {serving.lane}", style="dim")
    lines = [f"{serving.via}: {serving.model} ({price_words(serving.price)})", serving.why]
    if serving.why_not_better:
        lines.append(f"{serving.why_not_better} For the real one: {serving.how_to_get_real}".strip())
    lines.append(" · ".join(findings(check)))
    for line in filter(None, lines):
        text.append(f"\n  {printable(line)}")
    for server, one in check.servers.items():
        text.append(f"\n  {'✓' if one.ok else '✗'} ", style="green" if one.ok else "red")
        words = " · ".join([*findings(one), *([remark] if (remark := remark_of(one)) else [])])
        text.append(printable(f"{server}: {words}"))
    if not check.servers and (remark := remark_of(check)):
        text.append(f"\n  {printable(remark)}", style="dim" if check.ok else style)
    for warning in check.warnings:
        text.append(f"\n  {printable(warning)}", style="yellow")
    if pull:
        text.append(f"\n  {printable(pull.words)}", style="cyan")
    if check.detail:
        text.append(f"\n  The server's own words: {printable(check.detail)}", style="dim")
    return text


def remark_of(check: Check) -> str:
    """What is wrong and what to do about it; empty if nothing is."""
    return " ".join(part for part in (check.problem, check.remedy, check.command) if part)


def findings(check: Check) -> list[str]:
    """The known results of a check, in words."""
    words = {
        "reachable": ("reachable", "not reachable"),
        "key_valid": ("key valid", "key not accepted"),
        "model_present": ("model there", "model not there"),
        "thinking": ("shows its thinking", "does not think"),
    }
    found = [
        yes if getattr(check, name) else no for name, (yes, no) in words.items() if getattr(check, name) is not None
    ]
    if check.dialect:
        found.append(f"thinking arrives as {check.dialect}")
    if check.context_tokens is not None:
        found.append(f"context of {check.context_tokens:,} tokens")
    if check.trained_tokens is not None:
        found.append(f"trained for {check.trained_tokens:,}")
    if check.latency_ms is not None:
        found.append(f"answered in {check.latency_ms:.0f} ms")
    return found
