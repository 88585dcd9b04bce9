"""An item of the plan while it is worked on, and the verdicts on its answers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from ..core.attempt import AttemptFold
from ..core.turn import TurnFold, TurnLog
from ..log.records import Op
from ..turns import Turns
from . import graders, records, sandbox
from .plan import Item
from .records import LOST, Sent
from .suite import Case

ANSWERED = ("ok", "length", "no_answer")
CUT = "context_truncated"  # the flag of an attempt whose prompt the server did not read whole


@dataclass
class Work:
    """An item being worked on: its turns so far. ``is_lost``: the last one's attempt was cut off and is sent again."""

    item: Item
    case: Case
    turns: list[TurnLog] = field(default_factory=list)
    is_lost: bool = False
    began_s: float = 0.0
    n_settled: int = 0  # turns whose cost is taken

    @classmethod
    def stored(cls, turns: Turns, item: Item, case: Case, sent: Sequence[Sent]) -> Work:
        """An item as another process left it; what that left open is ended in the log."""
        found = [turn for one in sent if (turn := turns.reader.turn(one.turn_id))]
        is_lost = sent[-1].is_lost
        if found:
            turns.forget(found[-1].conversation_id)  # it may be older than the log
        if found and is_lost:
            turns.complete(found[-1])
            found[-1] = turns.reader.turn(found[-1].turn_id) or found[-1]
        return cls(item, case, found, is_lost, n_settled=len(sent) - is_lost)

    @property
    def next_turn_id(self) -> str:
        """The id of the turn that the item's next message is sent in. It follows from the item's own, so that a message
        has one turn in the log even if two processes send it."""
        first = self.item.turn_id or ""
        return uuid.uuid5(uuid.UUID(first), str(len(self.turns))).hex if self.turns else first

    @property
    def messages(self) -> tuple[str, ...]:
        return self.case.turns or (self.case.prompt,)

    @property
    def fold(self) -> TurnFold:
        """Of the last turn."""
        return self.turns[-1].fold()

    @property
    def newest(self) -> AttemptFold | None:
        """The newest attempt of the last turn; None if none was sent."""
        return self.fold.newest(self.item.lane) if self.turns else None

    @property
    def goes_on(self) -> bool:
        """Whether a further message follows: the last one has a whole answer."""
        newest = self.newest
        return len(self.turns) < len(self.messages) and newest is not None and newest.status == "ok"

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to send of what another process left."""
        return not (self.is_lost or self.goes_on)


def verdicts(work: Work, unsandboxed: bool = False) -> list[Op]:
    """The verdict on an item, as rows: on its last attempt, and on each of heavy's trajectories that has an end."""
    fold, lane = work.fold, work.item.lane
    attempt_id = fold.current(lane) or ""
    answers = [newest.answer for turn in work.turns if (newest := turn.fold().newest(lane))]
    judge = partial(_judged, work.case, unsandboxed=unsandboxed)
    trajectories = {  # by number; of several tries of one, the last
        fold.attempts[id].k_index: id
        for id in fold.children.get(attempt_id, ())
        if fold.attempts[id].role == "trajectory"
    }
    everyone = [fold.folds[id] for id in (attempt_id, *trajectories.values())]
    read = next((one.flags[CUT] for one in everyone if CUT in one.flags), "")
    own, *children = everyone
    if (
        own.failure
        and own.failure.kind == "no_survivor"
        and {one.status for one in children} <= {"length", "no_answer"}
    ):
        # Every trajectory was cut or empty: the server did its part.
        verdict = graders.TRUNCATED if any(one.status == "length" for one in children) else graders.UNPARSED
        found = [records.verdict_op(attempt_id, verdict, own.failure.message)]
    else:
        found = [judge(attempt_id, own, answers, read)]
    if not work.case.turns:
        for id, child in zip(trajectories.values(), children, strict=True):
            if child.status not in LOST:
                found.append(judge(id, child, [child.answer], child.flags.get(CUT, "")))
    return found


def _judged(
    case: Case, attempt_id: str, fold: AttemptFold, answers: Sequence[str], read: str, *, unsandboxed: bool
) -> Op:
    """The verdict on one attempt. ``read``: how much of the prompt the server read, if that was not all."""
    failure = fold.failure
    if failure is not None and failure.kind == "context":
        return records.verdict_op(attempt_id, "context", failure.message)
    if read:
        return records.verdict_op(attempt_id, "context", f"The server read {read} of the prompt.")
    if failure is not None and failure.kind == "timeout_total" and fold.n_chunks:
        return records.verdict_op(attempt_id, graders.TRUNCATED, f"The answer is cut off: {failure.message}")
    if fold.status not in ANSWERED:
        return records.verdict_op(
            attempt_id, "endpoint", failure.message if failure else "The stream ended before the answer did."
        )
    verdict = graders.grade(
        case,
        answers if case.turns else answers[-1],
        finish="length" if fold.status == "length" else "stop",
        get_sandbox=partial(sandbox.choose, unsandboxed),
    )
    stamp = verdict.sandbox
    return records.verdict_op(
        attempt_id,
        verdict.verdict,
        verdict.reason,
        extracted=verdict.extracted,
        grader=verdict.grader,
        grader_version=str(verdict.version),
        backend=stamp.backend if stamp else None,
        level=stamp.level if stamp else None,
    )
