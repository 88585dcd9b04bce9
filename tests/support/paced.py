"""Answers at an exact pace: those of a model named ``m-RATE-REASONING-ANSWER-VARIANT`` of the test server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import orjson

from .wire import Request, Stream

SENTENCE = (
    "Let me weigh the request and test each constraint before drafting code in **bold** with `inline` terms "
    "so that every step of the argument can be followed without losing the thread"
)
WORDS = SENTENCE.split()
START_S = 0.02  # from the moment a model starts working to its first token


class Plan(NamedTuple):
    """The answer that a model name of the form ``m-RATE-REASONING-ANSWER-VARIANT`` requests."""

    rate: float
    n_reasoning: int
    n_answer: int
    variant: str


def plan_of(model: str) -> Plan | None:
    parts = model.split("-")
    if len(parts) < 4 or parts[0] != "m":
        return None
    try:
        return Plan(float(parts[1]), int(parts[2]), int(parts[3]), "-".join(parts[4:]))
    except ValueError:
        return None


def token(i: int, answer: bool) -> str:
    """The i-th token: a word, a stamp, sometimes a paragraph or a code block."""
    if answer and i % 120 == 119:
        return "\n\n```python\ndef f(x):\n    return x + 1\n```\n\n"
    if i % 40 == 39:
        return "\n\n"
    if i % 10 == 9:
        return f" @{int(time.time() * 1000)}@ "
    return " " + WORDS[i % len(WORDS)]


async def tokens(plan: Plan, request: Request) -> AsyncGenerator[tuple[str | None, bool]]:
    """``(text, is_answer)`` at absolute times; ``(None, False)`` marks the end of the reasoning, if there was any."""
    stamps = plan.variant.startswith("stamps")
    start_s = int(plan.variant.removeprefix("stamps") or 20) / 1000 - 1 / plan.rate if stamps else START_S
    start, sent = time.perf_counter() + start_s, 0
    for answer, count in ((False, plan.n_reasoning), (True, plan.n_answer)):
        for i in range(count):
            sent += 1
            wait = start + sent / plan.rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            text = token(i, answer)
            if stamps:  # in the first and last tokens only, so that the text has about the reported number of tokens
                edge = i in (0, count - 1)
                text = f" {int(request.t * 1e9)}:{time.perf_counter_ns()}" if edge else " word"
            yield text, answer
        if not answer:
            yield None, False


def sse(model: str, choices: list[dict[str, Any]], **more: Any) -> bytes:
    fixed = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 0, "model": model}
    return b"data: " + orjson.dumps({**fixed, "choices": choices, **more}) + b"\n\n"


async def openai_body(request: Request, plan: Plan) -> Stream:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return sse(request.model, [{"index": 0, "delta": delta, "finish_reason": finish}])

    def delta(text: str, answer: bool) -> dict[str, Any]:
        if answer or plan.variant == "think-tags":
            return {"content": text}
        if plan.variant == "details":
            return {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]}
        return {"reasoning" if plan.variant == "reasoning" else "reasoning_content": text}

    tags = plan.variant == "think-tags"
    yield chunk({"role": "assistant", "content": "<think>" if tags else ""})
    async for text, answer in tokens(plan, request):
        if tags and text is None:
            yield chunk({"content": "</think>\n\n"})
        elif text is not None:
            yield chunk(delta(text, answer))
    yield chunk({}, "stop")
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": plan.n_reasoning + plan.n_answer,
        "total_tokens": plan.n_reasoning + plan.n_answer + 10,
        "completion_tokens_details": {"reasoning_tokens": plan.n_reasoning},
    }
    if plan.variant != "no-usage":
        yield sse(request.model, [], usage=usage)
    yield b"data: [DONE]\n\n"
