"""One accent per lane, which header, race, plots and exported pages share."""

from __future__ import annotations

from typing import NamedTuple


class Accent(NamedTuple):
    """One lane's colour on a light and on a dark page; both have a contrast of at least 4.5 with their page."""

    light: str
    dark: str


LANE_ACCENTS = (
    Accent("#4655d4", "#95a1ff"),  # indigo
    Accent("#b4500b", "#f5a15c"),  # amber
    Accent("#0b7a6b", "#4fd1bd"),  # teal
    Accent("#b02a6f", "#f58bbd"),  # rose
    Accent("#7a3fc4", "#c49bfa"),  # violet
    Accent("#5c7010", "#b9cf5b"),  # olive
)


def lane_accent(place: int) -> str:
    """The accent of the lane in that place of the page's order, from 0, as a CSS value for either mode."""
    return f"var(--kimi-lane-{place % len(LANE_ACCENTS)})"


def accent_css() -> str:
    """``--kimi-lane-0`` … ``-5`` for both modes; Gradio marks the dark one with the class ``dark``."""
    light = " ".join(f"--kimi-lane-{i}: {accent.light};" for i, accent in enumerate(LANE_ACCENTS))
    dark = " ".join(f"--kimi-lane-{i}: {accent.dark};" for i, accent in enumerate(LANE_ACCENTS))
    return f":root {{ {light} }} .dark {{ {dark} }}"
