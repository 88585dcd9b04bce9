"""The Chat tab: an element that Gradio renders once and ``assets/page.js`` fills with conversations, turns, composer.

All user actions are plain requests to the routes of ``web``, without Gradio values. The template is a constant, so
Gradio does not touch the DOM below it (it renders again only if the rendered template changes), and model text never
passes through a template.
"""

from __future__ import annotations

import gradio as gr

from ..core.attachments import MAX_FILE_BYTES, MAX_PDF_BYTES
from ..core.images import MAX_IMAGE_BYTES
from ..web.page_files import PageFiles

TEMPLATE = f"""\
<div id="chat-row">
  <div id="history" class="kimi" data-kimi="history"></div>
  <div id="chat-main">
    <div id="lanes" class="kimi" data-kimi="lanes"></div>
    <div id="composer" class="kimi" data-kimi="composer" data-max-text="{MAX_FILE_BYTES}"
      data-max-large="{min(MAX_PDF_BYTES, MAX_IMAGE_BYTES)}"></div>
  </div>
</div>
"""


def build(files: PageFiles) -> None:
    """Add the tab's one component to the Blocks being built; the app must have the routes of ``web``."""
    gr.HTML(html_template=TEMPLATE, js_on_load=files.mount("page.js"), apply_default_css=False, elem_id="chat-page")
