"""Faults by name: what the model ``scenario-NAME`` of the test server does."""

from __future__ import annotations

from .wire import Behaviour, plain

SCENARIOS: dict[str, Behaviour] = {
    "capacity": plain(429, {"detail": "Infrastructure is at maximum capacity, try again later"}, "Retry-After: 1"),
}
