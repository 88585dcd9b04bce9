"""Conversations in the log: titles, the list with branches, pins and the archive, search, renaming, deletion."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_ui.core.events import Answer, Event, Reasoning
from kimi_ui.core.turn import TurnLog
from kimi_ui.core.vote import Vote
from kimi_ui.log.conversations import (
    ConversationGone,
    deleted_conversations,
    entries_of,
    head_of,
    list_conversations,
    pinned_conversations,
)
from kimi_ui.log.places import Place
from kimi_ui.log.reader import LogReader
from kimi_ui.log.search import Match, search
from kimi_ui.log.sqlite.hand_out import OF_THE_SERVER, OWNED
from kimi_ui.log.sqlite.tables import tables
from kimi_ui.log.store import LogError
from kimi_ui.log.votes import vote_op
from kimi_ui.log.writer import LogWriter
from tests.support.log import store
from tests.support.turns import attempt, ended, turn

ME, YOU = "owner-me", "owner-you"


class Log:
    """A real log, its writer and its reader."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.writer = LogWriter(place)
        self.reader = LogReader(place)
        self.writer.start()

    def keep(self, prompt: str, answer: str = "", reasoning: str = "", **fields: Any) -> TurnLog:
        """Write a finished turn as the engine does: rows first, then its entries."""
        fields = {"owner": ME, **fields}
        texts: list[tuple[float, Event]] = [(10, Reasoning(reasoning)), (20, Answer(answer))]
        made = turn((attempt(), ended([item for item in texts if item[1].text])), prompt=prompt, **fields)
        entries, made.entries, made.closed = made.entries, [], False
        self.writer.open_turn(made).result()
        self.writer.follow(made)
        made.entries += entries
        made.closed = True
        self.writer.flush().result()
        return made

    def delete(self, conversation_id: str, owner: str = ME) -> None:
        self.writer.delete_conversation(conversation_id, owner).result()

    def mark(self, mark: str, *turns: TurnLog, on: bool = True, owner: str = ME) -> None:
        self.writer.mark_conversations([turn.conversation_id for turn in turns], owner, mark, on).result()

    def titles(self, **options: Any) -> list[str]:
        return [entry.title for entry in list_conversations(self.reader, ME, **options)]

    def rows(self) -> dict[str, list[str]]:
        """Every row of every ordinary table, as text."""
        names = [table.name for table in tables()] + ["measured", "search_documents"]
        return {name: list(map(str, self.reader.rows(f"SELECT * FROM {name}"))) for name in names}

    @property
    def path(self) -> Path:
        """The log's file, of a log in SQLite."""
        return Path(str(self.place))

    def bytes_holding(self, word: str) -> list[str]:
        """The log's files that contain the word; none for a log in PostgreSQL, which does not promise that."""
        if not isinstance(self.place, Path):
            return []
        return [path.name for path in self.path.parent.iterdir() if word.encode() in path.read_bytes()]


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    log = Log(place)
    yield log
    log.writer.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on locks at once; before a log is opened."""
    monkeypatch.setattr("kimi_ui.log.sqlite.store.LOCK_WAIT_S", 0.05)


@pytest.fixture
def file_log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "log.sqlite3")
    yield log
    log.writer.close()


def found(log: Log, text: str, owner: str = ME) -> list[tuple[str, str]]:
    return [(match.part, match.conversation_id) for match in search(log.reader, owner, text)]


def marked(match: Match) -> str:
    return "".join(f"[{piece.text}]" if piece.hit else piece.text for piece in match.snippet)


def test_the_title_is_the_first_sentence_of_the_first_prompt_until_it_is_renamed(log: Log) -> None:
    first = log.keep("# Why is **grass** green? Explain.")
    log.keep("And the sky?", conversation_id=first.conversation_id, seq=1)
    assert [head.title for head in list_conversations(log.reader, ME)] == ["Why is grass green?"]
    log.writer.rename_conversation(first.conversation_id, ME, "Colours").result()
    head = head_of(log.reader, first.conversation_id)
    assert head is not None
    assert (head.title, head.n_turns, head.n_lanes) == ("Colours", 2, 1)
    with pytest.raises(ConversationGone):
        log.writer.rename_conversation(first.conversation_id, YOU, "Mine now").result()
    assert list_conversations(log.reader, ME)[0].title == "Colours"


def test_the_list_is_paged_newest_first_and_holds_only_the_owners_conversations(log: Log) -> None:
    made = [log.keep(f"Number {i}.", started_at_utc=f"2026-11-21T12:00:{i // 3:02}.000+00:00") for i in range(12)]
    log.keep("Yours.", owner=YOU)
    log.keep("A benchmark.", kind="bench")
    again = log.keep("More.", conversation_id=made[0].conversation_id, seq=1, started_at_utc="2026-11-22T00:00:00")
    seen: list[str] = []
    before = None
    while page := list_conversations(log.reader, ME, before=before, limit=5):
        seen += [head.conversation_id for head in page]
        before = page[-1].cursor
        log.keep("Begun while paging.", started_at_utc="2026-12-01T00:00:00")
    newest_first = sorted(made[1:], key=lambda one: (one.started_at_utc, one.turn_id), reverse=True)
    assert seen == [again.conversation_id, *(one.conversation_id for one in newest_first)]
    assert [head.title for head in list_conversations(log.reader, YOU)] == ["Yours."]
    assert list_conversations(log.reader, "nobody") == []


def test_words_are_found_in_prompts_answers_reasoning_and_titles(log: Log) -> None:
    one = log.keep("A question on lighthouses", "It blinks twice.", "Let me recall the harbour lamp.")
    assert found(log, "lighthouses") == [("title", one.conversation_id)]
    log.writer.rename_conversation(one.conversation_id, ME, "Sea").result()
    assert found(log, "lighthouses") == [("prompt", one.conversation_id)]
    assert found(log, "blinks") == [("answer", one.conversation_id)]
    assert found(log, "HARBOUR lam") == [
        ("reasoning", one.conversation_id)
    ]  # case is ignored, and the last word may be incomplete
    assert found(log, "harb lamp") == []  # only the last word may be incomplete
    assert found(log, '"harbour lamp"') == [("reasoning", one.conversation_id)]
    assert found(log, '"lamp harbour"') == []
    assert found(log, "blinks harbour") == []  # the words are in two texts
    (match,) = search(log.reader, ME, "twi")
    assert (marked(match), match.title, match.turn_id, match.label) == ("It blinks [twice].", "Sea", one.turn_id, "A")


def test_a_match_names_the_attempt_and_the_trajectory_that_it_is_in(log: Log) -> None:
    first, again = attempt("h", role="heavy", label="Heavy"), attempt("h", role="heavy", label="Heavy", attempt_no=2)
    third = attempt("h", role="trajectory", label="Kimi", parent_id=first.attempt_id, k_index=2)
    texts = {"merged": first, "thrice": third, "afresh": again}
    made = turn(
        *((who, ended([(9, Reasoning("Hm.")), (10, Answer(word))])) for word, who in texts.items()),
        owner=ME,
        prompt="Hm. A prompt.",
    )
    store(log.writer, made)
    assert {word: [match[4:] for match in search(log.reader, ME, word)] for word in (*texts, "prompt")} == {
        "merged": [(made.turn_id, "h", "Heavy", 1, 2, None)],
        "thrice": [(made.turn_id, "h", "Heavy", 1, 2, 2)],
        "afresh": [(made.turn_id, "h", "Heavy", 2, 2, None)],
        "prompt": [(made.turn_id, "", "", 0, 0, None)],
    }


def test_a_conversation_is_listed_by_its_newest_match(log: Log) -> None:
    first = log.keep("apple", "an apple a day")
    log.keep("pear", "no apple here", conversation_id=first.conversation_id, seq=1)
    other = log.keep("cherry and apple")
    log.writer.rename_conversation(first.conversation_id, ME, "x").result()
    log.writer.rename_conversation(other.conversation_id, ME, "y").result()
    assert [(match.part, marked(match)) for match in search(log.reader, ME, "apple")] == [
        ("prompt", "cherry and [apple]"),
        ("answer", "no [apple] here"),
    ]
    assert len(search(log.reader, ME, "apple", limit=1)) == 1


def test_search_with_accents_and_in_scripts_without_spaces(log: Log) -> None:
    log.keep("Un café s'il vous plaît", owner=ME)
    log.keep("x", "我喜欢喝绿茶，也喜欢咖啡。", owner=ME)
    assert [match.part for match in search(log.reader, ME, "cafe")] == ["prompt"]
    (match,) = search(log.reader, ME, "绿茶")
    assert (match.part, marked(match)) == ("answer", "我喜欢喝[绿茶]，也喜欢咖啡。")
    assert search(log.reader, ME, "绿茶 100%_\\") == []


def test_search_finds_only_ones_own_conversations(log: Log) -> None:
    log.keep("my secret plan", "the secret answer")
    for text in ("secret", "my secret plan", "秘密", "answer"):
        assert found(log, text, YOU) == []
        assert found(log, text, "") == []


def test_what_a_benchmark_sent_is_neither_listed_nor_found(log: Log) -> None:
    log.keep("Which jugs hold water?", "These jugs.", kind="bench")
    chat = log.keep("And which jugs hold milk?")
    assert [match.conversation_id for match in search(log.reader, ME, "jugs")] == [chat.conversation_id]
    assert [head.conversation_id for head in list_conversations(log.reader, ME)] == [chat.conversation_id]


def test_text_of_blind_lanes_is_found_only_after_the_vote(log: Log) -> None:
    blind = log.keep("who was it", "it was the gardener", "the butler thought", slots=("a",))
    assert [found(log, text) for text in ("gardener", "butler", "园丁")] == [[], [], []]
    assert found(log, "was it")[0][0] == "title"
    vote = Vote("lane", "a", ("a",), blind=True, speed_visible=False, voted_at_utc="2026-11-21T12:00:00+00:00")
    log.writer.write([vote_op(blind.turn_id, vote)]).result()
    assert found(log, "gardener") == [("answer", blind.conversation_id)]


HOSTILE = [
    '"', '""', '"""', "*", "a*", "^a", "a OR b", "NOT", "NOT a", "AND", "NEAR(a b)", "text:a", "-a", "a:b", "(",
    "a + b", "'; DROP TABLE turns; --", "%", "_", "\\", "\0", "a\0b", "\ud800", "𐄁", "🦊", "a\x02b\x03", " ", "", "??",
    "?1", ":owner", "x" * 100_000, "a " * 5000, '"' * 999, "绿%' OR 1=1 --", "<script>alert(1)</script>", "\u202e", ")",
    "{a b}",
]  # fmt: skip


def test_hostile_queries_are_searched_as_text(log: Log) -> None:
    log.keep("a b and a script: alert")
    log.keep("yours a b", owner=YOU)
    for text in HOSTILE:
        assert {match.title for match in search(log.reader, ME, text)} <= {"a b and a script: alert"}, text[:50]
    assert len(list_conversations(log.reader, ME)) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="\"*()^:-+{} aANDORNET%_\\'绿", max_size=40))
def test_no_query_raises_an_error(log: Log, text: str) -> None:
    search(log.reader, ME, text)


SNIPPETS = [
    ("\x02fake\x03 and\r\n real", "real", " fake and [real]"),
    ("call snake_case(x), not snake case", "snake_case", "call [snake_case](x), not [snake case]"),
    ("Le café crème; CAFÉ noir", "cafe", "Le [café] crème; [CAFÉ] noir"),
    ("unrelated words and scarlet, car and carpet", "car", "unrelated words and scarlet, [car] and [carpet]"),
    ("한국어로 답하세요", "한국", "[한국어로] 답하세요"),
    ("a*b [c] (d", '"b c"', "a*[b [c]] (d"),
    ("x " * 300 + "needle here" + " y" * 300, "needle", "…" + "x " * 22 + "[needle] here" + " y" * 37 + "…"),
]


def test_the_snippet_marks_what_was_found(log: Log) -> None:
    for answer, typed, snippet in SNIPPETS:
        one = log.keep("?", answer)
        log.writer.rename_conversation(one.conversation_id, ME, "t").result()
        (match,) = search(log.reader, ME, typed)
        assert marked(match) == snippet
        log.delete(one.conversation_id)


def test_a_short_query_matches_whole_words_only(log: Log) -> None:
    one = log.keep("It is a cat", "concatenate")
    log.writer.rename_conversation(one.conversation_id, ME, "t").result()
    assert [match.part for match in search(log.reader, ME, "ca")] == []
    assert [match.part for match in search(log.reader, ME, "is")] == ["prompt"]
    assert [match.part for match in search(log.reader, ME, "con")] == ["answer"]


def test_a_deleted_conversation_leaves_no_row_and_no_byte(log: Log) -> None:
    word = "zanzibarcanary"
    gone = log.keep(f"Tell me of {word}.", f"It is {word}. " * 200, f"hm {word} " * 50, system=f"On {word}.")
    log.keep(f"Again {word}", conversation_id=gone.conversation_id, seq=1)
    kept = log.keep("Something else entirely", "harmless")
    assert log.bytes_holding(word) or not isinstance(log.place, Path)
    log.delete(gone.conversation_id)
    ids = {gone.conversation_id, gone.turn_id, *(entry.attempt_id for entry in gone.entries)}
    assert not [row for rows in log.rows().values() for row in rows if any(one in row for one in ids)]
    assert (found(log, word), log.reader.turn(gone.turn_id)) == ([], None)
    assert [head.conversation_id for head in list_conversations(log.reader, ME)] == [kept.conversation_id]
    log.writer.close()  # finishes the remaining overwriting
    assert log.bytes_holding(word) == []
    assert found(log, "harmless") == [("answer", kept.conversation_id)]
    if isinstance(log.place, Path):
        assert log.reader.rows("PRAGMA integrity_check") == [("ok",)]
        assert log.reader.rows("PRAGMA foreign_key_check") == []


def test_bytes_are_overwritten_while_the_app_runs_and_others_read(file_log: Log) -> None:
    word = "quokkacanary"
    gone = file_log.keep(f"A {word}", f"{word} " * 500)
    with file_log.reader.snapshot() as old:
        assert list(old.rows("SELECT count(*) FROM turns")) == [
            (1,)
        ]  # a reader whose open transaction keeps the old state
        file_log.delete(gone.conversation_id)
        assert file_log.keep("Written meanwhile").turn_id
    while file_log.bytes_holding(word):  # the test's time limit ends this loop
        file_log.writer.flush().result()
    assert len(list_conversations(file_log.reader, ME)) == 1


def test_an_interrupted_overwriting_is_finished_at_the_next_start(file_log: Log) -> None:
    word = "narwhalcanary"
    gone = file_log.keep(f"A {word}", f"{word} " * 500)
    file_log.writer.close()
    with closing(
        sqlite3.connect(file_log.path, isolation_level=None)
    ) as db:  # as if a process was killed right after its commit
        for statement in ("PRAGMA foreign_keys = ON", "BEGIN", "PRAGMA user_version = 1"):
            db.execute(statement)
        db.execute("DELETE FROM conversations WHERE conversation_id = ?", (gone.conversation_id,))
        db.execute("COMMIT")
    assert file_log.bytes_holding(word)
    again = LogWriter(file_log.path)
    again.start()
    again.close()
    with closing(sqlite3.connect(file_log.path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 0
        words = db.execute("SELECT count(*) FROM search WHERE search MATCH ?", (word,)).fetchone()[0]
    assert words == 0


def test_only_the_owner_deletes_and_only_once(log: Log) -> None:
    mine = log.keep("Mine")
    for owner in (YOU, ""):
        with pytest.raises(ConversationGone):
            log.delete(mine.conversation_id, owner)
    assert log.reader.turn(mine.turn_id) is not None
    log.delete(mine.conversation_id)
    with pytest.raises(ConversationGone):
        log.delete(mine.conversation_id)


def test_nothing_is_written_to_a_deleted_conversation_again(log: Log) -> None:
    gone = log.keep("Gone")
    log.delete(gone.conversation_id)
    log.keep("A late turn", "late", conversation_id=gone.conversation_id, seq=1)  # it was being written
    assert list_conversations(log.reader, ME) == []
    assert log.writer.n_refused == 0
    assert log.keep("Another").turn_id
    assert len(list_conversations(log.reader, ME)) == 1


def test_a_log_that_cannot_be_written_says_so_and_deletes_nothing(impatient: None, file_log: Log) -> None:
    mine = file_log.keep("Mine")
    with closing(sqlite3.connect(file_log.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")  # another program locks the database for longer than the writer waits
        with pytest.raises(LogError, match="cannot be written"):
            file_log.delete(mine.conversation_id)
        db.execute("ROLLBACK")
    assert file_log.reader.turn(mine.turn_id) is not None


def fork(log: Log, of: TurnLog, at: int, prompt: str, **fields: Any) -> TurnLog:
    return log.keep(prompt, "answer to " + prompt, forked_from=of.conversation_id, forked_at=at, seq=at, **fields)


def prompts(log: Log, conversation_id: str) -> list[str]:
    return [turn.prompt for turn in log.reader.conversation(conversation_id)]


def test_turns_shared_with_a_fork_outlive_their_conversation(log: Log) -> None:
    root = log.keep("r0", "a0")
    for seq in (1, 2):
        log.keep(f"r{seq}", f"a{seq}", conversation_id=root.conversation_id, seq=seq)
    early, late = fork(log, root, 1, "early"), fork(log, root, 2, "late")
    of_late = fork(log, late, 1, "of late")
    own = log.keep("late too", conversation_id=late.conversation_id, seq=3)
    log.delete(root.conversation_id)
    assert prompts(log, root.conversation_id) == []
    assert prompts(log, late.conversation_id) == ["r0", "r1", "late", "late too"]
    assert prompts(log, early.conversation_id) == ["r0", "early"]
    assert prompts(log, of_late.conversation_id) == ["r0", "of late"]
    assert found(log, "r2") == []
    assert [one.prompt for one in log.reader.history(late.conversation_id, "a")] == ["r0", "r1", "late"]
    log.delete(late.conversation_id)
    assert prompts(log, early.conversation_id) == ["r0", "early"]
    assert prompts(log, of_late.conversation_id) == ["r0", "of late"]
    assert log.reader.turn(own.turn_id) is None
    log.delete(early.conversation_id)
    log.delete(of_late.conversation_id)
    assert [rows for name, rows in log.rows().items() if name in ("turns", "attempts", "events") and rows] == []


def test_branches_are_one_entry_at_the_place_of_the_newest(log: Log) -> None:
    root = log.keep("Root", "a", started_at_utc="2026-11-01T00:00:00.000+00:00")
    log.keep("r1", "a", conversation_id=root.conversation_id, seq=1, started_at_utc="2026-11-02T00:00:00.000+00:00")
    log.keep("Another", "a", started_at_utc="2026-11-03T00:00:00.000+00:00")
    second = fork(log, root, 1, "Second", started_at_utc="2026-11-04T00:00:00.000+00:00")
    fork(log, root, 0, "First", started_at_utc="2026-11-05T00:00:00.000+00:00")
    deep = fork(log, second, 1, "Deep", started_at_utc="2026-11-06T00:00:00.000+00:00")
    entry, other = list_conversations(log.reader, ME)
    assert (entry.title, other.title, entry.newest.conversation_id) == ("Root", "Another", deep.conversation_id)
    outline = [(head.title, head.depth, head.n_turns) for head in entry.branches]
    assert outline == [("Root", 0, 2), ("First", 1, 1), ("Second", 1, 2), ("Deep", 2, 2)]
    pages = [log.titles(limit=1), log.titles(limit=1, before=entry.cursor), log.titles(limit=1, before=other.cursor)]
    assert pages == [["Root"], ["Another"], []]
    assert entries_of(log.reader, ME, [second.conversation_id])[deep.conversation_id] == entry
    log.mark("deleted", root, deep)
    assert [[head.title for head in one.branches] for one in list_conversations(log.reader, ME)] == [
        ["First", "Second"],
        ["Another"],
    ]
    log.writer.erase_conversations([root.conversation_id, deep.conversation_id], ME).result()
    assert sorted(head.title for one in list_conversations(log.reader, ME) for head in one.branches) == [
        "Another",
        "First",
        "Second",
    ]
    assert prompts(log, second.conversation_id) == ["Root", "Second"]


def test_pinned_and_archived_entries_are_listed_apart(log: Log) -> None:
    made = [log.keep(f"Number {i}", started_at_utc=f"2026-11-2{i}T12:00:00.000+00:00") for i in range(5)]
    branch = fork(log, made[0], 0, "Branch", started_at_utc="2026-11-20T13:00:00.000+00:00")
    log.mark("pinned", branch, made[3])
    log.mark("archived", made[1], made[3])
    assert log.titles() == ["Number 4", "Number 2"]
    assert [entry.title for entry in pinned_conversations(log.reader, ME)] == ["Number 0"]
    assert log.titles(archived=True) == ["Number 3", "Number 1"]
    assert found(log, "Number 1") == [("title", made[1].conversation_id)]
    assert entries_of(log.reader, ME, [made[1].conversation_id])[made[1].conversation_id].archived
    log.mark("archived", made[3], on=False)
    assert [entry.title for entry in pinned_conversations(log.reader, ME)] == ["Number 3", "Number 0"]
    log.mark("pinned", made[0], made[3], on=False)  # the pin was on the branch, so it is the whole entry's
    assert log.titles() == ["Number 4", "Number 3", "Number 2", "Number 0"]
    log.keep("On", conversation_id=made[1].conversation_id, seq=1, started_at_utc="2999-01-01T00:00:00.000+00:00")
    assert log.titles()[0] == "Number 1"  # a conversation that goes on is in the archive no more
    log.mark("archived", made[1])
    assert (log.titles()[0], log.titles(archived=True)) == ("Number 4", ["Number 1"])  # whatever its turn's clock said


def test_a_deletion_hides_at_once_and_can_be_taken_back_until_it_is_erased(log: Log) -> None:
    word = "ocelotcanary"
    gone, kept = log.keep(f"About the {word}", f"{word} purrs"), log.keep("Kept")
    branch = fork(log, gone, 0, "Its branch")
    log.mark("deleted", gone)
    assert sorted(log.titles()) == ["Its branch", "Kept"]
    assert found(log, word) == []
    assert log.reader.owner_of(gone.conversation_id) is None
    assert [one.title for one in deleted_conversations(log.reader, ME)] == [f"About the {word}"]
    assert deleted_conversations(log.reader, YOU) == []
    assert [(one.conversation_id, one.deleted) for one in log.reader.forks(branch.conversation_id)] == [
        (gone.conversation_id, True),
        (branch.conversation_id, False),
    ]
    log.mark("deleted", gone, on=False)
    log.writer.erase_conversations([gone.conversation_id, kept.conversation_id], ME).result()  # neither is marked
    assert len(log.titles()) == 2  # with its branch one entry again
    assert found(log, word)[0][1] == gone.conversation_id
    log.mark("deleted", gone, kept)
    log.writer.close()
    again = LogWriter(log.place)  # the marks outlive the process
    again.start()
    with pytest.raises(ConversationGone):
        again.erase_conversations([gone.conversation_id], YOU).result()
    again.erase_deleted_before("2020-01-01T00:00:00").result()
    assert len(deleted_conversations(log.reader, ME)) == 2
    again.erase_deleted_before("2999-01-01T00:00:00").result()
    assert (deleted_conversations(log.reader, ME), log.titles()) == ([], ["Its branch"])
    again.close()
    assert log.bytes_holding(word) == []


def test_marks_are_all_or_nothing_and_the_owners(log: Log) -> None:
    mine, yours = log.keep("Mine"), log.keep("Yours", owner=YOU)
    for mark in ("pinned", "archived", "deleted"):
        with pytest.raises(ConversationGone):
            log.mark(mark, mine, yours)
    assert log.titles() == ["Mine"]
    assert [entry.title for entry in list_conversations(log.reader, YOU)] == ["Yours"]


def test_a_copy_for_one_owner_holds_no_text_of_another(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.keep("Mine", "walnutcanary")
    log.keep("Yours", "peanutcanary " * 300_000, owner=YOU)  # more than SQLite holds in memory
    copies = tmp_path / "copies"
    copies.mkdir()
    with monkeypatch.context() as patch, pytest.raises((LogError, sqlite3.Error)):  # a crash after the rows
        patch.setattr("kimi_ui.log.sqlite.schema.BACKFILL", ["INSERT INTO nowhere VALUES (1)"])
        log.reader.copy(copies / "crashed.sqlite3", ME)
    assert [file for file in copies.iterdir() if b"peanutcanary" in file.read_bytes()] == []
    log.reader.copy(copies / "mine.sqlite3", ME)
    assert b"peanutcanary" not in (copies / "mine.sqlite3").read_bytes()
    assert [match.part for match in search(LogReader(copies / "mine.sqlite3"), ME, "walnutcanary")] == ["answer"]
    assert search(LogReader(copies / "mine.sqlite3"), YOU, "peanutcanary") == []


def test_a_new_table_is_somebodys_or_not_handed_out() -> None:
    """One without an owner's rows belongs in the list here."""
    assert {table.name for table in tables()} - OWNED.keys() == {*OF_THE_SERVER, "pulls"}
