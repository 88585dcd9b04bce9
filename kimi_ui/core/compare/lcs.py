"""Longest common subsequence of two sequences, in bounded time and memory; exact unless they are too long.

The bit-vector recurrence of Crochemore, Iliopoulos, Pinzon and Reid (2001): row ``i`` of the dynamic-programming
table is one Python integer whose zero bits mark where the length grows, so a row costs a few big-integer operations.
Unlike difflib it has no slow inputs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

MAX_CELLS = 9_000_000  # of the table, one bit each: of 3,000 × 3,000 items


def common_pairs(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The longest list of index pairs ``(i, j)``, both ascending, with ``a[i] == b[j]``.

    Where the table would exceed ``MAX_CELLS``, only the common prefix and suffix.
    """
    start, end_a, end_b = 0, len(a), len(b)
    while start < end_a and start < end_b and a[start] == b[start]:
        start += 1
    while end_a > start and end_b > start and a[end_a - 1] == b[end_b - 1]:
        end_a, end_b = end_a - 1, end_b - 1
    middle = _traced(a[start:end_a], b[start:end_b]) if len(a) * len(b) <= MAX_CELLS else []
    return [
        *((i, i) for i in range(start)),
        *((start + i, start + j) for i, j in middle),
        *zip(range(end_a, len(a)), range(end_b, len(b)), strict=True),
    ]


def _traced(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    where: dict[Hashable, int] = {}
    for j, item in enumerate(b):
        where[item] = where.get(item, 0) | 1 << j
    mask = (1 << len(b)) - 1
    row = mask
    rows = []
    for item in a:
        hits = row & where.get(item, 0)
        row = ((row + hits) | (row - hits)) & mask
        rows.append(row)

    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if rows[i - 1] >> (j - 1) & 1:  # the length does not grow at b[j - 1]
            j -= 1
            continue
        i -= 1
        if not i or rows[i - 1] >> (j - 1) & 1:  # row i is the first where it grows: a match
            j -= 1
            pairs.append((i, j))
    return pairs[::-1]
