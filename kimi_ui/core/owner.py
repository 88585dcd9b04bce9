"""Whose a turn is: a browser's (a hash of its cookie), the machine's user, or nobody's.

Where the app asks for no password, whoever reaches it is the machine's user: every turn of the log is theirs, whatever
browser or program sent it. Where it asks for one, several people may use it, and each browser has its own turns.
"""

from __future__ import annotations

LOCAL = "local"  # the machine's user; the owners of browsers are 32 hexadecimal digits
PROGRAM = ""  # sent from the terminal or by a program


def may_read(whose: str, owner: str) -> bool:
    """True for own turns and for those of programs, whose unguessable id is the key."""
    return owner == LOCAL or whose in (PROGRAM, owner)


def may_change(whose: str, owner: str) -> bool:
    """Whether ``owner`` may go on with a conversation of ``whose``, rename it and delete it."""
    return owner in (LOCAL, whose)
