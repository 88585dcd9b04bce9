"""Faults by name: the behaviour of the model ``scenario-NAME`` of the test server, in the dialect of the request."""

from __future__ import annotations

from .faults_http import HTTP_FAULTS
from .faults_stream import STREAM_FAULTS
from .telling import Fault, refuse
from .wire import Behaviour

FAULTS: tuple[Fault, ...] = tuple(sorted((*HTTP_FAULTS, *STREAM_FAULTS), key=lambda fault: fault.row))

SCENARIOS: dict[str, Behaviour] = {
    "capacity": refuse(429, {"detail": "Infrastructure is at maximum capacity, try again later"}, "Retry-After: 1"),
    **{fault.name: fault.behaviour for fault in FAULTS},
}


def redirect_to(url: str) -> Behaviour:
    """A redirect to another host."""
    return refuse(307, b"", f"Location: {url}")
