"""The composer: the prompt, its attachments and settings, Send and Stop. Its events only start and stop.

Beside the text there is one element drawn by ``assets/composer.js`` (attachments, estimate, buttons); its value says
what the text alone does not: ``{attachments: [ids], edits: {conversation, seq} | null, blind, over_budget}``, and
``text``, the text itself as it stood at the send: what the textbox has when Gradio reads it may be longer. After a send
Python sets it back with the text that was ``taken``, and the script empties what it keeps. A send that would pass a
budget is answered with a ``question`` in it and changes nothing else; the script asks, and sends again with
``over_budget``, which counts once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gradio as gr

from ..chat.spending import OverBudget
from ..core.attachments import MAX_FILE_BYTES, AttachmentError, fold
from ..core.turn import TurnLog
from ..engine import Engine, EngineClosed, UnknownLane, UnknownTurn
from ..web.chat_routes import ChatRoutes
from ..web.owner import may_read, owner_of

TEMPLATE = f'<div class="kimi" data-kimi="composer" data-max-bytes="{MAX_FILE_BYTES}"></div>'
MOUNT = """\
import(location.origin + "/kimi/assets/composer.js")
  .then((composer) => composer.mount(element.querySelector(".kimi"), props, watch));
"""
MAX_LINES = 10
EMPTY: dict[str, Any] = {"attachments": [], "edits": None}
ONCE = ("text", "over_budget", "question", "sent", "taken")  # what the value says of one send only


class Edit(NamedTuple):
    """The earlier prompt that the next one replaces: a conversation and the turn's number in it."""

    conversation: str
    seq: int


def build(engine: Engine, routes: ChatRoutes, lanes: gr.HTML) -> None:
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
            turn = send_prompt(engine, routes, text, conversation, more, owner_of(request.cookies))
        except OverBudget as question:
            return gr.skip(), gr.skip(), {**kept, "question": str(question)}
        except (AttachmentError, UnknownLane, EngineClosed, Busy) as refusal:
            gr.Warning(str(refusal), title="Not sent")
            turn = None
        if turn is None:
            return gr.skip(), gr.skip(), kept
        shown = {"conversation": turn.conversation_id, "turn": turn.turn_id}
        return "" if "text" not in more else gr.skip(), shown, {**EMPTY, "sent": turn.turn_id, "taken": text}

    def on_stop(shown: dict[str, Any] | None, request: gr.Request) -> None:
        turn = engine.turn((shown or {}).get("turn") or "")
        if turn is not None and may_read(turn.owner, owner_of(request.cookies)):
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


class Busy(ValueError):
    """No prompt can be taken now: a turn before it still runs, the conversation is gone or not the one being edited."""


def send_prompt(
    engine: Engine, routes: ChatRoutes, text: str, conversation: str, more: dict[str, Any], owner: str
) -> TurnLog | None:
    """Send a prompt with its attachments and the conversation's settings; None if there is nothing to send.

    Raises what the person has to be told: ``AttachmentError``, ``Busy``, ``UnknownLane``, ``EngineClosed``; and what
    they have to be asked: ``OverBudget``.
    """
    keys = [str(key) for key in more.get("attachments") or []]
    edits = more.get("edits")
    if not text.strip() and not keys:
        return None
    if conversation and (whose := engine.owner_of(conversation)) != owner:
        if whose is None:
            raise Busy("This conversation is not here any more, it was deleted: press New, then send.")
        conversation, edits = "", None  # one that may only be read, the command line's: a new one begins
    edit = _edit(edits, conversation)
    before_seq = edit.seq if edit else math.inf
    if any(not turn.closed and turn.seq < before_seq for turn in engine.recent_turns(conversation)):
        raise Busy("The lanes are still answering: wait for them, or stop them.")
    prompt = fold(text, routes.uploads.of(owner, keys))
    settings = routes.settings_of(owner, conversation)
    try:
        turn = routes.spending.send(
            lambda: engine.send(
                prompt,
                lanes=settings.lanes_on(spec.id for spec in engine.specs),
                conversation_id=conversation or None,
                fork_at=edit.seq if edit else None,
                owner=owner,
                system=settings.system,
                choices=settings.choices(engine.specs),
                blind=more.get("blind") is True,
            ),
            lambda: routes.estimates.total(conversation, before_seq, prompt, settings),
            owner=owner,
            conversation_id=conversation,
            confirmed=more.get("over_budget") is True,
        )
    except UnknownTurn as error:
        raise Busy(str(error)) from error
    if turn.conversation_id != conversation:
        routes.sent_with(owner, turn.conversation_id, settings, is_new=not conversation)
    routes.uploads.drop(owner, keys)
    return turn


def _edit(value: Any, conversation: str) -> Edit | None:
    """The edit the page asks for. Raises ``Busy`` if it is of another conversation than the one that is shown."""
    if not isinstance(value, dict):
        return None
    seq = value.get("seq")
    if not conversation or value.get("conversation") != conversation or not isinstance(seq, int) or seq < 0:
        raise Busy("The prompt being edited is of another conversation: cancel the edit, then send.")
    return Edit(conversation, seq)
