"""Settings of conversations in the log, and the forks that edited prompts create."""

from __future__ import annotations

from typing import Any

from kimi_ui.core.branches import Fork
from kimi_ui.core.conversation_settings import ConversationSettings, LaneSettings
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.turn import TurnLog
from kimi_ui.log.conversation_settings import SettingsLog
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.records import Op
from kimi_ui.log.writer import LogWriter
from tests.support.engine_run import running
from tests.support.scripted import ScriptedProvider, thinker
from tests.support.waiting import until

BRIEF = ConversationSettings("Be brief.", {"kimi": LaneSettings(on=False, model="k3", temperature=0.0)})


def closed(turn: TurnLog) -> TurnLog:
    until(lambda: turn.closed)
    return turn


def test_settings_are_known_at_once_and_after_a_restart(place: Place) -> None:
    writer = LogWriter(place)
    writer.start()
    settings = SettingsLog(writer, LogReader(place))
    try:
        assert settings.of("c1") == ConversationSettings()
        settings.keep("c1", ConversationSettings("First."))
        settings.keep("c1", BRIEF)
        settings.keep("c2", ConversationSettings("Other."))
        assert settings.of("c1") == BRIEF
        writer.flush().result()
        assert SettingsLog(writer, LogReader(place)).of("c1") == BRIEF
        assert SettingsLog(writer, LogReader(place)).of("c2") == ConversationSettings("Other.")
    finally:
        writer.close()


def test_settings_changed_while_the_log_is_read_win(place: Place) -> None:
    writer = LogWriter(place)
    writer.start()

    class Slow(LogReader):
        def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
            found = super().rows(sql, **values)
            settings.keep("c1", BRIEF)
            return found

    settings = SettingsLog(writer, Slow(place))
    assert settings.of("c1") == BRIEF
    assert settings.of("c1") == BRIEF
    writer.close()


def test_settings_are_deleted_with_their_conversation(place: Place) -> None:
    with running(place, ScriptedProvider(LaneSpec("a", "A", "openai"), [thinker()])) as run:
        turn = closed(run.engine.send("?"))
        SettingsLog(run.writer, run.reader).keep(turn.conversation_id, BRIEF)
        run.writer.flush().result()
        assert run.reader.rows("SELECT count(*) FROM conversation_settings") == [(1,)]
        run.writer.delete_conversation(turn.conversation_id, "").result()
        assert run.reader.rows("SELECT count(*) FROM conversation_settings") == [(0,)]


def test_unreadable_settings_count_as_no_settings(place: Place) -> None:
    writer = LogWriter(place)
    writer.start()
    for change, value in (("1", "no json"), ("2", '{"lanes": 5}')):
        row = {"change_id": change, "conversation_id": change, "changed_at_utc": "", "settings": value}
        writer.write([Op("conversation_settings", row)]).result()
    writer.close()
    settings = SettingsLog(writer, LogReader(place))
    assert settings.of("1") == settings.of("2") == ConversationSettings()


def test_forks_are_found_from_every_branch_in_memory_and_in_the_log(place: Place) -> None:
    reader = LogReader(place)
    with running(place, ScriptedProvider(LaneSpec("a", "A", "openai"), [thinker()])) as run:
        engine, turns = run.engine, run.turns
        first = closed(engine.send("q0"))
        closed(engine.send("q1", conversation_id=first.conversation_id))
        second = closed(engine.send("q1!", conversation_id=first.conversation_id, fork_at=1))
        third = closed(engine.send("q0!", conversation_id=second.conversation_id, fork_at=0))
        other = closed(engine.send("else"))
        a, b, c = (turn.conversation_id for turn in (first, second, third))
        whole = [Fork(a), Fork(b, a, 1), Fork(c, b, 0)]
        assert [fork for fork in turns.forks(b) if fork.conversation_id != other.conversation_id] == whole
        assert turns.owner_of(b) == ""
        assert turns.owner_of("nothing") is None
    for conversation in (a, b, c):
        assert reader.forks(conversation) == whole
    assert reader.forks(other.conversation_id) == [Fork(other.conversation_id)]
    assert reader.forks("nothing") == []
