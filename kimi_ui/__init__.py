"""Kimi UI: one prompt, three models side by side, thinking visible, every turn measured."""

__version__ = "0.2.0"
