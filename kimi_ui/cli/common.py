"""Shared by the commands: common options, settings, and text that is safe to print."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from ..config import Settings, read_environment, read_settings
from ..core.events import Failure

if TYPE_CHECKING:
    from ..core.lane import Price

# Text of models and servers may contain terminal escape sequences. This matches C0 and C1 controls except tab and line
# feed, and the bidirectional overrides, which reorder text.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class CommandError(Exception):
    """The command cannot run. The message is one sentence with the remedy."""


def printable(text: str) -> str:
    """Text without terminal control characters."""
    return _UNPRINTABLE.sub("\ufffd", text)


def complain(sentence: str) -> None:
    print(f"kimi_ui: {printable(sentence)}", file=sys.stderr)


def sentence_of(failure: Failure) -> str:
    """The failure's message and remedy, as one line."""
    return " ".join(part for part in (failure.message, failure.remedy, failure.command) if part)


def add_common(command: argparse.ArgumentParser) -> None:
    """Add ``--lanes`` and ``--db``, which every command that sends or reads has."""
    command.add_argument("--lanes", metavar="FILE", help="lanes file (TOML) instead of the shipped lanes")
    command.add_argument(
        "--db",
        metavar="FILE",
        help="the log, an SQLite file or the URL of a PostgreSQL database, instead of the file in your data directory",
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings from these options, the environment and ``.env``. Raises ``ConfigError``."""
    names = ("host", "port", "db", "lanes", "root_path", "log_format")
    given: dict[str, Any] = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return read_settings(**given, browser=getattr(options, "browser", True), env=read_environment())


def price_words(price: Price | None) -> str:
    """A price in words, with its date."""
    if price is None:
        return "price not known"
    if not price.input and not price.output:
        return "free, runs here"
    cached = f" (cached {price.cached_input:g})" if price.cached_input is not None else ""
    day = f", {price.as_of}" if price.as_of else ""
    return f"${price.input:g}{cached} in, ${price.output:g} out per million tokens{day}"
