"""Branches of a conversation: the other versions of a prompt, and the conversation that holds each version.

An edited prompt starts a conversation that shares the earlier turns with the original conversation (``TurnLog``:
``forked_from``, ``forked_at``). In each of them, an edited prompt has a position among its versions: "◂ 1/2 ▸". Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Fork(NamedTuple):
    """A conversation and its origin; ``forked_from`` is empty if it does not start with an edited prompt.

    ``deleted``: it was deleted, which can still be undone.
    """

    conversation_id: str
    forked_from: str = ""
    forked_at: int = 0
    deleted: bool = False


class Version(NamedTuple):
    """A prompt's position (0-based) among the conversations that hold its versions, oldest first."""

    place: int
    conversations: tuple[str, ...]


def versions(forks: Iterable[Fork], conversation_id: str, seqs: Sequence[int]) -> dict[int, Version]:
    """The edited prompts of a conversation by turn number. ``forks``: at least its whole tree, oldest first."""
    known = {fork.conversation_id: fork for fork in forks}
    gone = {fork.conversation_id for fork in known.values() if fork.deleted}
    found: dict[int, Version] = {}
    for seq in seqs:
        own = _holder(known, conversation_id, seq)
        first = _first_version(known, own, seq)
        edited = [
            fork.conversation_id
            for fork in known.values()
            if fork.forked_from and fork.forked_at == seq and _first_version(known, fork.conversation_id, seq) == first
        ]
        others = (first, *(one for one in edited if one != first))
        shown = tuple(one for one in others if one == own or one not in gone)
        if len(shown) > 1:
            found[seq] = Version(shown.index(own), shown)
    return found


def outlines(forks: Iterable[Fork]) -> list[list[tuple[str, int]]]:
    """Each tree of branches as an outline: its conversations, depth first, with their depth from 0.

    Branches of one conversation are in the order of the prompts that were edited, then in that of ``forks``.
    """
    known = {fork.conversation_id: fork for fork in forks}
    begun: dict[str, list[str]] = {}  # the branches that begin in a conversation; "": in none that is known
    for fork in sorted(known.values(), key=lambda fork: fork.forked_at):
        begun.setdefault(fork.forked_from if fork.forked_from in known else "", []).append(fork.conversation_id)
    found: list[list[tuple[str, int]]] = []
    seen: set[str] = set()
    for root in [*begun.get("", ()), *known]:  # the second: a cycle, which only a damaged log has
        outline: list[tuple[str, int]] = []
        waiting = [(root, 0)]
        while waiting:
            conversation_id, depth = waiting.pop()
            if conversation_id in seen:
                continue
            seen.add(conversation_id)
            outline.append((conversation_id, depth))
            waiting += [(branch, depth + 1) for branch in reversed(begun.get(conversation_id, ()))]
        if outline:
            found.append(outline)
    return found


def tree(forks: Iterable[Fork], conversation_id: str) -> set[str]:
    """The conversation and all others that edited prompts connect it to. ``forks``: at least its whole tree."""
    ties = [{fork.conversation_id, fork.forked_from} for fork in forks if fork.forked_from]
    found = {conversation_id}
    while new := set().union(*(tie for tie in ties if tie & found)) - found:
        found |= new
    return found


def _holder(known: Mapping[str, Fork], conversation_id: str, seq: int) -> str:
    """The conversation that owns the turn which this one shows at ``seq``."""
    seen = set()
    while (fork := known.get(conversation_id)) and fork.forked_from and seq < fork.forked_at:
        if conversation_id in seen:
            break
        seen.add(conversation_id)
        conversation_id = fork.forked_from
    return conversation_id


def _first_version(known: Mapping[str, Fork], conversation_id: str, seq: int) -> str:
    """The conversation that holds the first version of this one's prompt ``seq``."""
    seen = set()
    while (fork := known.get(conversation_id)) and fork.forked_from and fork.forked_at == seq:
        if conversation_id in seen:
            break
        seen.add(conversation_id)
        conversation_id = _holder(known, fork.forked_from, seq)
    return conversation_id
