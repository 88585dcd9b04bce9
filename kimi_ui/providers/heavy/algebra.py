"""Whether two expressions are equal, by a computer algebra in a process of its own that can be killed.

sympy can hang on nested powers, and its helpers' time limits use SIGALRM, which does not work outside the main thread.
So the child process (``python -m kimi_ui.providers.heavy.algebra``) reads one pair a line and answers with one line; a
pair that is not decided within its deadline costs the process its life, and counts as different. Without math-verify
the cheap rules of ``core.heavy.expressions`` decide alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec

MAX_CHARS = 200  # of one expression; longer ones are refused
MAX_PAIRS = 28  # of a run: eight different answers
START_S = 20.0  # importing sympy takes seconds on a busy machine
PAIR_S = 3.0

Pair = tuple[str, str, str, str]
"""Two keys and the two texts, as ``core.heavy.clusters.undecided`` gives them."""


class Algebra:
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
                *(sys.executable, "-m", "kimi_ui.providers.heavy.algebra"),
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
            process.stdin.write(json.dumps([text, other_text]).encode() + b"\n")
            async with asyncio.timeout(PAIR_S):
                await process.stdin.drain()
                answer = await process.stdout.readline()
            self._known[one, other] = answer.strip() == b"1"


def main() -> None:
    """The child: ``[text, text]`` a line in, 1 or 0 a line out, after one line that says it is ready."""
    from math_verify import parse, verify

    def read(text: str) -> list[object]:
        return list(parse(f"${text}$", parsing_timeout=None, raise_on_error=False))

    print("ready", flush=True)
    for line in sys.stdin:
        try:
            one, other = map(read, json.loads(line))
            equal = bool(one and other) and (
                verify(one, other, timeout_seconds=None) and verify(other, one, timeout_seconds=None)
            )
        except Exception:
            equal = False
        print(int(equal), flush=True)


if __name__ == "__main__":
    main()
