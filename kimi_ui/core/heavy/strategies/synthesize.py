"""Synthesize: the model reads all answers and writes a new one (FusioN, arXiv 2510.00931)."""

from .base import Strategy

SYNTHESIZE = Strategy("synthesize", "Write a new answer from all")
