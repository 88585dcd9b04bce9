"""Heavy: several trajectories of one model in parallel, then one answer made of theirs.

Kimi K2 heavy is a client-side strategy, not a model or a flag: the K2-Thinking model card (footnote 6) says it "rolls
out eight trajectories simultaneously, then reflectively aggregates all outputs"; the aggregation prompt was never
published. This follows published practice: identical requests, answers only (no reasoning), candidates without names in
a logged random order, and treated as data that may all be wrong.

A heavy lane uses another lane's provider. Trajectories and aggregator are child attempts, so they are logged, limited,
stopped and shown like any attempt. What is decided is pure and in ``core.heavy``; this package acts on it.
"""

from .lane import HeavyLane
from .provider import HeavyProvider

__all__ = ["HeavyLane", "HeavyProvider"]
