"""The lanes component: an element Gradio renders once, in which ``assets/page.js`` draws and follows turns.

Its template is a constant, so a new value never touches the DOM below it (Gradio compares the rendered template with
the last one and leaves equal ones alone); the script is told by ``watch``. The value is ``{conversation, turn}``, ids
only: model text never passes through a Gradio value or template.

A function, not a subclass of ``gr.HTML``: for every subclass Gradio writes a ``.pyi`` file beside its source.
"""

from __future__ import annotations

import gradio as gr

TEMPLATE = '<div class="kimi" data-kimi="lanes"></div>'
MOUNT = """\
import(location.origin + "/kimi/assets/page.js")
  .then((lanes) => lanes.mount(element.querySelector(".kimi"), props, watch));
"""


def lanes_view(elem_id: str) -> gr.HTML:
    """The turns of one conversation, live."""
    return gr.HTML(
        value={"conversation": None, "turn": ""},
        html_template=TEMPLATE,
        js_on_load=MOUNT,
        apply_default_css=False,
        elem_id=elem_id,
    )
