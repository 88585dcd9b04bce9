"""The address of a PostgreSQL database as a value that shows no password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/?#\s]*))?@)?(?P<hosts>[^@/?#\s]*)"
    r"(?:/(?P<name>[^@/?#\s]*))?(?:\?[^#\s]*)?"
)


@dataclass(frozen=True)
class DatabaseUrl:
    """``secret``: the URL as it was given, as libpq reads it (``postgresql://user:password@host:port/name``).

    ``str()`` and ``repr()`` show neither its password nor its parameters. Raises ``ValueError`` where the parts cannot
    be told apart, so that no part of a password is taken for another.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.secret):
            raise ValueError("it is not postgresql://user:password@host:port/name, with %40 for an @ in the password")

    @staticmethod
    def is_one(text: str) -> bool:
        """Whether the text is meant as such a URL and not as a file's path."""
        return text.startswith(("postgresql:", "postgres:"))

    @property
    def name(self) -> str:
        """The database's name; empty: the user's own."""
        return unquote(self._part("name"))

    def __str__(self) -> str:
        user = self._part("user")
        return f"postgresql://{f'{user}@' if user else ''}{self._part('hosts')}/{self._part('name')}"

    def _part(self, name: str) -> str:
        found = _URL.fullmatch(self.secret)
        return (found[name] or "") if found else ""
