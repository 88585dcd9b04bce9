"""The Chat tab: the lanes, and the composer beneath them. Its events only start and stop; the stream route shows."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..engine import Engine, EngineClosed, UnknownLane, UnknownTurn
from .lanes import lanes_view
from .owner import owner_of


def build(engine: Engine) -> None:
    """Add the tab's components and events to the Blocks being built."""
    lanes = lanes_view("lanes")
    with gr.Row(elem_id="composer", equal_height=False):
        prompt = gr.Textbox(
            elem_id="prompt",
            placeholder="Ask every model at once",
            lines=1,
            max_lines=10,
            autofocus=True,
            show_label=False,
            label="Prompt",
            container=False,
            scale=1,
        )
        send = gr.Button("Send", elem_id="send", variant="primary", scale=0, min_width=72)
        stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=72)

    def on_send(text: str, shown: dict[str, Any] | None, request: gr.Request) -> tuple[Any, Any]:
        """Send to all lanes, in the conversation the page shows. The page follows the turn it is told of."""
        if not text or not text.strip():
            return gr.skip(), gr.skip()
        conversation = (shown or {}).get("conversation") or None
        if conversation and any(not turn.closed for turn in engine.recent_turns(conversation)):
            gr.Info("Still answering: wait for the lanes to finish, or stop them.")
            return gr.skip(), gr.skip()
        owner = owner_of(request.cookies)
        try:
            turn = engine.send(text, conversation_id=conversation, owner=owner)
        except UnknownTurn:
            turn = engine.send(text, owner=owner)
        except (UnknownLane, EngineClosed) as error:
            gr.Warning(str(error))
            return gr.skip(), gr.skip()
        return "", {"conversation": turn.conversation_id, "turn": turn.turn_id}

    def on_stop(shown: dict[str, Any] | None, request: gr.Request) -> None:
        turn = engine.turn((shown or {}).get("turn") or "")
        if turn is not None and turn.owner == owner_of(request.cookies):
            engine.stop(turn.turn_id)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    gr.on([send.click, prompt.submit], on_send, [prompt, lanes], [prompt, lanes], trigger_mode="once", **quiet)
    stop.click(on_stop, [lanes], None, **quiet)
