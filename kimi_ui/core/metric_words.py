"""An attempt's metrics as text, for the terminal and Markdown. assets/lane/metrics.js does the same on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .bounds import BOUNDED, bound_of


def figures(status: str, row: Mapping[str, Any]) -> Iterator[str]:
    """The status and the known metrics with their units.

    ``row``: columns of ``attempt_metrics``, empty if there was no attempt. ``~`` marks estimates and values with a wide
    error bound; the bound follows the value. Heavy has no speed of a single stream, so it shows none.
    """
    rough = {name: bound for name in BOUNDED if (bound := bound_of(name, row)) and bound.is_rough}
    about = "~" if row.get("token_source") in ("tokenizer", "chars") else ""
    yield status
    for name, words in (("ttft_ms", "first token"), ("ttfo_ms", "first answer token"), ("e2e_ms", "total")):
        if row.get(name) is not None:
            bound = rough.get(name)
            yield f"{words} ~{row[name] / 1000:.2f} s {bound}" if bound else f"{words} {row[name] / 1000:.2f} s"
    if row.get("decode_tps") is not None:
        bound = rough.get("decode_tps")
        yield f"~{row['decode_tps']:.1f} {bound}" if bound else f"{about}{row['decode_tps']:.1f} tok/s"
    if row.get("output_tokens") is not None:
        yield f"{about}{row['output_tokens']:,} tokens ({row['token_source']})"
    if row.get("cost_usd") is not None:
        yield f"{'~' if row.get('cost_source') == 'estimate' else ''}{usd(row['cost_usd'])}"


def usd(amount: float) -> str:
    """USD as the page writes it: an amount too small to show is not displayed as 0."""
    if amount == 0:
        return "$0"
    return "<$0.0001" if amount < 0.0001 else f"${amount:.4f}" if amount < 1 else f"${amount:.2f}"
