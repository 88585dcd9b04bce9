"""All of Gradio used here that is not its public interface. ``tests/test_borrowed.py`` says what breaks with each.

Gradio's routes and environment variables are the other two things a new version may change: ``web/guard.py`` and
``environment.py`` know them.
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
    """While Blocks are built. Gradio makes its ASGI app at their beginning, their end and with the queue, 80 routes and
    0.1 s each time, and again when they are mounted, which is the one that is used."""
    make = App.create_app
    App.create_app = staticmethod(lambda *_, **__: None)
    try:
        yield
    finally:
        App.create_app = make


def keep_few_sessions(blocks: gr.Blocks, n: int) -> None:
    """Keep the components' values of the ``n`` newest pages. Gradio takes this number in ``launch()`` alone."""
    blocks.state_session_capacity = n


def look_rarely(blocks: gr.Blocks, every_s: float) -> None:
    """Let the queue look for events every ``every_s`` seconds. Call after ``blocks.queue()``, which makes the queue."""
    blocks._queue.sleep_when_free = every_s  # noqa: SLF001


def take_any_value(dropdown: gr.Dropdown) -> gr.Dropdown:
    """Hand the dropdown's value on as the page sends it, whether it is a choice or not.

    Gradio refuses a value unless the choices it remembers of that page have it, and it forgets them: at a restart, and
    when many other pages were opened. (Not by a class of our own: beside it Gradio would write a ``.pyi``.)
    """
    dropdown.preprocess = lambda payload: payload
    return dropdown
