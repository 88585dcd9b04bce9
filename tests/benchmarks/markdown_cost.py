"""The server's cost of rendering a streamed answer, compared to rendering the whole text again for every frame.

An answer of mixed Markdown arrives at 100 tokens/s and is shown at 30 frames/s. Cost is CPU time of this process per
token, so it does not depend on other load on the machine; ``worst_frame_ms`` is the longest single frame (wall).
The naive way is measured on every ``NAIVE_STRIDE``-th frame of the long answers and scaled: the whole takes minutes.
The last line is one JSON document: ``python tests/benchmarks/markdown_cost.py | tail -1``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kimi_ui.core.markdown import StreamingMarkdown, render

CHARS_PER_TOKEN = 4
TOKENS_PER_S = 100
FRAMES_PER_S = 30
NAIVE_STRIDE = 100

PROSE = (
    "The **first** thing to see is that `x` grows with every step, so the loop ends after at most *n* rounds; "
    "compare https://example.org/a_(b) and the table below for what $O(n \\log n)$ means in practice. "
)
PARTS = (
    "## Step {n}: what changes\n\n" + PROSE * 3 + "\n\n",
    "1. **Read** the input once.\n2. Keep `best[i]`, not the whole path.\n   - ties go to the left\n3. Return it.\n\n",
    "```python\ndef best(values: list[int], k: int) -> int:\n"
    + "".join(f"    total_{i} = sum(v for v in values if v > {i})  # keeps order\n" for i in range(14))
    + "    return total_0\n```\n\n",
    PROSE * 4 + "\n\n",
    "$$\n\\sum_{{i=1}}^{{n}} \\frac{{1}}{{i^2}} = \\frac{{\\pi^2}}{{6}}\n$$\n\n",
    "| size | time | note |\n|---:|---:|---|\n" + "| 1,000 | 12 ms | `fast` |\n" * 8 + "\n",
)
ONE_LIST = ("- **Item**: some words with `code` and a number\n",)


def answer(parts: tuple[str, ...], n_tokens: int) -> str:
    text, length = [], 0
    for n, part in enumerate(cycle(parts)):
        text.append(part.replace("{n}", str(n)).replace("{{", "{").replace("}}", "}"))
        length += len(text[-1])
        if length >= n_tokens * CHARS_PER_TOKEN:
            return "".join(text)[: n_tokens * CHARS_PER_TOKEN]
    raise AssertionError


def frames_of(text: str) -> list[str]:
    step = TOKENS_PER_S * CHARS_PER_TOKEN / FRAMES_PER_S
    edges = [round(i * step) for i in range(int(len(text) / step) + 1)] + [len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def streamed(text: str) -> dict[str, float]:
    markdown, worst_s = StreamingMarkdown(), 0.0
    cpu = time.process_time()
    for piece in frames_of(text):
        markdown.feed(piece)
        worst_s = max(worst_s, timed(markdown.frame))
    final_s = timed(lambda: markdown.frame(final=True))
    cpu = time.process_time() - cpu
    assert "".join(markdown.blocks) == render(text)
    return {
        "us_per_token": round(cpu / (len(text) / CHARS_PER_TOKEN) * 1e6, 1),
        "worst_frame_ms": round(worst_s * 1e3, 2),
        "final_frame_ms": round(final_s * 1e3, 2),
    }


def naive(text: str) -> dict[str, float]:
    pieces = frames_of(text)
    stride = NAIVE_STRIDE if len(pieces) > 1_000 else 10
    position, cpu, worst_s = 0, 0.0, 0.0
    for index, piece in enumerate(pieces):
        position += len(piece)
        if index % stride == 0:
            start = time.process_time()
            worst_s = max(worst_s, timed(partial(render, text[:position])))
            cpu += (time.process_time() - start) * stride
    return {
        "us_per_token": round(cpu / (len(text) / CHARS_PER_TOKEN) * 1e6, 1),
        "worst_frame_ms": round(worst_s * 1e3, 2),
    }


def main() -> None:
    render("```python\nx\n```\n\nwarm $x$")
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, parts, n_tokens in (
        ("mixed_1500", PARTS, 1_500),
        ("mixed_20000", PARTS, 20_000),
        ("one_list_20000", ONE_LIST, 20_000),
        ("one_code_block_20000", ("```python\n", *["x = compute(x, 1)  # step\n"] * 10_000), 20_000),
    ):
        text = answer(parts, n_tokens)
        result[name] = {"streamed": streamed(text), "naive": naive(text)}
        print(name, result[name], flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
