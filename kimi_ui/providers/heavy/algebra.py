"""Whether two expressions are equal, by a computer algebra in a process of its own that can be killed.

sympy can hang on nested powers, and its helpers' time limits use SIGALRM, which does not work outside the main thread.
So the child process (``kimi_ui/algebra.py``) reads one pair a line and answers with one line; a
pair that is not decided within its deadline costs the process its life, and counts as different. Without math-verify
the cheap rules of ``core.heavy.expressions`` decide alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from importlib.util import find_spec

from ... import algebra

MAX_CHARS = 200  # of one expression; longer ones are refused
MAX_PAIRS = 28  # of a run: eight different answers
START_S = 20.0  # importing sympy takes seconds on a busy machine
PAIR_S = 3.0

Pair = tuple[str, str, str, str]
"""Two keys and the two texts, as ``core.heavy.clusters.undecided`` gives them."""


class EqualPairs:
    """Remembers what was found; one child process at a time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def equal(self, one: str, other: str) -> bool:
        """Whether two keys were found equal."""
        return self._known.get((one, other), False)

    @property
    def pairs(self) -> list[list[str]]:
        """The pairs found equal."""
        return [list(pair) for pair, equal in self._known.items() if equal]

    async def compare(self, pairs: Sequence[Pair]) -> None:
        """Decide the pairs that are not known yet. Never raises, and returns within the deadlines."""
        new = [pair for pair in pairs if pair[:2] not in self._known and len(self._known) < MAX_PAIRS]
        new = [pair for pair in new if all(len(text) <= MAX_CHARS for text in pair[2:])]
        if not new or find_spec("math_verify") is None:
            return
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *algebra.COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await self._ask(process, new)
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            for pair in new:
                self._known.setdefault(pair[:2], False)
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()

    async def _ask(self, process: asyncio.subprocess.Process, pairs: Sequence[Pair]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            await process.stdout.readline()
        for one, other, text, other_text in pairs:
            process.stdin.write(
                b"".join(json.dumps(pair).encode() + b"\n" for pair in ((text, other_text), (other_text, text)))
            )
            async with asyncio.timeout(PAIR_S):
                await process.stdin.drain()
                answers = [await process.stdout.readline() for _ in range(2)]  # the algebra is not symmetric
            self._known[one, other] = all(answer.strip() == b"true" for answer in answers)
