"""Configuration: command line options, environment and ``.env``, as plain values.

Precedence, highest first: option, environment variable, ``.env`` (working directory, then the app's own directory),
default. Keys are only ever read from the environment mapping built here; nothing in this module prints a value of it.
It knows no provider: ``providers.roster`` decides what serves a lane.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from dotenv.parser import parse_stream

from .core.budget import BudgetError, read_usd
from .core.database_url import DatabaseUrl
from .core.loopback import is_loopback

APP_DIRECTORY = Path(__file__).resolve().parent.parent
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7860
DEFAULT_DRAIN_S = 5.0  # with what ends after it, less than the 10 s that Docker waits before it kills
LOG_FORMATS = ("text", "json")
MAX_DRAIN_S = 86_400
MIN_TOKEN_CHARS = 16
_FOR_CLIENTS = (
    "OLLAMA_HOST",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)  # HTTP clients read these and *_proxy
_PATH = re.compile(r"(/[A-Za-z0-9._~-]{1,100}){1,8}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
_environment_in_use = threading.RLock()


class ConfigError(Exception):
    """A mistake of configuration: one sentence that says where it is and what to do about it."""


@dataclass(frozen=True)
class OpenIdProvider:
    """An OpenID provider, and this app as its client. ``name`` is the claim with a person's name (empty: see
    ``web.openid``), ``admins`` a claim and the value that makes an admin (None: there are none), ``public_url`` the
    page's address (empty: that of each request)."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = "openid email profile"
    name: str = ""
    admins: tuple[str, str] | None = None
    public_url: str = ""


@dataclass(frozen=True)
class Auth:
    """How people with an account sign in (``KIMI_UI_AUTH``): by the file ``users``, at the provider ``openid``, or by
    the ``header`` in which one of the ``proxies`` names them. ``admins`` are the admins among those that a proxy names.
    """

    users: Path | None = None
    openid: OpenIdProvider | None = None
    header: str = ""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    admins: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Settings:
    """How this process runs. ``lanes`` None: the shipped lanes.

    ``budget_usd``: what a person without a budget of their own may spend a day (UTC) before the page asks; None: it
    never asks. ``root_path`` is the path at which a proxy publishes the app, like ``/chat``; empty: at the root, or
    where the proxy says. ``log_format`` is one of ``LOG_FORMATS``; ``drain_s``: how long running turns may go on after
    SIGTERM. ``auth``: how people sign in; None: with the ``password``, if there is one. ``env`` is the environment and
    ``.env``; it holds keys and is therefore not in ``repr``.
    """

    host: str
    port: int
    db: Path | DatabaseUrl
    lanes: Path | None = None
    browser: bool = True
    budget_usd: float | None = None
    root_path: str = ""
    log_format: str = "text"
    drain_s: float = DEFAULT_DRAIN_S
    auth: Auth | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def password(self) -> str:
        """The password that the page requires; empty: it requires none. Blanks alone are no password."""
        password = self.env.get("KIMI_UI_PASSWORD", "")
        return password if password.strip() else ""

    @property
    def metrics_token(self) -> str:
        """What ``/metrics`` requires as a bearer token: ``KIMI_UI_METRICS_TOKEN``; empty: none of its own."""
        return self.env.get("KIMI_UI_METRICS_TOKEN", "").strip()

    @property
    def sends_traces(self) -> bool:
        """Whether attempts are sent to an OpenTelemetry collector: ``KIMI_UI_TRACES`` is ``otlp``."""
        return self.env.get("KIMI_UI_TRACES", "") == "otlp"

    @property
    def bus_url(self) -> str:
        """Where several server processes meet: ``KIMI_UI_BUS``, the address of a Valkey or Redis server, which may hold
        a password; empty: this process is alone."""
        return self.env.get("KIMI_UI_BUS", "").strip()

    @property
    def more_hosts(self) -> tuple[str, ...]:
        """Other names of this server, e.g. a proxy's: ``KIMI_UI_HOSTS``, separated by commas."""
        return tuple(name.strip() for name in self.env.get("KIMI_UI_HOSTS", "").split(",") if name.strip())

    @property
    def may_edit_lanes(self) -> bool:
        """Whether the page may change the lanes file though a password lets several people in."""
        return self.env.get("KIMI_UI_EDIT_LANES", "").strip().lower() in ("1", "true", "yes", "on")

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach ``host``."""
        return is_loopback(self.host)


def read_environment() -> dict[str, str]:
    """The process's environment and the ``.env`` files. The environment takes precedence over any file.

    Every call reads the files again, so a key written to ``.env`` takes effect while the app runs. Raises
    ``ConfigError`` for a file that cannot be read and for a line that sets nothing.
    """
    merged: dict[str, str] = {}
    for directory in (APP_DIRECTORY, Path.cwd()):
        merged |= _read_dotenv(directory / ".env")
    with _environment_in_use:
        return merged | dict(os.environ)


def _read_dotenv(path: Path) -> dict[str, str]:
    """The variables that the file sets, without empty ones; nothing if there is no such file."""
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
    """Inside the block, the environment names no proxy, no Ollama and no certificates.

    For importing a library that builds an HTTP client at import: that client, which is never used, raises for a setting
    it cannot read, whereas a lane reports the mistake in a sentence. ``read_environment`` waits for the block.
    """
    with _environment_in_use:
        names = [name for name in os.environ if name in _FOR_CLIENTS or name.lower().endswith("_proxy")]
        hidden = {name: os.environ.pop(name) for name in names}
        try:
            yield
        finally:
            os.environ.update(hidden)


def default_lanes_path() -> Path:
    """The lanes file that is used without ``--lanes``, if it exists."""
    return platformdirs.user_config_path("kimi-ui", appauthor=False) / "lanes.toml"


def read_settings(
    host: str | None = None,
    port: int | str | None = None,
    db: str | None = None,
    lanes: str | None = None,
    browser: bool = True,
    root_path: str | None = None,
    log_format: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from options (None: not given), then ``KIMI_UI_HOST``, ``_PORT``, ``_DB``, ``_LANES``, ``_ROOT_PATH``
    and ``_LOG_FORMAT``, then the defaults.

    ``KIMI_UI_BUDGET_USD``, ``_DRAIN_SECONDS``, ``_METRICS_TOKEN`` and ``_TRACES`` have no option. Raises
    ``ConfigError`` for an invalid value, and for a named lanes file that does not exist.
    """
    env = read_environment() if env is None else env
    chosen_db = db or env.get("KIMI_UI_DB")
    chosen_lanes = lanes or env.get("KIMI_UI_LANES")
    lanes_path = Path(chosen_lanes).expanduser() if chosen_lanes else None
    if lanes_path and not lanes_path.is_file():
        raise ConfigError(f"There is no lanes file at {lanes_path}; check the path given by --lanes or KIMI_UI_LANES.")
    settings = Settings(
        host=_host(host or env.get("KIMI_UI_HOST") or DEFAULT_HOST),
        port=_port(port if port is not None else env.get("KIMI_UI_PORT") or DEFAULT_PORT),
        db=read_place(chosen_db) if chosen_db else default_db_path(),
        lanes=lanes_path,
        browser=browser,
        budget_usd=_budget_usd(env.get("KIMI_UI_BUDGET_USD", "")),
        root_path=_root_path(root_path or env.get("KIMI_UI_ROOT_PATH") or env.get("GRADIO_ROOT_PATH") or ""),
        log_format=_log_format(log_format or env.get("KIMI_UI_LOG_FORMAT") or "text"),
        drain_s=_drain_s(env.get("KIMI_UI_DRAIN_SECONDS", "")),
        auth=read_auth(env),
        env=env,
    )
    if settings.auth and settings.password:
        raise ConfigError("KIMI_UI_AUTH and KIMI_UI_PASSWORD are both set; remove the one that is not meant.")
    if (traces := env.get("KIMI_UI_TRACES", "")) not in ("", "otlp"):
        raise ConfigError(f"KIMI_UI_TRACES is {traces!r}; make it otlp, or leave it out.")
    if 0 < len(settings.metrics_token) < MIN_TOKEN_CHARS:
        raise ConfigError(
            f"KIMI_UI_METRICS_TOKEN can be guessed; give it at least {MIN_TOKEN_CHARS} random characters."
        )
    return settings


def read_place(chosen: str) -> Path | DatabaseUrl:
    """A log's place: an SQLite file, or a PostgreSQL database. Raises ``ConfigError``."""
    if not DatabaseUrl.is_one(chosen):
        return Path(chosen).expanduser().absolute()
    try:
        return DatabaseUrl(chosen)
    except ValueError as error:  # which may hold a password, so it is not shown
        raise ConfigError(f"The URL of the database cannot be read: {error}.") from None


def read_auth(env: Mapping[str, str]) -> Auth | None:
    """``KIMI_UI_AUTH`` and the variables that go with it; None if it is not set. Raises ``ConfigError``."""
    value = env.get("KIMI_UI_AUTH", "").strip()
    if not value:
        return None
    kind, _, rest = value.partition(":")
    if kind == "users" and rest.strip():
        return Auth(users=Path(rest.strip()).expanduser().absolute())
    if kind == "oidc" and rest.strip():
        return Auth(openid=_openid(rest.strip(), env))
    if kind == "proxy" and _HEADER.fullmatch(rest.strip()):
        admins = frozenset(name.strip() for name in env.get("KIMI_UI_ADMINS", "").split(",") if name.strip())
        return Auth(header=rest.strip().lower(), proxies=_proxies(env.get("KIMI_UI_PROXY", "")), admins=admins)
    raise ConfigError(
        "KIMI_UI_AUTH is none of users:PATH (a users file), oidc:ISSUER (the address of an OpenID provider) and "
        "proxy:HEADER (in which a trusted proxy names the person); correct it, or leave it out."
    )


def _openid(issuer: str, env: Mapping[str, str]) -> OpenIdProvider:
    if not _is_address(issuer) or not (issuer.startswith("https:") or is_loopback(urlsplit(issuer).hostname or "")):
        raise ConfigError(
            "KIMI_UI_AUTH=oidc:… names no issuer; give it the provider's https address, as the provider states it."
        )
    client = {name: env.get(f"KIMI_UI_OIDC_{name}", "").strip() for name in ("CLIENT_ID", "CLIENT_SECRET")}
    for name, value in client.items():
        if not value:
            raise ConfigError(
                f"KIMI_UI_AUTH=oidc:… needs KIMI_UI_OIDC_{name}; register this app at the provider, which states it."
            )
    public_url = env.get("KIMI_UI_PUBLIC_URL", "").strip().rstrip("/")
    if public_url and not _is_address(public_url):
        raise ConfigError(
            f"KIMI_UI_PUBLIC_URL is {public_url!r}; give it the address of this page, like https://chat.example.org."
        )
    admins = env.get("KIMI_UI_OIDC_ADMINS", "").strip()
    claim, _, wanted = (part.strip() for part in admins.partition("="))
    if admins and not (claim and wanted):
        raise ConfigError(
            f"KIMI_UI_OIDC_ADMINS is {admins!r}; give it the claim and the value of an admin, like groups=kimi-admins."
        )
    scope = env.get("KIMI_UI_OIDC_SCOPE", "").split() or OpenIdProvider.scope.split()
    return OpenIdProvider(
        issuer,
        client["CLIENT_ID"],
        client["CLIENT_SECRET"],
        scope=" ".join(dict.fromkeys(["openid", *scope])),
        name=env.get("KIMI_UI_OIDC_NAME", "").strip(),
        admins=(claim, wanted) if admins else None,
        public_url=public_url,
    )


def _is_address(value: str) -> bool:
    """Whether it is a URL for HTTP without user, query and fragment."""
    try:
        url = urlsplit(value)
        has_host = bool(url.hostname)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and has_host and value.isprintable() and not set(value) & set(" ?#@")


def _proxies(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise ConfigError(
            "KIMI_UI_AUTH=proxy:… believes whoever sends the header, so name the proxy: KIMI_UI_PROXY=ADDRESS, or "
            "ADDRESS/NET; several are separated by commas."
        )
    try:
        networks = tuple(ip_network(name) for name in names)
    except ValueError as error:
        raise ConfigError(
            f"KIMI_UI_PROXY is {value!r} ({error}); give it addresses like 10.0.0.5 or networks like 10.0.0.0/24."
        ) from None
    if any(not network.prefixlen for network in networks):
        raise ConfigError("KIMI_UI_PROXY is every address there is; name the proxy's own.")
    return networks


def default_db_path() -> Path:
    """The log's default path in the user's data directory."""
    return platformdirs.user_data_path("kimi-ui", appauthor=False) / "kimi-ui.sqlite3"


def _budget_usd(value: str) -> float | None:
    try:
        return read_usd(value.strip())
    except BudgetError as error:
        raise ConfigError(f"KIMI_UI_BUDGET_USD is {value!r}. {error}") from None


def _log_format(value: str) -> str:
    if value not in LOG_FORMATS:
        raise ConfigError(f"{value!r} is not a format of logs; give --log-format (or KIMI_UI_LOG_FORMAT) text or json.")
    return value


def _drain_s(value: str) -> float:
    try:
        seconds = float(value) if value.strip() else DEFAULT_DRAIN_S
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_DRAIN_S:
        raise ConfigError(f"KIMI_UI_DRAIN_SECONDS is {value!r}; give it seconds from 0 to {MAX_DRAIN_S}.")
    return seconds


def clean_prefix(value: str) -> str | None:
    """A path prefix with one leading slash and no trailing one; empty for the root, None if the value is invalid."""
    value = "/" + value.strip().strip("/")
    if value == "/":
        return ""
    return value if _PATH.fullmatch(value) and not {".", ".."} & set(value.split("/")) else None


def _root_path(value: str) -> str:
    """A path like ``/chat/ui``, or a whole URL, of which only the path counts (Gradio's variable may be one)."""
    if prefix := clean_prefix(urlsplit(value).path if "://" in value else value):
        return prefix
    if prefix is None:
        raise ConfigError(
            f"{value!r} is not a path; give --root-path (or KIMI_UI_ROOT_PATH) the one that the proxy publishes, "
            "like /chat."
        )
    return ""


def _host(value: str) -> str:
    """An address or a name. The brackets of an IPv6 address belong to URLs and are removed."""
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
