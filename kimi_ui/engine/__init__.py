"""The engine sends and stops turns and retries lanes. All other parts read the turn logs it writes."""

from .engine import (
    Engine,
    EngineClosed,
    EngineDraining,
    KeepsTurns,
    LaneBusy,
    NoAnswers,
    NotCut,
    ShutOut,
    UnknownLane,
    UnknownTurn,
)

__all__ = [
    "Engine",
    "EngineClosed",
    "EngineDraining",
    "KeepsTurns",
    "LaneBusy",
    "NoAnswers",
    "NotCut",
    "ShutOut",
    "UnknownLane",
    "UnknownTurn",
]
