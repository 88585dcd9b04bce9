"""Whether a host is this machine. On the answer hang a password and who may see a request, so a doubt is a no."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """True for ``localhost``, names below it (RFC 6761) and loopback addresses, an IPv6 one without its brackets.

    A name that only looks like an address (``127.example.com``) is somebody's, and 0.0.0.0 is every address of this
    machine: no.
    """
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
