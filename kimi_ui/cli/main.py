"""Options and dispatch. Each command is a module with ``add`` (its options) and ``run`` (returns the exit code)."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import suppress

from .. import __version__
from ..config import ConfigError
from . import bench, compare, doctor, export, log, replay, serve, stats, users
from .common import CommandError, complain
from .interrupt import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code. Expected errors are one sentence on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters that the terminal cannot encode
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except (ConfigError, CommandError) as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        with suppress(OSError):
            sys.stdout.close()  # the reader has gone; prevents a second error at the interpreter's exit
        return 1
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        complain(f"{what}. Check the path, its permissions and the free disk space.")
        return 2
    except Exception as error:
        from ..log.store import LogError  # takes half a second, too long for --help

        if not isinstance(error, LogError):
            raise
        complain(str(error))
        return 2


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="kimi_ui",
        description="One prompt, several models side by side, thinking visible, every turn measured.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"Kimi UI {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for command in (serve, compare, stats, bench, replay, export, log, doctor, users):
        command.add(commands)
    return top
