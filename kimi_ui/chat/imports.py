"""Takes a JSON export (``core.portable``) back into the log, as a conversation of the person who imports it.

The turns go the way of running ones, entry by entry. So the log holds what it would hold had they been
sent here, and everything that reads it (history, search, Stats, replay) knows them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..core.events import Opened
from ..core.owner import may_read
from ..core.portable import NotAnExport, import_turns, read_document
from ..core.turn import TurnLog
from ..turns import Turns

NO_REASONING = (
    "This export was made without the reasoning, so its figures could not be checked any more: export it again with "
    "the reasoning, then import that."
)


def import_conversation(turns: Turns, data: bytes, owner: str) -> tuple[str, bool]:
    """The id of the export's conversation, and whether it is new. One that is in the log already is not added again.

    Blocks until the rows are durable, so call it on a thread. Raises ``NotAnExport``, ``LogError``, and
    ``RuntimeError`` while the app ends.
    """
    document = read_document(data)
    read = import_turns(document)
    if document.get("reasoning") is False:
        raise NotAnExport(NO_REASONING)
    conversation_id = uuid.uuid4().hex
    own = [_own(turn, conversation_id, seq, owner) for seq, turn in enumerate(read)]  # before the first is written
    if known := _known(turns, own[0], owner):
        return known, False
    for turn in own:
        _write(turns, turn)
    turns.writer.flush().result()
    return conversation_id, True


def _known(turns: Turns, turn: TurnLog, owner: str) -> str:
    """The conversation in the log that has this turn, by its prompt and the millisecond of its sending; else empty."""
    query = """
        SELECT t.conversation_id, t.owner FROM turns t JOIN conversations c ON c.conversation_id = t.conversation_id
        WHERE t.started_at_utc = :at AND t.prompt = :prompt AND c.deleted_at_utc IS NULL
    """
    rows = turns.reader.rows(query, at=turn.started_at_utc, prompt=turn.prompt)
    return next((conversation_id for conversation_id, whose in rows if may_read(whose, owner)), "")


def _own(turn: TurnLog, conversation_id: str, seq: int, owner: str) -> TurnLog:
    """The turn with ids of its own, which no other turn of the log has had, and without its place among branches."""
    turn_id = uuid.uuid4().hex
    ids = {attempt_id: uuid.uuid4().hex for attempt_id in turn.fold().attempts} | {"": ""}
    entries = [entry._replace(attempt_id=ids[entry.attempt_id]) for entry in turn.entries]
    entries = [
        entry._replace(event=Opened(_renamed(entry.event.identity, ids, turn_id)))
        if isinstance(entry.event, Opened)
        else entry
        for entry in entries
    ]
    return replace(
        turn,
        turn_id=turn_id,
        conversation_id=conversation_id,
        seq=seq,
        owner=owner,
        kind="chat",
        forked_from="",
        forked_at=0,
        entries=entries,
    )


def _renamed(identity: Mapping[str, Any], ids: Mapping[str, str], turn_id: str) -> dict[str, Any]:
    parent = identity.get("parent_id")
    if parent and parent not in ids:
        raise NotAnExport("The export is damaged (a trajectory's heavy attempt is missing).")
    own = {
        "turn_id": turn_id,
        "attempt_id": ids[identity["attempt_id"]],
        "parent_id": ids[parent] if parent else None,
        "continues": ids.get(identity.get("continues") or ""),
    }
    return {**identity, **own}


def _write(turns: Turns, turn: TurnLog) -> None:
    written = replace(turn, entries=[], closed=False)
    turns.open(written).result()
    for entry in turn.entries:
        written.append(entry)
    turns.close(written)
