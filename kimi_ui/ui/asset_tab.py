"""A tab of our own inside Gradio: an element that a folder of ``assets`` fills from our routes.

It has no Gradio inputs, so none for API keys.
"""

from __future__ import annotations

import gradio as gr

from ..web.page_files import PageFiles


def build(files: PageFiles, name: str) -> None:
    """Add the component of the tab ``name`` ("lanes", "benchmark") to the Blocks being built: ``assets/NAME_tab`` draws
    it. ``web.page_files`` must name its script and style sheet, and ``ui.site`` mount the routes of ``web.NAME``."""
    gr.HTML(
        html_template=f'<div class="kimi" data-kimi="{name}-tab"></div>',
        js_on_load=files.mount(f"{name}_tab/{name}_tab.js"),
        apply_default_css=False,
        elem_id=f"{name}-tab",
    )
