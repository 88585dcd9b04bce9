"""Versions of edited prompts, seen from every branch."""

from __future__ import annotations

from kimi_ui.core.branches import Fork, Version, outlines, tree, versions


def test_a_conversation_that_was_never_edited_has_no_versions() -> None:
    assert versions([Fork("a")], "a", [0, 1, 2]) == {}
    assert versions([], "unknown", [0]) == {}


def test_an_edited_prompt_has_its_versions_in_both_branches() -> None:
    forks = [Fork("a"), Fork("b", "a", 1)]
    assert versions(forks, "a", [0, 1, 2]) == {1: Version(0, ("a", "b"))}
    assert versions(forks, "b", [0, 1]) == {1: Version(1, ("a", "b"))}


def test_editing_an_edited_prompt_adds_a_version_of_the_same_prompt() -> None:
    forks = [Fork("a"), Fork("b", "a", 1), Fork("c", "b", 1), Fork("d", "a", 1)]
    for place, conversation in enumerate("abcd"):
        assert versions(forks, conversation, [0, 1]) == {1: Version(place, ("a", "b", "c", "d"))}


def test_a_branch_of_a_branch_lists_the_versions_of_both_edits() -> None:
    forks = [Fork("a"), Fork("b", "a", 1), Fork("c", "b", 3), Fork("d", "c", 0), Fork("other")]
    assert versions(forks, "c", [0, 1, 2, 3]) == {
        0: Version(0, ("a", "d")),
        1: Version(1, ("a", "b")),
        3: Version(1, ("b", "c")),
    }
    assert versions(forks, "a", [0, 1]) == {0: Version(0, ("a", "d")), 1: Version(0, ("a", "b"))}
    assert versions(forks, "d", [0]) == {0: Version(1, ("a", "d"))}


def test_a_conversation_and_its_edits_are_one_tree_from_every_branch() -> None:
    forks = [Fork("a"), Fork("b", "a", 1), Fork("c", "b", 0), Fork("other"), Fork("another", "other", 1)]
    for conversation in "abc":
        assert tree(forks, conversation) == {"a", "b", "c"}
    assert tree(forks, "unknown") == {"unknown"}


def test_circular_forks_in_a_damaged_log_cause_no_endless_loop() -> None:
    forks = [Fork("a", "b", 1), Fork("b", "a", 1)]
    assert set(versions(forks, "a", [0, 1])) <= {0, 1}
    assert tree(forks, "a") == {"a", "b"}


def test_a_deleted_version_is_not_offered_unless_it_is_shown() -> None:
    forks = [Fork("a"), Fork("b", "a", 1, deleted=True), Fork("c", "a", 1)]
    assert versions(forks, "c", [1]) == {1: Version(1, ("a", "c"))}
    assert versions(forks, "b", [1]) == {1: Version(1, ("a", "b", "c"))}
    assert versions([Fork("a", deleted=True), Fork("b", "a", 1)], "b", [1]) == {}


def test_trees_as_outlines() -> None:
    begun = [Fork("a"), Fork("b", "a", 2), Fork("c", "a", 1), Fork("d", "b", 1)]
    forks = [*begun, Fork("e", "lost", 1), Fork("f", "g"), Fork("g", "f")]
    assert outlines(forks) == [
        [("a", 0), ("c", 1), ("b", 1), ("d", 2)],
        [("e", 0)],
        [("f", 0), ("g", 1)],  # no conversation is left out, even of a damaged log
    ]
