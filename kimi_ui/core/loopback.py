"""Whether a host is this machine. Access without a password depends on the answer, so a doubtful host is not."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """True for ``localhost``, names below it (RFC 6761) and loopback addresses; IPv6 without brackets.

    False for a name that only looks like an address (``127.example.com``) and for 0.0.0.0, which means every address
    of this machine.
    """
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
