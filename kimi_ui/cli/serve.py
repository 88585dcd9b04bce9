"""``serve``: run the page. Prints its URL, the log's path and each lane's server. Ctrl-C ends it cleanly.

SIGTERM lets running turns end first, for ``KIMI_UI_DRAIN_SECONDS`` at most.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ..config import Settings
from ..core.events import Phase
from ..process import collect_between_turns, open_many_files, start_without_collecting
from ..tokenizers import counter
from . import json_logs
from .common import CommandError, add_common, printable, settings_of

if TYPE_CHECKING:
    from ..providers.embedded.backend import EmbeddedBackend
    from ..providers.roster import Roster

POLL_S = 0.2


def add(commands: Any) -> None:
    command = commands.add_parser("serve", help="open the page (what app.py does)")
    command.add_argument("--host", help="address to listen on (127.0.0.1: this machine only)")
    command.add_argument("--port", help="port to listen on (7860; 0 takes a free one)")
    command.add_argument("--root-path", metavar="PATH", help="path at which a proxy publishes the page, like /chat")
    add_common(command)
    command.add_argument("--log-format", metavar="FORMAT", help="text, or json: one object a line, without texts")
    command.add_argument("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    open_many_files()
    start_without_collecting()
    settings = settings_of(options)
    refuse_open_door(settings)
    check_sign_in(settings)
    as_json = settings.log_format == "json"
    say = json_logs.say if as_json else show
    if as_json:
        json_logs.log_as_json()
    from ..ui.site import create_app
    from ..web.guard import known_hosts
    from ..web.server import Drain, PortInUse, listening, serve
    from ..web.spans import NoExporter, Spans, to_collector
    from .open_app import on_bus, session

    try:
        spans = Spans(to_collector()) if settings.sends_traces else None
    except NoExporter as error:
        raise CommandError(str(error)) from None
    with session(settings) as opened, on_bus(opened) as bus:
        roster = opened.roster

        def ready(url: str) -> None:
            roster.settle(0)
            say(welcome(url, settings, roster))
            for problem in (opened.turns.writer.problem, bus.problem if bus else ""):
                if problem:
                    say(printable(problem))
            threading.Thread(target=counter, name="vocabulary", daemon=True).start()  # 0.15 s before the first token
            roster.warm_up()
            stand_in = roster.backends.stand_in
            fetching = (stand_in, say, Console(file=sys.stdout, force_terminal=False if as_json else None))
            threading.Thread(target=show_fetching, args=fetching, name="progress", daemon=True).start()
            collect_between_turns(lambda: not opened.turns.n_running)
            if settings.browser:
                threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()

        def leave() -> None:
            app.state.streams.closing = True
            opened.engine.expect_shutdown()

        try:
            with listening(settings.host, settings.port) as listener:
                app = create_app(
                    opened.engine,
                    opened.turns,
                    roster,
                    hosts=known_hosts(settings.host, settings.more_hosts),
                    password=settings.password,
                    auth=settings.auth,
                    metrics_token=settings.metrics_token,
                    spans=spans,
                    one_person=not (settings.password or settings.auth),
                    budget_usd=settings.budget_usd,
                    root_path=settings.root_path,
                    bus=bus,
                )
                drain = Drain(opened.engine.drain, lambda: opened.turns.n_running, settings.drain_s)
                serve(
                    app,
                    listener,
                    on_ready=ready,
                    on_exit=leave,
                    drain=drain,
                    has_own_logs=not as_json,
                    sees_peers=bool(settings.auth and settings.auth.proxies),
                )
        except PortInUse as error:
            raise CommandError(str(error)) from None
    return 0


def refuse_open_door(settings: Settings) -> None:
    """Raise ``CommandError`` if other machines could reach the page without a password."""
    if not settings.is_loopback and not settings.password and not settings.auth:
        raise CommandError(
            f"--host {settings.host} would let others use this page and your keys; set KIMI_UI_PASSWORD first "
            "(in the environment or .env), or leave --host out."
        )


def check_sign_in(settings: Settings) -> None:
    """Raise ``ConfigError`` or ``CommandError`` if nobody could sign in."""
    if settings.auth and settings.auth.openid:
        try:
            from ..web import openid  # noqa: F401
        except ImportError:
            raise CommandError(
                "KIMI_UI_AUTH=oidc:… needs the packages authlib and joserfc; install them by pip install '.[team]'."
            ) from None
    if settings.auth and (path := settings.auth.users):
        from ..users_file import UsersFile

        if not UsersFile(path).users():
            raise CommandError(f"{path} has no users; add the first: python -m kimi_ui users add NAME --role admin.")


def welcome(url: str, settings: Settings, roster: Roster) -> str:
    """The text printed when the page is ready."""
    lines = [f"Kimi UI is at {url}", f"Log: {settings.db}"]
    if roster.lanes_path:
        lines.append(f"Lanes: {roster.lanes_path}")
    for serving in roster.servings:
        line = f"  {serving.label}: {serving.via}, {serving.model}."
        if serving.why_not_better:
            line += f" {serving.why_not_better} For the real one: {serving.how_to_get_real}"
        lines.append(line)
    return printable("\n".join(lines))


def show(text: str) -> None:
    print(text, flush=True)


def show_fetching(backend: EmbeddedBackend, say: Callable[[str], None], console: Console) -> None:
    """Show the progress of fetching the weights: a bar on a terminal, otherwise one line at the start."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
    )
    task = None
    while backend.is_starting:
        phase = backend.phase
        if phase and phase.total:
            if task is None:
                task = begin(bar, phase, say)
            bar.update(task, completed=phase.done or 0)
        time.sleep(POLL_S)
    if bar.live.is_started:
        bar.stop()
    if backend.failure:
        say(printable(f"{backend.failure.message} {backend.failure.remedy}"))


def begin(bar: Progress, phase: Phase, say: Callable[[str], None]) -> Any:
    """Start showing a fetch; return the bar's task."""
    if bar.console.is_terminal:
        bar.start()
    else:
        say(phase.detail)
    return bar.add_task(phase.detail, total=phase.total)
