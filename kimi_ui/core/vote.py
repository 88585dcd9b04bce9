"""A person's verdict on a turn, as a value. The log keeps every one; the last counts."""

from __future__ import annotations

from dataclasses import dataclass

LANE, TIE, ALL_BAD, NONE = "lane", "tie", "all_bad", "none"
CHOICES = (LANE, TIE, ALL_BAD, NONE)


@dataclass(frozen=True)
class Vote:
    """``choice``: lane (``lane`` is best) | tie | all_bad | none (taken back, or a blind turn opened without a vote).

    ``field`` holds the ids of the lanes that had an answer when the vote was cast: only they were compared.
    ``blind``: names, models and metrics were hidden. ``speed_visible``: so was the pace, if False. Two fields for the
    lane's choice, since a lane may be called "tie". Raises ``ValueError`` for a vote that makes no sense.
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
