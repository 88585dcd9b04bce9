"""Big turns in Chromium: how fast one opens, and whether a long code block streams and ends smoothly.

    python -m tests.benchmarks.big_turns [--case reload|code] [--rounds 3] [--checkout OLDER_TREE]

``reload``: a stored turn of one lane whose ten attempts each have 100,000 characters of reasoning and an answer of
276,000 characters, four characters an event. Printed: seconds from the navigation to the first screen of the newest
answer, and to all of it, in an empty browser; the bytes that came; the longest task of the page; and the seconds
from a click to the reasoning, and to an earlier attempt.

``code``: an answer of one code block of 5,000 lines, a line an event, 250 lines a second. Printed: the lowest frame
rate in any half second, and the longest time between two frames, while it streams and around its end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from kimi_ui.core.events import CONNECTED, Answer, Event, Phase, Reasoning
from tests.support.browser import launched, new_context
from tests.support.log import store, writing
from tests.support.paced import sse
from tests.support.turns import Timed, attempt, ended, turn
from tests.support.upstream import Upstream
from tests.support.wire import Piece

from .harness import ROOT, free_port, process, report, wait_for_http
from .markdown_cost import PARTS, answer

N_ATTEMPTS = 10
REASONING_CHARS, ANSWER_CHARS = 100_000, 276_000
CHARS_PER_EVENT = 4
CODE_LINES, LINES_PER_S = 5_000, 250
WINDOW_MS = 500
LANES = '[[lane]]\nid = "lane0"\nlabel = "Lane 0"\nprovider = "openai"\nbase_url = "{base_url}"\nmodel = "code"\n'

LANE = "[data-lane=lane0]"
# Records when the first block of the answer is in the window, when the whole text is there, and the longest task.
WATCH = """(n_chars => {
  window.longestMs = 0;
  new PerformanceObserver(list => {
    for (const one of list.getEntries()) window.longestMs = Math.max(window.longestMs, one.duration);
  }).observe({type: "longtask", buffered: true});
  const look = () => {
    const answer = document.querySelector("[data-lane=lane0] [data-part=answer]");
    const first = answer?.querySelector("h3, p, pre");
    if (!window.firstMs && first && first.getBoundingClientRect().height > 0) window.firstMs = performance.now();
    if (window.firstMs && answer.textContent.length >= n_chars) window.wholeMs = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
# Records the time of every animation frame, and when the lane is done.
FRAMES = """() => {
  window.frames_ms = []; window.endMs = 0;
  const tick = now => {
    window.frames_ms.push(now);
    if (!window.endMs && document.querySelector("[data-lane=lane0][data-phase=done]")) window.endMs = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""


@contextmanager
def app(checkout: Path, folder: Path, base_url: str = "http://127.0.0.1:1/v1") -> Iterator[str]:
    """The app of this tree on the log in ``folder``, with one lane."""
    lanes, port = folder / "lanes.toml", free_port()
    lanes.write_text(LANES.format(base_url=base_url))
    arguments = [str(checkout / "app.py"), "--port", str(port), "--db", str(folder / "log.sqlite3")]
    arguments += ["--lanes", str(lanes), "--no-browser"]
    with process(arguments, subprocess.DEVNULL, PYTHONWARNINGS="ignore") as child:
        wait_for_http(f"http://127.0.0.1:{port}", child)
        yield f"http://127.0.0.1:{port}"


def trace(n_chars: int) -> str:
    """Reasoning with a topic every few lines."""
    line = "Let me check the next case, since the bound of the previous one may hold here as well as there.\n"
    rest = "It grows with n, and n is at most 400, so the sum stays below the limit that was given above. \n\n"
    return ((line + rest * 6) * (n_chars // len(line + rest * 6) + 1))[:n_chars]


def big_turn() -> Any:
    """The turn of ``reload``; its attempts end one after the other."""
    reasoning, text = trace(REASONING_CHARS), answer(PARTS, ANSWER_CHARS // 4)
    pieces: list[Event] = [
        Reasoning(reasoning[i : i + CHARS_PER_EVENT]) for i in range(0, len(reasoning), CHARS_PER_EVENT)
    ]
    pieces += [Answer(text[i : i + CHARS_PER_EVENT]) for i in range(0, len(text), CHARS_PER_EVENT)]
    events: list[Timed] = [(50, Phase(CONNECTED)), *((100 + i * 10, piece) for i, piece in enumerate(pieces))]
    length_ms = events[-1][0] + 100
    tries = [attempt("lane0", sent_ms=i * length_ms, attempt_no=i + 1) for i in range(N_ATTEMPTS)]
    return turn(*((one, ended(events)) for one in tries))


def opened(browser: Browser, url: str) -> dict[str, float]:
    """Open the page of the turn in an empty browser, then its reasoning and its earlier attempt."""
    context = new_context(browser)
    page = context.new_page()
    page.add_init_script(f"{WATCH}({ANSWER_CHARS * 0.8})")
    cdp, received = context.new_cdp_session(page), [0]
    cdp.send("Network.enable")
    cdp.on("Network.dataReceived", lambda event: received.__setitem__(0, received[0] + event["encodedDataLength"]))
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.wholeMs", timeout=120_000)
    page.wait_for_timeout(1000)
    figures = {
        "first_screen_s": page.evaluate("window.firstMs") / 1000,
        "whole_s": page.evaluate("window.wholeMs") / 1000,
        "MB": received[0] / 1e6,
        "longest_task_ms": page.evaluate("window.longestMs"),
        "reasoning_s": waited(page, f"{LANE} .reasoning-toggle", f"{LANE} .text-line"),
        "earlier_attempt_s": waited(page, f"{LANE} [aria-label='Earlier attempt']", ".lane.earlier .answer p"),
    }
    context.close()
    return figures


def waited(page: Page, click: str, shown: str) -> float:
    """Seconds from a click to the first element of a selector."""
    started = time.perf_counter()
    page.locator(click).first.click()
    page.locator(shown).first.wait_for(timeout=120_000)
    return time.perf_counter() - started


def code_stream() -> Iterator[Piece]:
    """The answer of ``code`` as a paced stream."""
    started, numbers = time.perf_counter(), count()

    def piece(text: str, finish: str | None = None) -> bytes:
        return sse("code", [{"index": 0, "delta": {"content": text}, "finish_reason": finish}])

    yield piece("Here it is:\n\n```python\n")
    for i in range(CODE_LINES):
        yield max(0.0, started + next(numbers) / LINES_PER_S - time.perf_counter())
        yield piece(f"    total_{i} = sum(value for value in values if value > {i})  # keeps the order\n")
    yield piece("```\n\nThat is all.\n")
    yield piece("", "stop")
    yield b"data: [DONE]\n\n"


def smoothness(frames: list[float], start: float, end: float) -> dict[str, float]:
    """The lowest rate of frames in any window between two times, and the longest gap."""
    inside = [at for at in frames if start <= at <= end]
    gaps = [later - at for at, later in pairwise(inside)]
    windows = [sum(at <= one < at + WINDOW_MS for one in inside) for at in inside if at + WINDOW_MS <= inside[-1]]
    return {"lowest_fps": min(windows) * 1000 / WINDOW_MS, "longest_gap_ms": round(max(gaps), 1)}


def code(browser: Browser, checkout: Path) -> dict[str, Any]:
    with Upstream() as upstream, tempfile.TemporaryDirectory() as folder:
        upstream.script("code", Pieces())
        with app(checkout, Path(folder), upstream.base_url) as url:
            context = new_context(browser)
            page = context.new_page()
            page.goto(url)
            page.locator("#prompt textarea").fill("Write it.")
            page.evaluate(FRAMES)
            sent = page.evaluate("performance.now()")
            page.locator("#send").click()
            page.wait_for_function("window.endMs", timeout=300_000)
            page.wait_for_timeout(3000)
            frames, end = page.evaluate("[window.frames_ms, window.endMs]")
            lines = (page.locator(f"{LANE} pre").text_content() or "").count("\n")
            context.close()
            streaming = smoothness(frames, sent + 1000, end - 1000)
            return {"lines": lines, "streaming": streaming, "end": smoothness(frames, end - 1000, end + 3000)}


class Pieces(list):  # type: ignore[type-arg]
    """A body that begins again with each request."""

    def __iter__(self) -> Iterator[Piece]:
        return code_stream()


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--case", choices=("reload", "code", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    options = parser.parse_args()
    with launched() as browser:
        if options.case != "code":
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                big = big_turn()
                with writing(folder / "log.sqlite3") as writer:
                    store(writer, big, wait_s=300)
                with app(options.checkout.resolve(), folder) as url:
                    rounds = [opened(browser, f"{url}/?turn={big.turn_id}") for _ in range(options.rounds)]
            report("big_turns", case="reload", goal="first_screen_s <= 1.5", **medians(rounds))
        if options.case != "reload":
            for _ in range(options.rounds):
                report("big_turns", case="code", goal="lowest_fps >= 40", **code(browser, options.checkout.resolve()))


if __name__ == "__main__":
    main()
