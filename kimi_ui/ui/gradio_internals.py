"""All uses of Gradio's private names. ``tests/test_borrowed.py`` says what breaks if one changes.

A new Gradio may also change its routes and environment variables; see ``web/guard.py`` and ``environment.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from gradio.components.plot import PlotData
from gradio.routes import App

__all__ = ["PlotData", "keep_few_sessions", "look_rarely", "no_app_yet", "take_any_value"]


@contextmanager
def no_app_yet() -> Iterator[None]:
    """Keep Gradio from creating its ASGI app while Blocks are built. It does so at their start, at their end and with
    the queue, 0.1 s each time, and again when they are mounted; only the last app is used."""
    make = App.create_app
    App.create_app = staticmethod(lambda *_, **__: None)
    try:
        yield
    finally:
        App.create_app = make


def keep_few_sessions(blocks: gr.Blocks, n: int) -> None:
    """Keep components' values of the ``n`` newest pages only. Publicly, only ``launch()`` takes this number."""
    blocks.state_session_capacity = n


def look_rarely(blocks: gr.Blocks, every_s: float) -> None:
    """Let the queue poll for events every ``every_s`` seconds. Call after ``blocks.queue()``, which creates it."""
    blocks._queue.sleep_when_free = every_s  # noqa: SLF001


def take_any_value(dropdown: gr.Dropdown) -> gr.Dropdown:
    """Let the dropdown pass on any value that the page sends, even if it is not a choice.

    Gradio rejects values outside the choices it remembers for that page, and it forgets these at a restart and after
    many other pages. This is not a subclass, because Gradio would write a ``.pyi`` file next to it.
    """
    dropdown.preprocess = lambda payload: payload
    return dropdown
