"""The cost of opening the page in Chromium: requests, bytes, and seconds until a prompt can be typed and sent.

    python -m tests.benchmarks.page_open [--rounds 5] [--checkout OLDER_TREE …]

Goal: at most 60 requests, and a usable prompt within 1 s on two quiet cores with an empty cache. "cold" is a new
browser context, "warm" the next tab of it. The peer, a bare ``gr.Blocks`` with Textbox and Chatbot, and the app of
every other given checkout are measured in turn with it, so that all figures are under the same load.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.support.browser import launched

from .harness import ROOT, free_port, process, report, wait_for_http

NO_KEYS = {"CHUTES_API_KEY": "", "OPENROUTER_API_KEY": "", "MOONSHOT_API_KEY": "", "OLLAMA_HOST": "127.0.0.1:1"}
USABLE = {"peer": "#prompt textarea"}
OURS = "#prompt textarea, #attach"  # the box, and a button of the composer
QUIET_MS = 500

# Records when all elements of a selector are visible, in ms since the navigation began.
WATCH = """(() => {
  const parts = SELECTOR.split(", ");
  const look = () => {
    if (parts.every((one) => document.querySelector(one)?.checkVisibility())) window.usableMs = performance.now();
    else requestAnimationFrame(look);
  };
  look();
})()"""


@contextmanager
def app(checkout: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        arguments = [str(checkout / "app.py"), "--port", str(port), "--db", f"{folder}/log.sqlite3", "--no-browser"]
        with process(arguments, subprocess.DEVNULL, PYTHONWARNINGS="ignore", **NO_KEYS) as child:
            wait_for_http(f"http://127.0.0.1:{port}", child)
            yield f"http://127.0.0.1:{port}"


@contextmanager
def peer() -> Iterator[str]:
    port = free_port()
    with process([str(ROOT / "tests/benchmarks/peer_blocks.py"), str(port)], GRADIO_ANALYTICS_ENABLED="False") as child:
        wait_for_http(f"http://127.0.0.1:{port}", child)
        yield f"http://127.0.0.1:{port}"


def opened(context: BrowserContext, url: str, selector: str) -> dict[str, float]:
    """Open the page in a new tab; its requests, their bytes on the wire, and when the prompt was usable."""
    page = context.new_page()
    page.add_init_script(WATCH.replace("SELECTOR", repr(selector)))
    n_requests = 0

    def count(_: Any) -> None:
        nonlocal n_requests
        n_requests += 1

    page.on("request", count)
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.usableMs", timeout=60_000)
    settle(page, lambda: n_requests)
    figures = {
        "requests": n_requests,
        "seconds": page.evaluate("window.usableMs") / 1000,
        "kB": page.evaluate("performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, 0)")
        / 1000,
    }
    page.close()
    return figures


def settle(page: Page, n_requests: Any) -> None:
    """Wait until no request has begun for a while."""
    before = -1
    while before != n_requests():
        before = n_requests()
        page.wait_for_timeout(QUIET_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checkout", type=Path, action="append", default=[])
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as stack:
        urls = {"peer": stack.enter_context(peer()), "page": stack.enter_context(app(ROOT))}
        urls |= {str(one): stack.enter_context(app(one.resolve())) for one in options.checkout}
        browser = stack.enter_context(launched())
        for _ in range(options.rounds):
            for name, url in urls.items():
                with browser.new_context() as context:
                    for kind in ("cold", "warm"):
                        found[f"{name} {kind}"].append(opened(context, url, USABLE.get(name, OURS)))
    medians = {
        name: {key: round(statistics.median(one[key] for one in rounds), 2) for key in rounds[0]}
        for name, rounds in found.items()
    }
    for name, figures in medians.items():
        figures["to_peer"] = round(figures["seconds"] / medians[f"peer {name.split()[-1]}"]["seconds"], 2)
    report("page_open", goal="<= 60 requests, <= 1 s cold", rounds=options.rounds, **medians)


if __name__ == "__main__":
    main()
