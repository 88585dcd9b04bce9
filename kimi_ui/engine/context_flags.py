"""What an attempt's counts say of the context, once its stream has ended (``core.context``)."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from ..core.attempt import Attempt, AttemptFold
from ..core.context import PromptSize, cut_early, filled, may_be_short, most_counted, prompt_size, truncated
from ..core.events import Flag
from ..providers.base import ChatRequest
from ..tokenizers import counter


async def context_flags(attempt: Attempt, fold: AttemptFold, request: ChatRequest) -> list[Flag]:
    """``context_truncated``: the server did not read the whole prompt. ``context_full``, ``cut_early``: what ended it.

    The prompt is counted in a thread, and only where the server's count is low for its length: 0.2 s for 400,000
    characters. Earlier reasoning is left out of it, since chat templates drop that.
    """
    flags = []
    counted = most_counted(fold.usage)
    n_chars = sum(len(message.content) for message in request.messages)
    if counted is not None and may_be_short(counted, n_chars):
        text = "\n".join(message.content for message in request.messages)
        size = await asyncio.to_thread(_size_of, text, attempt.tokenizer)
        if found := truncated(counted, size, fold.meta.context_tokens):
            flags.append(Flag("context_truncated", found))
    if found := filled(fold):
        flags.append(Flag("context_full", found))
    elif found := cut_early(fold, attempt.params):
        flags.append(Flag("cut_early", found))
    return flags


@lru_cache(maxsize=4)  # lanes and trajectories have the same prompt
def _size_of(text: str, vocabulary: str) -> PromptSize:
    return prompt_size(text, counter(vocabulary))
