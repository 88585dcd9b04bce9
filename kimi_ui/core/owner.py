"""Whose a turn is: a person's, a browser's (a hash of its cookie), the machine's user, or nobody's.

Where the app asks for no password, whoever reaches it is the machine's user: every turn of the log is theirs, whatever
browser or program sent it. Where it asks for one, several people may use it, and each browser has its own turns. With
accounts each person has theirs, in every browser.
"""

from __future__ import annotations

from typing import NamedTuple

LOCAL = "local"  # the machine's user; the owners of browsers are 32 hexadecimal digits
PROGRAM = ""  # sent from the terminal or by a program
PERSON = "person:"  # begins the owners of people with an account

MEMBER = "member"
ADMIN = "admin"  # also sees everybody's figures, and changes lanes
ROLES = (MEMBER, ADMIN)


class Person(NamedTuple):
    """Someone who has signed in. ``id`` never changes and is nobody else's, ever; ``name`` is what the page shows."""

    id: str
    name: str
    role: str = MEMBER

    @property
    def owner(self) -> str:
        """The owner of this person's turns."""
        return f"{PERSON}{self.id}"

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN


def may_read_programs(owner: str) -> bool:
    """Whether turns of programs can be read by their unguessable id. People with an account read only their own."""
    return not owner.startswith(PERSON)


def may_read(whose: str, owner: str) -> bool:
    """True for own turns, and for those of programs if ``may_read_programs``."""
    return owner in (LOCAL, whose) or (whose == PROGRAM and may_read_programs(owner))


def may_change(whose: str, owner: str) -> bool:
    """Whether ``owner`` may go on with a conversation of ``whose``, rename it and delete it."""
    return owner in (LOCAL, whose)
