"""``users``: the people who may sign in, in the users file of ``KIMI_UI_AUTH=users:PATH``.

A password is typed, or is the first line of the standard input; it is never an argument, which other users of the
machine could read. A running server notices every change at once: sessions end with the password that began them.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import read_auth, read_environment
from ..core.owner import MEMBER, ROLES
from .common import CommandError, printable

if TYPE_CHECKING:
    from ..users_file import UsersFile


def add(commands: Any) -> None:
    command = commands.add_parser("users", help="the people who may sign in: add, list, passwd, role, remove")
    verbs = command.add_subparsers(metavar="VERB", required=True)
    for name, run, text in (
        ("add", _add, "add a user; asks for the password, or reads it from the standard input"),
        ("list", _list, "list names and roles"),
        ("passwd", _passwd, "set a user's password and end their sessions"),
        ("role", _role, "make a user a member or an admin"),
        ("remove", _remove, "remove a user and end their sessions; what they did stays in the log"),
    ):
        verb = verbs.add_parser(name, help=text)
        if name != "list":
            verb.add_argument("name", metavar="NAME")
        if name == "add":
            verb.add_argument("--role", choices=ROLES, default=MEMBER, help="an admin sees all figures and edits lanes")
        if name == "role":
            verb.add_argument("role", choices=ROLES)
        verb.add_argument("--file", metavar="PATH", help="users file, instead of that of KIMI_UI_AUTH")
        verb.set_defaults(run=run)


def _add(options: argparse.Namespace) -> int:
    file = _file(options)
    if file.path.exists() and file.named(options.name):
        raise CommandError(f"There is a user {options.name} already; set another password by users passwd.")
    user = file.add(options.name, _password(), options.role)
    print(printable(f"{user.name} may sign in as {user.role}."))
    return 0


def _list(options: argparse.Namespace) -> int:
    for user in _file(options).users():
        print(printable(f"{user.name}  {user.role}"))
    return 0


def _passwd(options: argparse.Namespace) -> int:
    file = _file(options)
    file.user(options.name)  # before a password is typed for nobody
    file.set_password(options.name, _password())
    print(printable(f"{options.name} has a new password and must sign in again everywhere."))
    return 0


def _role(options: argparse.Namespace) -> int:
    _file(options).set_role(options.name, options.role)
    print(printable(f"{options.name} is now {options.role}."))
    return 0


def _remove(options: argparse.Namespace) -> int:
    _file(options).remove(options.name)
    print(printable(f"{options.name} may not sign in any more."))
    return 0


def _file(options: argparse.Namespace) -> UsersFile:
    from ..users_file import UsersFile

    auth = read_auth(read_environment())
    path = Path(options.file).expanduser().absolute() if options.file else auth and auth.users
    if not path:
        raise CommandError(
            "Which users file? Name it: KIMI_UI_AUTH=users:PATH (in the environment or .env), or --file PATH."
        )
    return UsersFile(path)


def _password() -> str:
    """Typed twice on a terminal, otherwise the first line of the standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise CommandError("The two passwords differ; nothing was changed, try again.")
    return password
