"""Configuration: command line options, environment and ``.env``, as plain values.

Precedence, highest first: option, environment variable, ``.env`` (working directory, then the app's own directory),
default. Keys are only ever read from the environment mapping built here; nothing in this module prints a value of it.
It knows nothing of providers: what a lane is served by is ``providers.roster``'s decision.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import platformdirs
from dotenv.parser import parse_stream

from .core.budget import BudgetError, read_usd
from .core.loopback import is_loopback

APP_DIRECTORY = Path(__file__).resolve().parent.parent
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7860
_FOR_CLIENTS = ("OLLAMA_HOST", "SSL_CERT_FILE", "SSL_CERT_DIR")  # besides *_proxy: what HTTP clients read unasked
_environment_in_use = threading.RLock()


class ConfigError(Exception):
    """A mistake of configuration: one sentence that says where it is and what to do about it."""


@dataclass(frozen=True)
class Settings:
    """How this process runs. ``lanes`` is None when the shipped lanes are to be used.

    ``budget_usd`` is what a person may spend a day (UTC) before the page asks, where they have set nothing themselves;
    None: the page does not ask.
    ``env`` holds the environment with ``.env`` beneath it; it contains keys and is therefore kept out of ``repr``.
    """

    host: str
    port: int
    db: Path
    lanes: Path | None = None
    browser: bool = True
    budget_usd: float | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def password(self) -> str:
        """The password people must give before they see anything; empty: none is asked for. Blanks alone are none."""
        password = self.env.get("KIMI_UI_PASSWORD", "")
        return password if password.strip() else ""

    @property
    def more_hosts(self) -> tuple[str, ...]:
        """Names this server also goes by, e.g. a proxy's: ``KIMI_UI_HOSTS``, separated by commas."""
        return tuple(name.strip() for name in self.env.get("KIMI_UI_HOSTS", "").split(",") if name.strip())

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach ``host``."""
        return is_loopback(self.host)


def read_environment() -> dict[str, str]:
    """The process's environment, with what ``.env`` files add to it. The environment wins over any file.

    Read anew on every call, so a key written to ``.env`` is taken up while the app runs. Raises ``ConfigError`` for a
    file that cannot be read and for a line that sets nothing.
    """
    merged: dict[str, str] = {}
    for directory in (APP_DIRECTORY, Path.cwd()):
        merged |= _read_dotenv(directory / ".env")
    with _environment_in_use:
        return merged | dict(os.environ)


def _read_dotenv(path: Path) -> dict[str, str]:
    """What the file sets, without what it sets to nothing; empty where there is no such file."""
    if not path.exists() or path.is_dir():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); save it as UTF-8 text.") from error
    values: dict[str, str] = {}
    for line in parse_stream(io.StringIO(text)):
        if line.error or (line.key and line.value is None):  # it may hold a key, so its text is not shown
            raw = line.original.string
            blank = raw[: len(raw) - len(raw.lstrip())].count("\n")
            raise ConfigError(f"{path} line {line.original.line + blank} is not NAME=value; correct or remove it.")
        if line.key:
            values[line.key] = line.value or ""
    return {name: value for name, value in values.items() if value}


@contextmanager
def hidden_from_clients() -> Iterator[None]:
    """Inside, the environment names no proxy, no Ollama and no certificates.

    For importing a library that makes an HTTP client of its own at import: such a client, never used here, raises for
    any setting that it cannot read, where a lane can say in a sentence what is wrong. ``read_environment`` waits.
    """
    with _environment_in_use:
        names = [name for name in os.environ if name in _FOR_CLIENTS or name.lower().endswith("_proxy")]
        hidden = {name: os.environ.pop(name) for name in names}
        try:
            yield
        finally:
            os.environ.update(hidden)


def default_lanes_path() -> Path:
    """Where a lanes file is taken up without being named, if there is one."""
    return platformdirs.user_config_path("kimi-ui", appauthor=False) / "lanes.toml"


def read_settings(
    host: str | None = None,
    port: int | str | None = None,
    db: str | None = None,
    lanes: str | None = None,
    browser: bool = True,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from options (None: not given), then ``KIMI_UI_HOST/_PORT/_DB/_LANES``, then the defaults.

    ``KIMI_UI_BUDGET_USD`` has no option. Raises ``ConfigError`` for a host, a port or a budget that is none, and for a
    named lanes file that does not exist.
    """
    env = read_environment() if env is None else env
    chosen_db = db or env.get("KIMI_UI_DB")
    chosen_lanes = lanes or env.get("KIMI_UI_LANES")
    lanes_path = Path(chosen_lanes).expanduser() if chosen_lanes else None
    if lanes_path and not lanes_path.is_file():
        raise ConfigError(f"There is no lanes file at {lanes_path}; check the path given by --lanes or KIMI_UI_LANES.")
    return Settings(
        host=_host(host or env.get("KIMI_UI_HOST") or DEFAULT_HOST),
        port=_port(port if port is not None else env.get("KIMI_UI_PORT") or DEFAULT_PORT),
        db=Path(chosen_db).expanduser().absolute() if chosen_db else default_db_path(),
        lanes=lanes_path,
        browser=browser,
        budget_usd=_budget_usd(env.get("KIMI_UI_BUDGET_USD", "")),
        env=env,
    )


def default_db_path() -> Path:
    """The log's place under the user's data directory."""
    return platformdirs.user_data_path("kimi-ui", appauthor=False) / "kimi-ui.sqlite3"


def _budget_usd(value: str) -> float | None:
    try:
        return read_usd(value.strip())
    except BudgetError as error:
        raise ConfigError(f"KIMI_UI_BUDGET_USD is {value!r}. {error}") from None


def _host(value: str) -> str:
    """An address or a name; the brackets of an IPv6 address are a URL's and go."""
    host = value.strip().removeprefix("[").removesuffix("]")
    try:
        if not re.fullmatch(r"[\w.-]+", host):  # no name
            ip_address(host)
    except ValueError:
        raise ConfigError(
            f"{value!r} is not an address; give --host (or KIMI_UI_HOST) one like 127.0.0.1, and the port by --port."
        ) from None
    return host


def _port(value: int | str) -> int:
    try:
        port = int(value)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise ConfigError(f"{value!r} is not a port; give --port (or KIMI_UI_PORT) a number from 0 to 65535.")
    return port
