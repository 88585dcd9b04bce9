"""The context window: whether the server read the whole prompt, whether the answer filled it, and which size would fit.

Servers may drop what does not fit their context, and gateways may compress a prompt, without a word. The server's own
count of the prompt shows it: it is far smaller than the prompt can be. Tokens everywhere. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .attempt import AttemptFold
from .events import Usage
from .tokens import TokenCounter

# A lower bound of the tokens of a text, for any vocabulary. Measured on 54 texts (prose in 14 languages, code, tables,
# JSON, logs, base64, hex, digits, emoji, runs of one character) with the vocabularies of Gemma 3, Qwen 3, Llama 3,
# GPT-4o and DeepSeek V3 beside the shipped cl100k_base: in ASCII text none needs fewer than 0.71 of its tokens, and
# outside of ASCII none puts more than 4.4 characters of a script without blanks into a token.
LEAST_ASCII = 0.7
LEAST_PER_CHAR = 0.12
LEAST_PER_WIDE_CHAR = 0.2
MOST_PER_CHAR = 0.22  # servers that do not count but divide characters by four say 0.25
SLACK_TOKENS = 100  # by how many the count must fall short, so that short prompts are never judged

_RUN = re.compile(r"([^\w])\1{3,}", re.DOTALL)  # vocabularies have tokens for long runs of blanks, lines and rules
_WORD = re.compile(r"[^ \t-\r\x1c-\x1f]+")  # what is between blanks of ASCII
_WIDE = re.compile(r"[\u2e80-\U0010ffff]")

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "num_predict")  # by any provider
_STEP = 2048  # offered contexts are multiples of it
_LEAST_ROOM = 1024  # for an answer without a limit of its own


class PromptSize(NamedTuple):
    """Tokens of a prompt: about ``estimate``, and at least ``least`` whatever the vocabulary."""

    estimate: int
    least: int


def prompt_size(text: str, counter: TokenCounter) -> PromptSize:
    """Count a prompt without the chat template's own tokens, which only add to it."""
    short = _RUN.sub(r"\1\1\1", text)
    others = [word for word in _WORD.findall(short) if not word.isascii()]
    joined = "".join(others)
    n_wide = len(_WIDE.findall(joined))
    n_narrow = len(joined) - n_wide
    n_ascii = counter.count(_WORD.sub(lambda word: word[0] if word[0].isascii() else " ", short))
    least = LEAST_ASCII * n_ascii + max(len(others), LEAST_PER_CHAR * n_narrow + LEAST_PER_WIDE_CHAR * n_wide)
    return PromptSize(
        estimate=round(n_ascii + 0.3 * n_narrow + 0.6 * n_wide),
        least=int(min(least, MOST_PER_CHAR * len(text))),
    )


def may_be_short(counted: int | None, n_chars: int) -> bool:
    """Whether ``prompt_size`` is worth asking: False where no bound exceeds the server's count."""
    return counted is not None and counted + SLACK_TOKENS < MOST_PER_CHAR * n_chars


def most_counted(usage: Usage) -> int | None:
    """The prompt as the server counts it, with cached tokens that it counts apart; None if it counts none."""
    if not usage.input_tokens:
        return None
    apart = [usage.raw.get(name) for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
    return usage.input_tokens + sum(count for count in apart if type(count) is int and count > 0)


def truncated(counted: int, size: PromptSize, window: int | None = None) -> str:
    """Both numbers, if the server counted far fewer tokens than the prompt has; empty if it read it all.

    ``window``: the context in use, if it is known. A count that is exactly what Ollama leaves of a prompt too long for
    this window (half of it and two tokens; before 0.30 all of it), and is below the estimate, says the same.
    """
    is_cut = window is not None and counted in (window // 2 + 2, window)
    if counted + SLACK_TOKENS < size.least or (is_cut and counted < size.estimate):
        return f"{counted} of about {_rounded(size.estimate)} tokens"
    return ""


def _rounded(tokens: int) -> int:
    """To two digits: an estimate has no more."""
    step: int = 10 ** max(0, len(str(tokens)) - 2)
    return (tokens + step // 2) // step * step


def filled(fold: AttemptFold) -> str:
    """The tokens of an answer that ended because the context in use was full, which is known; otherwise empty."""
    usage, window = fold.usage, fold.meta.context_tokens
    if fold.finish_reason != "length" or not window or not usage.input_tokens or not usage.output_tokens:
        return ""
    return f"{window} tokens" if usage.input_tokens + usage.output_tokens >= window - 1 else ""


def cut_early(fold: AttemptFold, params: Mapping[str, Any]) -> str:
    """The tokens of an answer that ended at a length limit far below the one it was sent with; otherwise empty."""
    output = fold.usage.output_tokens
    limit = next((params[name] for name in OUTPUT_LIMITS if type(params.get(name)) is int), 0)
    if fold.finish_reason != "length" or fold.meta.context_tokens or not output or output >= 0.9 * limit:
        return ""
    return f"{output} of {limit} tokens"


def fitting(need: int, answer: int | None, trained: int | None) -> int | None:
    """A context for a prompt of ``need`` tokens and its answer (None: no limit); None if the model has none so large.

    ``trained``: the largest the model can use, None if unknown.
    """
    room = max(_LEAST_ROOM, need // 4) if answer is None else answer
    wanted = -(-(need + room) // _STEP) * _STEP
    if trained is None or wanted <= trained:
        return wanted
    return trained if trained >= need + min(room, _LEAST_ROOM) else None


def offer(fold: AttemptFold) -> Mapping[str, Any]:
    """Parameters with which asking again may work: the failure's, or a larger context for an answer that filled it."""
    if fold.failure is not None:
        return fold.failure.again
    window, trained = fold.meta.context_tokens, fold.meta.trained_tokens
    if fold.status != "length" or "context_full" not in fold.flags or not window or not trained or trained <= window:
        return {}
    return {"num_ctx": min(trained, 2 * window)}
