"""The engine: owns turns. Everything else reads what it writes."""

from .engine import Engine
from .errors import EngineClosed, LaneBusy, UnknownLane, UnknownTurn

__all__ = ["Engine", "EngineClosed", "LaneBusy", "UnknownLane", "UnknownTurn"]
