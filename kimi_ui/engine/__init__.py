"""The engine: owns turns. Everything else reads what it writes."""

from .engine import Engine, EngineClosed, UnknownLane

__all__ = ["Engine", "EngineClosed", "UnknownLane"]
