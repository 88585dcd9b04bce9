"""The peer of the live view and of the meter, as most people would write it: three ``gr.Chatbot``, one generator.

It stamps where it yields, as such programs do, and prints its stamps as one JSON line when the lanes have ended.

python tests/benchmarks/peer_chatbot.py BASE_URL MODEL PORT HZ      # HZ 0: one yield per token
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
from openai import AsyncOpenAI

BASE_URL, MODEL, PORT, HZ = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
N_LANES = 3
client = AsyncOpenAI(base_url=BASE_URL, api_key="none")


async def one(prompt: str, messages: list[dict[str, Any]], changed: asyncio.Event) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], stream=True
    )
    reasoning = answer = ""
    async for chunk in stream:
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        if text := getattr(delta, "reasoning_content", None):
            reasoning += text
            messages[1]["content"] = reasoning
        if delta.content:
            if len(messages) == 2:
                messages[1]["metadata"]["status"] = "done"
                messages.append({"role": "assistant", "content": ""})
            answer += delta.content
            messages[2]["content"] = answer
        changed.set()


async def run(prompt: str) -> AsyncIterator[tuple[list[dict[str, Any]], ...]]:
    lanes: list[list[dict[str, Any]]] = [
        [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": "", "metadata": {"title": "Thinking", "status": "pending"}},
        ]
        for _ in range(N_LANES)
    ]
    changed = asyncio.Event()
    tasks = [asyncio.create_task(one(prompt, lane, changed)) for lane in lanes]
    stamps: list[dict[str, Any]] = [{"sent_ns": time.perf_counter_ns(), "text": ""} for _ in lanes]
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait_for(changed.wait(), 1)
        except TimeoutError:
            continue
        changed.clear()
        yield tuple(lanes)
        for lane, stamp in zip(lanes, stamps, strict=True):
            text = "".join(message["content"] for message in lane[1:])
            if text != stamp["text"]:
                stamp["text"], stamp["last_ns"] = text, time.perf_counter_ns()
                stamp.setdefault("first_ns", stamp["last_ns"])
        if HZ:
            await asyncio.sleep(1 / HZ)
    yield tuple(lanes)
    print(json.dumps(stamps), flush=True)


with gr.Blocks() as demo:
    box = gr.Textbox(elem_id="prompt")
    button = gr.Button("Send", elem_id="send")
    with gr.Row():
        columns = [gr.Chatbot(height=600, elem_id=f"col{k}") for k in range(N_LANES)]
    button.click(run, box, columns, concurrency_limit=None)
demo.launch(server_port=PORT, quiet=True)
