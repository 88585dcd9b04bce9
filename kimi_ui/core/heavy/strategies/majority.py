"""Majority: the answer of the largest cluster (self-consistency, arXiv 2203.11171). No further request."""

from .base import Strategy

MAJORITY = Strategy("majority", "Majority vote", asks=False)
