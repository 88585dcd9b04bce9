"""The Stats tab's section on votes as HTML. Every text in it is escaped: names come from configuration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..stats.votes import LaneVotes, Votes, percent, sentence
from ..view.lane_colours import lane_accent

KINDS = {True: "Blind", False: "With names and pace in sight"}
COLUMNS = ("Voted best", "Votes", "Tie", "Another was best", "All bad")


def section(votes: Votes, lanes: Sequence[str]) -> str:
    """``lanes``: ids in the page's order, which decides the colours. Nothing where nobody has voted."""
    if not votes.lanes:
        return ""
    head = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
    order = list(dict.fromkeys([*lanes, *(one.lane for one in votes.lanes)]))
    turns = "1 turn" if votes.n_turns == 1 else f"{votes.n_turns:,} turns"
    tables = ""
    for blind, title in KINDS.items():
        rows = [one for one in votes.lanes if one.blind == blind]
        if not rows:
            continue
        body = "".join(_row(one, lane_accent(order.index(one.lane))) for one in rows)
        pairs = "".join(
            f'<li data-shown="{str(pair.shown).lower()}">{escape(sentence(pair))}</li>'
            for pair in votes.pairs
            if pair.blind == blind
        )
        tables += f"""
            <h4 class="st-kind">{title}</h4>
            <div class="st-scroll"><table class="st-table st-series st-votes">
            <thead><tr><th scope="col">Lane</th>{head}</tr></thead><tbody>{body}</tbody></table></div>
            <ul class="st-pairs">{pairs}</ul>
        """
    return f"""
        <p class="st-note"><b>Votes</b> on {turns}: how often a lane was called the best, with 95 % intervals.
        A vote for one lane says nothing of two others between themselves.</p>{tables}
    """


def _row(one: LaneVotes, colour: str) -> str:
    low, high = one.interval
    counts = (one.n, one.ties, one.losses, one.all_bad)
    cells = "".join(
        f'<td data-label="{label}">{count:,}</td>' for label, count in zip(COLUMNS[1:], counts, strict=True)
    )
    return f"""<tr style="--lane: {colour}"><th scope="row"><span class="st-name">{escape(one.name)}</span></th>
        <td data-label="{COLUMNS[0]}">{one.wins:,} · {percent(one.share)}
            <span class="st-sub">[{percent(low)}, {percent(high)}]</span></td>{cells}</tr>"""
