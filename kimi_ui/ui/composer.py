"""The composer: the prompt, its attachments and settings, Send and Stop. Its events only start and stop.

Beside the text there is one element drawn by ``assets/composer/composer.js`` (attachments, estimate, buttons); its
value says what the text alone does not: ``{attachments: [ids], edits: {conversation, seq} | null, blind,
over_budget}``, and ``text``, the text itself as it stood at the send: what the textbox has when Gradio reads it may be
longer. After a send Python sets it back with the text that was ``taken``, and the script empties what it keeps. A send
that would pass a budget is answered with a ``question`` in it and changes nothing else; the script asks, and sends
again with ``over_budget``, which counts once.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..chat.prompts import Busy, NothingToSend, Prompt
from ..chat.services import ChatServices
from ..chat.spending import OverBudget
from ..core.attachments import MAX_FILE_BYTES, AttachmentError
from ..engine import Engine, EngineClosed, UnknownLane
from ..web.visitor import may_read, visitor_of

TEMPLATE = f'<div class="kimi" data-kimi="composer" data-max-bytes="{MAX_FILE_BYTES}"></div>'
MOUNT = """\
import(location.origin + "/kimi/assets/composer/composer.js")
  .then((composer) => composer.mount(element.querySelector(".kimi"), props, watch));
"""
MAX_LINES = 10
EMPTY: dict[str, Any] = {"attachments": [], "edits": None}
ONCE = ("text", "over_budget", "question", "sent", "taken")  # what the value says of one send only


def build(engine: Engine, services: ChatServices, lanes: gr.HTML) -> None:
    """Add the composer to the Blocks being built; ``lanes`` shows what is sent."""
    with gr.Column(elem_id="composer"):
        prompt = gr.Textbox(
            elem_id="prompt",
            placeholder="Ask every model at once",
            lines=1,
            max_lines=MAX_LINES,
            autofocus=True,
            show_label=False,
            label="Prompt",
            container=False,
        )
        with gr.Row(elem_id="composer-foot"):
            extras = gr.HTML(
                value=EMPTY, html_template=TEMPLATE, js_on_load=MOUNT, apply_default_css=False, elem_id="extras"
            )
            stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=72)
            send = gr.Button("Send", elem_id="send", variant="primary", scale=0, min_width=72)

    def on_send(
        text: str, shown: dict[str, Any] | None, more: dict[str, Any] | None, request: gr.Request
    ) -> tuple[Any, Any, Any]:
        """Send to the conversation's lanes. The page follows the turn it is told of; a refusal changes nothing."""
        conversation = (shown or {}).get("conversation") or ""
        more = more or EMPTY
        text = str(more.get("text", text) or "")  # the textbox's while the script is not there yet
        kept = {name: value for name, value in more.items() if name not in ONCE}
        try:
            prompt = {**more, "text": text, "conversation": conversation, "edit": more.get("edits")}
            turn = services.prompts.send(Prompt.read(prompt), visitor_of(request))
        except NothingToSend:
            return gr.skip(), gr.skip(), kept
        except OverBudget as question:
            return gr.skip(), gr.skip(), {**kept, "question": str(question)}
        except (AttachmentError, UnknownLane, EngineClosed, Busy) as refusal:
            gr.Warning(str(refusal), title="Not sent")
            return gr.skip(), gr.skip(), kept
        shown = {"conversation": turn.conversation_id, "turn": turn.turn_id}
        return "" if "text" not in more else gr.skip(), shown, {**EMPTY, "sent": turn.turn_id, "taken": text}

    def on_stop(shown: dict[str, Any] | None, request: gr.Request) -> None:
        turn = engine.turn((shown or {}).get("turn") or "")
        if turn is not None and may_read(turn.owner, visitor_of(request)):
            engine.stop(turn.turn_id)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    gr.on(
        [send.click, prompt.submit],
        on_send,
        [prompt, lanes, extras],
        [prompt, lanes, extras],
        trigger_mode="once",
        **quiet,
    )
    stop.click(on_stop, [lanes], None, **quiet)
