"""The peer of opening the page: a minimal chat in Gradio, a ``gr.Blocks`` with a Textbox and a Chatbot.

python tests/benchmarks/peer_blocks.py PORT
"""

from __future__ import annotations

import sys

import gradio as gr

with gr.Blocks(analytics_enabled=False) as blocks:
    gr.Chatbot()
    gr.Textbox(elem_id="prompt")

blocks.launch(server_port=int(sys.argv[1]), quiet=True)
