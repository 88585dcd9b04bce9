"""The Lanes tab: an element that ``assets/lanes_tab/lanes_tab.js`` fills from the routes of ``web.lanes``.

It has no input for API keys.
"""

from __future__ import annotations

import gradio as gr

from ..web.page_files import PageFiles

TEMPLATE = '<div class="kimi" data-kimi="lanes-tab"></div>'


def build(files: PageFiles) -> None:
    """Add the tab's one component to the Blocks being built; the app must have the routes of ``web.lanes``."""
    gr.HTML(
        html_template=TEMPLATE,
        js_on_load=files.mount("lanes_tab/lanes_tab.js"),
        apply_default_css=False,
        elem_id="lanes-tab",
    )
