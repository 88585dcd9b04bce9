"""The Chat tab: the conversations, beside them the lanes, and the composer beneath those."""

from __future__ import annotations

import gradio as gr

from ..chat.services import ChatServices
from ..engine import Engine
from . import composer
from .lanes import lanes_view
from .sidebar import sidebar_view


def build(engine: Engine, services: ChatServices) -> None:
    """Add the tab's components and events to the Blocks being built."""
    with gr.Row(elem_id="chat-row"):
        sidebar_view("history")
        with gr.Column(elem_id="chat-main"):
            composer.build(engine, services, lanes_view("lanes"))
