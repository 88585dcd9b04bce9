"""Names of libraries that the app uses although they are private, and Gradio's routes.

Read this when a new version of a library fails here: each entry says what breaks, and where.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import httpx
import ollama
import openai
import pytest
import uvicorn
from fastapi import FastAPI

from kimi_ui.ui import environment
from kimi_ui.web.guard import is_closed

environment.harden_environment()
import gradio as gr  # noqa: E402 - its environment is read at import
from gradio.components.plot import PlotData  # noqa: E402
from gradio.routes import App  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
GRADIO = Path(gr.__file__).parent


@cache
def gradio_page() -> tuple[gr.Blocks, FastAPI]:
    """A page with a queue, and Gradio's own app around it, built in an event loop as ``ui/site.py`` does."""

    async def make() -> tuple[gr.Blocks, FastAPI]:
        with gr.Blocks(analytics_enabled=False) as blocks:
            gr.HTML("")
        blocks.queue()
        no_docs = {"docs_url": None, "redoc_url": None, "openapi_url": None}
        outer = gr.mount_gradio_app(FastAPI(), blocks, path="/", ssr_mode=False, mcp_server=False, app_kwargs=no_docs)
        return blocks, outer.routes[-1].app

    return asyncio.run(make())


def takes_plot_data_as_it_is() -> bool:
    data = PlotData(type="altair", plot="{}")
    return gr.Plot().postprocess(data) is data


def settings_read_by_gradio() -> set[str]:
    """Every ``GRADIO_…`` name in its sources."""
    texts = (path.read_text(encoding="utf-8") for path in GRADIO.rglob("*.py"))
    return {name for text in texts for name in re.findall(r"\bGRADIO_[A-Z_]+\b", text)}


class Borrowed(NamedTuple):
    """``is_there`` returns false once the library has changed the name; ``breaks`` says what fails then, and where."""

    name: str
    is_there: Callable[[], bool]
    breaks: str


BORROWED = [
    Borrowed(
        "gradio Blocks.state_session_capacity",
        lambda: gradio_page()[0].state_session_capacity == 10_000,
        "ui/gradio_internals.py keep_few_sessions: Gradio keeps the values of 10,000 pages, 0.1 MB each",
    ),
    Borrowed(
        "gradio Blocks._queue.sleep_when_free",
        lambda: gradio_page()[0]._queue.sleep_when_free == 0.001,
        "ui/gradio_internals.py look_rarely: the queue takes 5 % of a core beside the thread that stamps",
    ),
    Borrowed(
        "gradio App.create_app",
        lambda: gr.mount_gradio_app.__globals__["App"] is App and "create_app" in vars(App),
        "ui/gradio_internals.py no_app_yet: the start is 0.3 s longer, or the Blocks have no app where they need one",
    ),
    Borrowed(
        "gradio PlotData",
        takes_plot_data_as_it_is,
        "ui/stats_plots.py: the Stats tab hands its Vega-Lite specifications over as PlotData",
    ),
    Borrowed(
        "gradio Dropdown.preprocess",
        lambda: list(inspect.signature(gr.Dropdown.preprocess).parameters) == ["self", "payload"],
        "ui/gradio_internals.py take_any_value: a filter of the Stats tab is refused after a restart",
    ),
    Borrowed(
        "gradio's environment variables",
        lambda: {*environment.KEPT, *environment.SET} <= settings_read_by_gradio(),
        "ui/environment.py: a setting is renamed, and telemetry, run history, shares or rendering in node come back",
    ),
    Borrowed(
        "uvicorn Server.capture_signals",
        lambda: "self.capture_signals()" in inspect.getsource(uvicorn.Server.serve),
        "web/server.py: after Ctrl-C the signal is raised again and ends the process before the log is closed",
    ),
    Borrowed(
        "uvicorn Server.handle_exit and startup",
        lambda: (
            list(inspect.signature(uvicorn.Server.handle_exit).parameters) == ["self", "sig", "frame"]
            and list(inspect.signature(uvicorn.Server.startup).parameters) == ["self", "sockets"]
        ),
        "web/server.py: streams are not ended at Ctrl-C, or nobody hears that the page can be opened",
    ),
    Borrowed(
        "ollama AsyncClient._client",
        lambda: isinstance(ollama.AsyncClient(trust_env=False)._client, httpx.AsyncClient),
        "providers/ollama/client.py: the response cannot be read as it comes, and OLLAMA_API_KEY goes to any host",
    ),
    Borrowed(
        "openai AsyncOpenAI(http_client=an httpx.AsyncClient)",
        lambda: bool(openai.AsyncOpenAI(api_key="none", http_client=httpx.AsyncClient(trust_env=False))),  # type: ignore[arg-type]
        "providers/openai_compatible/provider.py: annotated for httpx2 alone; without it no lane can be asked",
    ),
]


@pytest.mark.parametrize("borrowed", BORROWED, ids=lambda borrowed: borrowed.name)
def test_every_borrowed_name_still_exists(borrowed: Borrowed) -> None:
    assert borrowed.is_there(), f"{borrowed.name} has changed. {borrowed.breaks}."


def private_names() -> Iterator[str]:
    """Every access to a library's private attribute in the package: where ruff's SLF001 is answered by ``noqa``."""
    for path in sorted((ROOT / "kimi_ui").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        excused = {number for number, line in enumerate(text.splitlines(), 1) if "noqa: SLF001" in line}
        for node in ast.walk(ast.parse(text)) if excused else ():
            if isinstance(node, ast.Attribute) and node.lineno in excused and node.attr.startswith("_"):
                yield node.attr


def test_every_private_name_is_listed_here() -> None:
    listed = {name for borrowed in BORROWED for name in re.findall(r"\b_\w+", borrowed.name)}
    unlisted = set(private_names()) - listed
    assert not unlisted, f"add an entry for {unlisted} to BORROWED"


# Gradio's routes that stay open: the page and programs need them, or they reveal nothing and change nothing.
OPEN = {
    *("/", "/config", "/config/", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json"),
    *("/assets/{path}", "/static/{path}", "/svelte/{path}"),
    *(
        f"/gradio_api/{rest}"
        for rest in (
            *("queue/join", "queue/data", "queue/status", "cancel", "reset", "reset/", "heartbeat/{session_hash}"),
            *("info", "info/", "openapi.json", "theme.css", "app_id", "app_id/", "startup-events"),
            *(
                "user",
                "user/",
                "login_check",
                "login_check/",
            ),  # Gradio's own login is not used: they say that nobody is logged in
            *("call/{api_name}", "call/{api_name}/", "call/{api_name}/{event_id}"),
            *("call/v2/{api_name}", "call/v2/{api_name}/", "call/v2/{api_name}/{event_id}"),
            *("file={path_or_url}", "file/{path}"),  # a Gradio component's own file; addresses are closed
        )
    ),
}


def routes_of_gradio() -> set[str]:
    """The path of every route of Gradio."""
    _, app = gradio_page()
    plain = {re.sub(r":path\}", "}", route.path) for route in app.routes if hasattr(route, "path")}
    return plain | set(app.openapi()["paths"])  # only this lists the routes of its routers


def test_each_route_of_gradio_is_listed_as_closed_or_as_open() -> None:
    unknown = sorted(path for path in routes_of_gradio() - OPEN if not is_closed(path))
    assert not unknown, f"close {unknown} in web/guard.py, or name them in OPEN because the page needs them"


def test_no_route_is_listed_as_both_open_and_closed() -> None:
    assert not [path for path in OPEN if is_closed(path)]
