"""The users file: the people who may sign in, with argon2 hashes of their passwords.

    [[user]]
    id = "3f0c…"                # in the log; never changes, so a new user of an old name gets nothing of the old one's
    name = "ada"
    role = "admin"              # admin | member
    password = "$argon2id$…"

``python -m kimi_ui users`` writes it; the server reads it again when it has changed, and never writes it. Only its
owner may read it (mode 0600).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import tomlkit
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from filelock import FileLock

from .config import ConfigError
from .core.owner import MEMBER, ROLES, Person
from .replace_file import replace_file

MIN_PASSWORD_CHARS = 8
MAX_PASSWORD_CHARS = 1000
HEAD = "The people who may sign in to Kimi UI. `python -m kimi_ui users` changes this file."
_NAME = re.compile(r"[\w.@+-]{1,64}")
HASHER = PasswordHasher()


class User(NamedTuple):
    """A line of the file."""

    id: str
    name: str
    role: str
    password: str  # the hash

    @property
    def person(self) -> Person:
        return Person(self.id, self.name, self.role)

    @property
    def credential(self) -> str:
        """Changes with the password, so that sessions end that began with an older one. It does not disclose it."""
        return hashlib.sha256(self.password.encode()).hexdigest()[:32]


class UsersFile:
    """The users at ``path``. All methods but ``check`` raise ``ConfigError`` for a file that cannot be used; any thread
    may call them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, ...], tuple[User, ...]] | None = None
        self._nobody = ""  # a hash to check where there is no such user

    def users(self) -> tuple[User, ...]:
        """All users, in the file's order."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise ConfigError(_unreadable(self.path, error)) from None
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
        with self._lock:
            if self._read is None or self._read[0] != stamp:
                self._read = stamp, _users(self.path, found.st_mode)
            return self._read[1]

    def named(self, name: str) -> User | None:
        return next((user for user in self.users() if key(user.name) == key(name)), None)

    def user(self, name: str) -> User:
        """The user of this name."""
        return _of_name(self.users(), name)

    def by_id(self, id: str) -> User | None:
        return next((user for user in self.users() if user.id == id), None)

    def check(self, name: str, password: str) -> User | None:
        """The user, if it is their password; takes as long for a name that nobody has. Blocks for 0.1 s of CPU and
        takes 64 MB meanwhile. Raises ``ConfigError``."""
        user = self.named(name)
        if not self._nobody:
            self._nobody = HASHER.hash(secrets.token_urlsafe(32))
        try:
            right = HASHER.verify(user.password if user else self._nobody, password[:MAX_PASSWORD_CHARS])
        except (Argon2Error, InvalidHashError):
            return None
        return user if right else None

    def add(self, name: str, password: str, role: str = MEMBER) -> User:
        """Add a user, and make the file if there is none."""
        if not _NAME.fullmatch(unicodedata.normalize("NFC", name)):
            raise ConfigError(f"{name!r} is not a name; take up to 64 letters, digits and . _ - @ +, without blanks.")
        user = User(secrets.token_hex(16), unicodedata.normalize("NFC", name), role, _hashed(password))

        def added(users: list[User]) -> list[User]:
            if any(key(one.name) == key(name) for one in users):
                raise ConfigError(f"There is a user {name} already; take another name, or change it by users passwd.")
            return [*users, user]

        self._change(added, may_begin=True)
        return user

    def set_password(self, name: str, password: str) -> None:
        """Set a password. All sessions of the user end."""
        hashed = _hashed(password)
        self._replace(name, lambda user: [user._replace(password=hashed)])

    def set_role(self, name: str, role: str) -> None:
        self._replace(name, lambda user: [user._replace(role=role)])

    def remove(self, name: str) -> None:
        self._replace(name, lambda user: [])

    def _replace(self, name: str, change: Callable[[User], list[User]]) -> None:
        def replaced(users: list[User]) -> list[User]:
            old = _of_name(users, name)
            return [new for user in users for new in (change(user) if user is old else [user])]

        self._change(replaced)

    def _change(self, change: Callable[[list[User]], list[User]], may_begin: bool = False) -> None:
        with _alone(self.path):
            users = [] if may_begin and not self.path.exists() else list(self.users())
            _write(self.path, change(users))
            self._read = None


def key(name: str) -> str:
    """Names that are equal but for case or the way they are written have the same key."""
    return unicodedata.normalize("NFKC", name).casefold()


def _of_name(users: Sequence[User], name: str) -> User:
    for user in users:
        if key(user.name) == key(name):
            return user
    names = ", ".join(user.name for user in users) or "none"
    raise ConfigError(f"There is no user {name}; the users are: {names}.")


def _hashed(password: str) -> str:
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        limits = f"{MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS:,} characters"
        raise ConfigError(f"A password has {limits}, this one has {len(password):,}; take another.")
    return HASHER.hash(password)


def _users(path: Path, mode: int) -> tuple[User, ...]:
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"Others may read {path}, which has hashes of passwords; chmod 600 it.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("user", [])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(_unreadable(path, error)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML ({error}); correct it, or restore it from a copy.") from None
    users: list[User] = []
    for number, table in enumerate(tables if isinstance(tables, list) else [None], start=1):
        user = _user(table)
        if user is None or user.id in {one.id for one in users} or key(user.name) in {key(one.name) for one in users}:
            roles = " or ".join(ROLES)
            raise ConfigError(
                f"User {number} of {path} needs an id and a name of its own, a role ({roles}) and the hash of a "
                "password; correct it, or remove it and add the user again."
            )
        users.append(user)
    return tuple(users)


def _user(table: object) -> User | None:
    """The user of a table, None if the table is invalid."""
    if not isinstance(table, dict) or not all(isinstance(table.get(name), str) for name in User._fields):
        return None
    user = User(**{name: table[name] for name in User._fields})
    valid = user.id and _NAME.fullmatch(user.name) and user.role in ROLES and user.password.startswith("$argon2")
    return user if valid else None


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no users file at {path}; add the first user: python -m kimi_ui users add NAME --role admin."
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return f"The users file {path} cannot be read ({reason}); check KIMI_UI_AUTH and the file."


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process changes the file meanwhile."""
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent} for the users file; make it, or correct KIMI_UI_AUTH.")
    with FileLock(path.with_name(f".{path.name}.lock"), mode=0o600):
        yield


def _write(path: Path, users: Sequence[User]) -> None:
    document = tomlkit.document()
    document.add(tomlkit.comment(HEAD))
    tables = tomlkit.aot()
    for user in users:
        tables.append(tomlkit.item(user._asdict()))
    document.append("user", tables)
    replace_file(path, (tomlkit.dumps(document) if users else f"# {HEAD}\n").encode())
