"""The user's verdict on a turn, as a value. The log keeps all verdicts; the last one counts."""

from __future__ import annotations

from dataclasses import dataclass

LANE, TIE, ALL_BAD, NONE = "lane", "tie", "all_bad", "none"
CHOICES = (LANE, TIE, ALL_BAD, NONE)
WIN, LOSS = "win", "loss"  # outcomes for a lane, beside TIE and ALL_BAD


@dataclass(frozen=True)
class Vote:
    """``choice``: lane (``lane`` is best) | tie | all_bad | none (withdrawn, or a blind turn revealed without a vote).

    ``field`` holds the ids of the lanes that had an answer when the user voted; only these were compared.
    ``blind``: names, models and metrics were hidden. ``speed_visible`` False: the pace was hidden too. ``choice`` and
    ``lane`` are separate because a lane may be called "tie". Raises ``ValueError`` for an inconsistent vote.
    """

    choice: str
    lane: str = ""
    field: tuple[str, ...] = ()
    blind: bool = False
    speed_visible: bool = True
    voted_at_utc: str = ""

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"A vote is one of {', '.join(CHOICES)}.")
        if (self.choice == LANE) != bool(self.lane):
            raise ValueError("A vote for the best lane names it, and only such a vote does.")
        if self.lane and self.lane not in self.field:
            raise ValueError("That lane had no answer to vote for.")
        if self.choice in (TIE, ALL_BAD) and not self.field:
            raise ValueError("There was no answer to vote on.")

    def outcome(self, lane: str) -> str | None:
        """What the vote says of a lane, as the view ``vote_outcomes`` does: win | tie | loss | all_bad; else None."""
        if self.choice == NONE or lane not in self.field:
            return None
        if self.choice == LANE:
            return WIN if lane == self.lane else LOSS
        return self.choice
