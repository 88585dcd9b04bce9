"""A model as the judge of pairs of answers: its request, what it says, and sending the requests.

Answers are hostile text: they are fenced as in heavy's aggregation (``core.heavy.fence``), with a code drawn after they
were written, and the last words of the request are ours. Neither lane nor model is named. Each pair is judged in both
orders. The requests are turns of kind ``bench-judge`` in the same log as chat.
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .. import utc
from ..core.heavy.candidates import Candidate
from ..core.heavy.fence import received, request_text
from ..log.judgements import Judgement, judgement_op, judgements_of_run
from ..tokenizers import counter
from .preferences import FIRST, SECOND, TIE, Pair, pairs_of
from .results import Run
from .texts import texts_of

if TYPE_CHECKING:
    from ..core.lane import LaneSpec
    from ..core.turn import TurnLog
    from ..engine import Engine
    from ..log.reader import LogReader
    from ..turns import Turns

VERSION = 1  # counts changes of ``PROMPT``
KIND = "bench-judge"
MAX_TOKENS = 4096  # of a judgement, thinking included
AT_ONCE = 4
POLL_S = 0.05
PER_MESSAGE = 8  # tokens that a chat template adds

PROMPT = """Two answers to the request above follow, in random order. Judge which one does better what the request asks
for: first whether it meets every condition, then how well it is written. Length and order do not count.

{candidates}

Now judge. Say in at most three sentences why, then end with one line of its own in exactly this form, with 1, 2 or tie:

BETTER CANDIDATE: 1"""

_CHOICE = re.compile(r"^[\s*_`#>]*better candidate[\s*_`]*:[\s*_`]*(1|2|tie)[\s*_`.]*$", re.IGNORECASE | re.MULTILINE)


def read(text: str) -> str | None:
    """The choice in ``BETTER CANDIDATE: 1``, a line of its own; None if there is none or two differ."""
    found = {one.lower() for one in _CHOICE.findall(text)}
    return {"1": FIRST, "2": SECOND, "tie": TIE}[found.pop()] if len(found) == 1 else None


def request(question: str, answers: Sequence[str]) -> str:
    """The judge's message about two answers in this order."""
    candidates = received([Candidate(number, answer) for number, answer in enumerate(answers, 1)])
    nonce = secrets.token_hex(6)
    while any(nonce in one.answer for one in candidates):
        nonce = secrets.token_hex(6)
    return request_text(question, PROMPT, candidates, nonce)


class Task(NamedTuple):
    """One request: a pair in one order. ``usd``: its cost at most; None without a price."""

    first_turn_id: str
    second_turn_id: str
    prompt: str
    tokens: int
    usd: float | None


class Progress(NamedTuple):
    """``usd``: spent so far, None without a price. ``failed``: requests without an answer, which a next call
    repeats."""

    done: int
    n: int
    unreadable: int
    failed: int
    usd: float | None
    stopped: str
    """why it ended early, or empty"""


def tasks(run: Run, reader: LogReader, spec: LaneSpec) -> list[Task]:
    """The judgements that this lane has not given yet, in random order."""
    with reader.snapshot() as log:
        given = {
            (one.first_turn_id, one.second_turn_id)
            for one in judgements_of_run(log, run.id)
            if (one.judge, one.model, one.version) == (spec.id, spec.model, VERSION)
        }
    found = [task for pair in pairs_of(run) for task in _both_orders(pair, given, reader, spec)]
    random.SystemRandom().shuffle(found)
    return found


def _both_orders(pair: Pair, given: set[tuple[str, str]], reader: LogReader, spec: LaneSpec) -> Iterator[Task]:
    orders = [order for order in (pair.turns, pair.turns[::-1]) if order not in given]
    if not orders:
        return
    texts = {sample.turn_id: texts_of(reader, sample).last for sample in pair}
    for first, second in orders:
        one, other = texts[first], texts[second]
        if one is None or other is None:
            continue
        prompt = request(one.prompt, (one.answer, other.answer))
        tokens = counter(spec.tokenizer).count(prompt) + PER_MESSAGE
        price = spec.price
        usd = (tokens * price.input + MAX_TOKENS * price.output) / 1e6 if price else None
        yield Task(first, second, prompt, tokens, usd)


def judge(
    run: Run,
    todo: Sequence[Task],
    spec: LaneSpec,
    engine: Engine,
    turns: Turns,
    *,
    budget_usd: float | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Send the requests, some at a time, and write each judgement as it comes.

    Before each send the cost so far, the most that the open requests may cost and the most that the next one may must
    fit ``budget_usd``; otherwise nothing more is sent. What is cut off by a stop is repeated by the next call.
    """
    name = "max_completion_tokens" if "max_completion_tokens" in spec.params else "max_tokens"
    waiting = list(reversed(todo))
    running: dict[str, tuple[TurnLog, Task]] = {}
    done, unreadable, failed, stopped = 0, 0, 0, ""
    spent = 0.0 if spec.price else None

    def progress() -> Progress:
        return Progress(done, len(todo), unreadable, failed, spent, stopped)

    while running or (waiting and not stopped):
        if is_stopped() and not stopped:
            stopped = "stopped"
            for turn_id in running:
                engine.stop(turn_id)
        while waiting and not stopped and len(running) < AT_ONCE:
            most = sum(task.usd or 0.0 for _, task in running.values()) + (waiting[-1].usd or 0.0)
            if budget_usd is not None and (spent or 0.0) + most > budget_usd:
                if running:
                    break  # they may cost less than they could
                stopped = "budget"
                continue
            task = waiting.pop()
            turn = engine.send(task.prompt, lanes=[spec.id], kind=KIND, params={name: MAX_TOKENS})
            running[turn.turn_id] = (turn, task)
        for turn_id, (turn, task) in list(running.items()):
            if not turn.closed:
                continue
            del running[turn_id]
            turns.writer.flush().result()
            rows = turns.reader.attempt_metrics(turn.fold().lanes[spec.id].attempts)
            if spent is not None:
                # An attempt whose cost is not known may have cost the most.
                spent += sum((row["cost_usd"] if row["cost_usd"] is not None else task.usd or 0.0) for row in rows)
            fold = turn.fold().newest(spec.id)
            if fold is None or fold.status not in ("ok", "length", "no_answer"):
                failed += 1
            else:
                choice = read(fold.answer) if fold.status == "ok" else None
                unreadable += choice is None
                done += 1
                now = utc.now_text()
                asked = (task.first_turn_id, task.second_turn_id)
                row = Judgement(turn_id, run.id, spec.id, spec.model, *asked, choice, VERSION, now)
                turns.writer.write([judgement_op(row)]).result()
            tell(progress())
        if running:
            time.sleep(POLL_S)
    return progress()
