"""Why the engine does not do what it was asked; each message is a sentence for the person, with the remedy."""

from __future__ import annotations


class EngineClosed(RuntimeError):
    """The app is shutting down; nothing more can be sent."""


class UnknownLane(ValueError):
    """A lane id that is not configured, or not part of the turn."""


class UnknownTurn(ValueError):
    """A turn or conversation that is not here, or not this owner's."""


class LaneBusy(ValueError):
    """The lane is still streaming."""
