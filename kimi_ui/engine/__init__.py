"""The engine: sends turns, stops them, retries lanes. Everything else reads what it writes."""

from .engine import Engine, EngineClosed, KeepsTurns, LaneBusy, UnknownLane, UnknownTurn

__all__ = ["Engine", "EngineClosed", "KeepsTurns", "LaneBusy", "UnknownLane", "UnknownTurn"]
