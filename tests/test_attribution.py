"""Attribution: labelled hybrids, and the pitfalls of comparing texts of one model."""

from __future__ import annotations

from collections import Counter

import pytest

from kimi_ui.core.heavy.attribution import Attributed, attribute, parts
from tests.support.attributed import HELD_OUT, TUNED, Labelled, Subject

KINDS = ("match", "pair", "common", "reworded", "new", "none")


class Score:
    """Counts over labelled parts: exact (kind and members), per kind, and over pairs of part and member."""

    def __init__(self, subjects: tuple[Subject, ...]) -> None:
        self.n = self.exact = 0
        self.right: Counter[str] = Counter()
        self.wanted: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.members = Counter({"right": 0, "wanted": 0, "given": 0})
        for subject in subjects:
            for label in subject.hybrid:
                for got in attribute(label.text, subject.answers):
                    self._add(label, got)

    def _add(self, label: Labelled, got: Attributed) -> None:
        self.n += 1
        self.exact += got.kind == label.kind and set(got.members) == label.members
        self.wanted[label.kind] += 1
        self.given[got.kind] += 1
        self.right[got.kind] += got.kind == label.kind
        self.members["right"] += len(label.members & set(got.members))
        self.members["wanted"] += len(label.members)
        self.members["given"] += len(got.members)

    def __str__(self) -> str:
        by_kind = ", ".join(
            f"{kind} {self.right[kind] / (self.given[kind] or 1):.2f}/{self.right[kind] / (self.wanted[kind] or 1):.2f}"
            for kind in KINDS
        )
        return (
            f"{self.n} parts: kind and members right {self.exact / self.n:.3f}; members precision "
            f"{self.precision:.3f}, recall {self.recall:.3f}; precision/recall by kind: {by_kind}"
        )

    @property
    def precision(self) -> float:
        return self.members["right"] / self.members["given"]

    @property
    def recall(self) -> float:
        return self.members["right"] / self.members["wanted"]


def test_labelled_parts_are_attributed_to_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    tuned, held_out = Score(TUNED), Score(HELD_OUT)
    with capsys.disabled():
        print(f"\ntuned on: {tuned}\nheld out: {held_out}")
    assert tuned.n + held_out.n >= 200
    assert held_out.exact / held_out.n >= 0.92
    assert held_out.precision >= 0.98
    assert held_out.recall >= 0.96


ONE = "The lighthouse was finished in 1874 and stands on a rock two miles off the western shore."
OTHER = "Its keepers left when the lamp was made automatic, and gulls have had the place to themselves since then."


def only(hybrid: str, answers: dict[int, str]) -> Attributed:
    [found] = attribute(hybrid, answers)
    return found


def test_a_part_that_all_answers_have_is_not_attributed_to_the_first() -> None:
    assert only(ONE, dict.fromkeys(range(1, 9), ONE)).members == tuple(range(1, 9))
    assert only(ONE, {1: OTHER, 2: ONE, 3: ONE})[1:3] == ("common", (2, 3))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("1874", "1847"), ("two miles", "three miles"), ("was finished", "was not finished"), ("stands", "never stands")],
)
def test_another_number_or_a_negation_outweighs_every_other_word(was: str, becomes: str) -> None:
    found = only(ONE.replace(was, becomes), {1: OTHER, 2: ONE})
    assert (found.kind, found.members, found.altered) == ("new", (), (2,))
    back = only(ONE, {1: OTHER, 2: ONE.replace(was, becomes)})
    assert (back.kind, back.members) == ("new", ())


def test_a_number_from_another_sentence_does_not_excuse_a_changed_one() -> None:
    answers = {1: "It is 160 km from A. The answer is 180 km.", 2: "It is 180 km from B. The answer is 160 km."}
    assert only("The answer is 160 km.", answers).members == (2,)


def test_two_answers_that_each_contribute_are_both_named() -> None:
    found = only(f"{ONE[:-1]}, and {OTHER[0].lower()}{OTHER[1:]}", {1: ONE, 2: "A third says nothing of it.", 3: OTHER})
    assert (found.kind, found.members) == ("pair", (1, 3))


def test_a_rewording_names_the_answer_it_resembles() -> None:
    found = only(
        "On a rock two miles off the western shore stands the lighthouse, finished in 1874.", {1: OTHER, 2: ONE}
    )
    assert found.members == (2,)


def test_the_parts_of_an_answer_are_its_sentences_items_rows_code_and_formulas() -> None:
    text = (
        "# Title\n\nOne sentence. And e.g. another one.\n\n- an item\n- a second\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```py\nx = 1\n\ny = 2\n```\n\n$$a =\nb$$\n\nThe end."
    )
    assert [tuple(part)[::-1] for part in parts(text)] == [
        ("heading", "# Title"),
        ("sentence", "One sentence."),
        ("sentence", "And e.g. another one."),
        ("item", "- an item"),
        ("item", "- a second"),
        ("row", "| a | b |"),
        ("row", "| 1 | 2 |"),
        ("code", "x = 1"),
        ("code", "y = 2"),
        ("formula", "$$a =\nb$$"),
        ("sentence", "The end."),
    ]


def test_code_matches_by_its_tokens_whatever_its_spacing() -> None:
    answers = {1: "```\nfor i in range(3):\n    print(i)\n```", 2: "```\nwhile n > 3:\n    n -= 1\n```"}
    found = only("```python\nfor i in range( 3 ):\n        print( i )\n```", answers)
    assert (found.kind, found.members) == ("match", (1,))


def test_an_answer_in_another_language_is_not_attributed() -> None:
    french = (
        "Le phare fut achevé en 1874 et se dresse sur un rocher au large de la côte occidentale. Ses gardiens sont "
        "partis quand la lampe devint automatique, et depuis les mouettes ont cet endroit à elles seules."
    )
    assert {found.kind for found in attribute(french, {1: f"{ONE} {OTHER}"})} == {"none"}


def test_text_without_spaces_is_compared_by_its_characters() -> None:
    answers = {1: "灯台は千八百七十四年に完成した。", 2: "海鳥だけがそこに住んでいる。"}
    assert only("灯台は千八百七十四年に完成した。", answers).members == (1,)


def test_without_answers_every_part_is_kept_unattributed() -> None:
    assert [found.kind for found in attribute(f"{ONE} Yes.", {})] == ["new", "none"]
    assert attribute("", {1: ONE}) == []


@pytest.mark.parametrize("text", ["a " * 9000, "\\begin{a}" * 2000, "\\[" * 9000, "|a|b|c\n" * 2000, "x" * 20_000])
def test_text_that_repeats_itself_is_attributed_too(text: str) -> None:
    assert all(found.kind in KINDS for found in attribute(text, {i: text + str(i) for i in range(1, 9)}))
