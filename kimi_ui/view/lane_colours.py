"""One accent colour per lane, shared by header, race, plots and exported pages."""

from __future__ import annotations

from typing import NamedTuple


class Accent(NamedTuple):
    """A lane's colour on the light and on the dark page, each with a contrast of at least 4.5."""

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
    """The accent of the page's n-th lane, from 0, as a CSS value for both modes."""
    return f"var(--kimi-lane-{place % len(LANE_ACCENTS)})"


def accent_css() -> str:
    """CSS variables ``--kimi-lane-0`` … ``-5`` for both modes; Gradio marks dark mode with the class ``dark``."""
    light = " ".join(f"--kimi-lane-{i}: {accent.light};" for i, accent in enumerate(LANE_ACCENTS))
    dark = " ".join(f"--kimi-lane-{i}: {accent.dark};" for i, accent in enumerate(LANE_ACCENTS))
    return f":root {{ {light} }} .dark {{ {dark} }}"
