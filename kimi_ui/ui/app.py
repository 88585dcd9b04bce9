"""The page as Gradio Blocks. Each tab is a module with a function ``build``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from ..chat.services import ChatServices
from ..engine import Engine
from ..turns import Turns
from ..web.page_files import PageFiles
from . import api, asset_tab, chat, stats_tab
from .gradio_internals import keep_few_sessions, look_rarely, no_app_yet

if TYPE_CHECKING:
    from ..providers.roster import Roster

QUEUE_SIZE = 64
# Gradio polls its event queue a thousand times a second, which takes 5 % of a core next to the engine thread. With this
# interval the Stats tab and the named endpoints start up to 20 ms later.
QUEUE_LOOK_S = 0.02
# Gradio keeps the values of all components for the last 10,000 pages, 0.1 MB each without the plots. This app does not
# read them, so a page whose values are dropped still works.
SESSIONS_KEPT = 50


@no_app_yet()
def build(
    engine: Engine, turns: Turns, roster: Roster, services: ChatServices, files: PageFiles, private: bool = False
) -> gr.Blocks:
    """All tabs and named endpoints, on one engine and its turns.

    ``private``: several people use this app, so statistics only cover the visitor's own turns.
    """
    with gr.Blocks(
        title="Kimi UI", analytics_enabled=False, fill_height=True, fill_width=True, delete_cache=(3600, 86400)
    ) as blocks:
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", elem_id="chat"):
                chat.build(files)
            with gr.Tab("Stats") as stats:
                stats_tab.build(turns.reader, stats, lambda: [spec.id for spec in roster.specs], private=private)
            with gr.Tab("Benchmark"):
                asset_tab.build(files, "benchmark")
            with gr.Tab("Lanes"):
                asset_tab.build(files, "lanes")
        api.build(engine, turns, services.estimates, services.spending)
    keep_few_sessions(blocks, SESSIONS_KEPT)
    blocks.queue(max_size=QUEUE_SIZE, api_open=False, default_concurrency_limit=None)
    look_rarely(blocks, QUEUE_LOOK_S)
    return blocks
