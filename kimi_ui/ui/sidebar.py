"""The sidebar component: an element Gradio renders once, where ``assets/sidebar/sidebar.js`` lists conversations.

Its value is nothing: what it shows comes from the routes of ``web.conversations``.
"""

from __future__ import annotations

import gradio as gr

TEMPLATE = '<div class="kimi" data-kimi="history"></div>'
MOUNT = """\
import(location.origin + "/kimi/assets/sidebar/sidebar.js")
  .then((sidebar) => sidebar.mount(element.querySelector(".kimi")));
"""


def sidebar_view(elem_id: str) -> gr.HTML:
    """The visitor's conversations, to open, search, rename, save and delete."""
    return gr.HTML(value="", html_template=TEMPLATE, js_on_load=MOUNT, apply_default_css=False, elem_id=elem_id)
