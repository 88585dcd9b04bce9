"""The Benchmark tab: an element that ``assets/benchmark_tab`` fills from the routes of ``web.benchmark``."""

from __future__ import annotations

import gradio as gr

from ..web.page_files import PageFiles

TEMPLATE = '<div class="kimi" data-kimi="benchmark-tab"></div>'


def build(files: PageFiles) -> None:
    """Add the tab's one component to the Blocks being built; the app must have the routes of ``web.benchmark``."""
    gr.HTML(
        html_template=TEMPLATE,
        js_on_load=files.mount("benchmark_tab/benchmark_tab.js"),
        apply_default_css=False,
        elem_id="benchmark-tab",
    )
