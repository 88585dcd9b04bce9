"""Steps and topics: only real events, only the trace's own words, for any pieces of the text."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_ui.core.events import AGGREGATING, CONNECTED, LOADING_MODEL, Answer, End, Phase, Reasoning, Relabel
from kimi_ui.core.steps import Step, Steps
from kimi_ui.core.topics import HEADING, LEAD, MAX_LABEL_CHARS, NUMBERED, PLAN, TURN, Topic, TopicReader

S = 1_000_000_000
TRACES = sorted((Path(__file__).parent / "support" / "traces").glob("*.txt"))

TRACE = """Okay, the user wants me to write a SQL query. The table has e.g. an id. Hmm, wait.
Actually, the join could be expensive, so I should check the index on user_id before anything else.

## Plan
**Approach:** use a *window* function.
1. Parse the `input`. Then more.
- a bullet says nothing
- **Edge cases**: empty tables
Step 2: compute the sum. Alternatively, use recursion here. So the answer is 42.
```python
# Let me be code, not a topic
```
首先，我们需要考虑边界条件。结果很好。
$5 and more. let me double-check it"""

TOPICS = [
    "Okay, the user wants me to write a SQL query",
    "Actually, the join could be expensive, so I should…",
    "Plan",
    "Approach",
    "Parse the input",
    "Edge cases",
    "Step 2: compute the sum",
    "Alternatively, use recursion here",
    "So the answer is 42",
    "首先，我们需要考虑边界条件",
    "let me double-check it",
]


def topics(*pieces: str) -> list[Topic]:
    reader = TopicReader()
    found = [topic for piece in pieces for topic in reader.feed(piece)]
    return found + reader.close()


def test_topics_are_headings_leads_and_cues() -> None:
    assert [topic.label for topic in topics(TRACE)] == TOPICS


def test_a_topic_has_its_position_in_the_text() -> None:
    for label, at_char, _, _ in topics(TRACE):
        first_word = re.split(r"\W+", label)[0]
        assert first_word in TRACE[at_char : at_char + 20]


@pytest.mark.parametrize(
    "text",
    [
        "The function returns x.\nIt is small.",
        "- one\n- two\n- three",
        "Hmm. Wait. OK.\n",
        "x = 1. y = 2. z = 3.",
        "```\n# Heading\nFirst, do this thing\nStep 1: code here\n```",
        "1. 2. 3.\n4)\n",
        "",
        "****\n## \n__ __\n",
    ],
)
def test_ordinary_text_contains_no_topics(text: str) -> None:
    assert topics(text) == []


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("So the answer is 2**31-1.", "So the answer is 2**31-1"),
        ("Let me compute 2**10 = 1024 and 3**4 = 81.", "Let me compute 2**10 = 1024 and 3**4 = 81"),
        ("I'll run SELECT COUNT(*) FROM users now.", "I'll run SELECT COUNT(*) FROM users now"),
        (r"Let me compute \sum_{i=1}^{n} a_i first.", r"Let me compute \sum_{i=1}^{n} a_i first"),
        ("Let me try x_{n+1} = f(x_n) here.", "Let me try x_{n+1} = f(x_n) here"),
        (r"Consider $R^{*}$ and $S^{*}$ again.", r"Consider $R^{*}$ and $S^{*}$ again"),
        (r"Consider \(a *b* c\) and $a *b* c$ again.", r"Consider \(a *b* c\) and $a *b* c$ again"),
        ("1. Use f(x)*g(x)*(h(x)) for the product", "Use f(x)*g(x)*(h(x)) for the product"),
        ("### -1 is a root", "-1 is a root"),
        ("## About C# and F#", "About C# and F#"),
        ("## Plan ##", "Plan"),
        ("We need *args, **kwargs in f(*args, **kwargs)", "We need *args, **kwargs in f(*args, **kwargs)"),
        ("Let me list *.py and *.txt files.", "Let me list *.py and *.txt files"),
        ("Wait, int *p = &x; char *q is fine.", "Wait, int *p = &x; char *q is fine"),
        ("1. `__init__` sets `a*b` and `c*d`", "__init__ sets a*b and c*d"),
        ("**SELECT *** takes all columns", "SELECT *"),
        ("**`__init__`**: sets up", "__init__"),
        ("1. **Note**: *a* is ***b***, 这是**重点**吧", "Note"),
        ("2) **A**: *this* is ***that***, 这是**重点**吧", "A: this is that, 这是重点吧"),
    ],
)
def test_labels_lose_markup_but_keep_stars_and_underscores_of_code_and_maths(line: str, label: str) -> None:
    assert [topic.label for topic in topics(line)] == [label]


@pytest.mark.parametrize("line", ["__init__ is called first", "3.x is supported", "## ###", "**kwargs and **more"])
def test_code_and_numbers_at_the_start_of_a_line_are_not_topics(line: str) -> None:
    assert topics(line) == []


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("So x = 5. Let me check: 5+5 = 10. Wait, that is wrong.", ["Let me check: 5+5 = 10", "Wait, that is wrong"]),
        ("We get $x=5$. Wait, that is not right.", ["Wait, that is not right"]),
        (r"It is \boxed{5}. Wait, that is not right.", ["Wait, that is not right"]),
        (r"This is \(done\). Let me verify the bound.", ["Let me verify the bound"]),
        ("The value is 3.5. Let me verify that now.", ["Let me verify that now"]),
        ("So what is x? Let me solve for it.", ["So what is x?", "Let me solve for it"]),
        ("Here p divides q. Let me check that.", ["Let me check that"]),
        ("Let me ask J. R. Smith about it, e.g. by mail.", ["Let me ask J. R. Smith about it, e.g. by mail"]),
        ("Step 2. Compute the sum. Case 1. Suppose n = 3.", ["Step 2. Compute the sum", "Case 1. Suppose n = 3"]),
    ],
)
def test_a_sentence_ends_after_maths_too(text: str, labels: list[str]) -> None:
    assert [topic.label for topic in topics(text)] == labels


LINES = st.sampled_from(
    [*TRACE.split("\n"), *(f"{t}. " for t in TRACE.split(". ")), "```", "Let me " + "x" * 300 + ". Now, let me see it."]
)
traces = st.lists(LINES | st.text(st.sampled_from("aB1 .!?\n#*`-)(:。，\"'"), max_size=20), max_size=14).map("\n".join)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@settings(max_examples=300, deadline=None)
@given(traces, st.lists(st.integers(0, 600), max_size=40))
def test_topics_do_not_depend_on_the_pieces(text: str, places: list[int]) -> None:
    assert topics(*cut(text, places)) == topics(text) == topics(*text)


def bare(text: str) -> str:
    """Text without the parts that a label may omit: markup and white space."""
    return re.sub(r"[\s*_`#~>•+\-]", "", text)


@settings(max_examples=300, deadline=None)
@given(traces | st.text(max_size=80))
def test_a_label_is_made_of_the_traces_own_words(text: str) -> None:
    found = topics(text)
    assert [topic.at_char for topic in found] == sorted(topic.at_char for topic in found)
    for label, at_char, _, _ in found:
        assert 0 < len(label) <= MAX_LABEL_CHARS + 1
        assert bare(label.rstrip("…")) in bare(text[at_char:])


@pytest.mark.parametrize(
    "text",
    [
        "It is so. Hmm, that is ¥2,000 over.",
        "It is so. Maybe it is 5. Perhaps it is not.",
        "It is so, and it was always so, as we all know. The user says this in the third line.",
        "Let me think about how to set this up.",
        "It is so. I'll add one line about it. I should mention that too.",
        "It is so. Let me call this number n.",
        "Total: 5. Sum: 7.",
        "Looking at the client:\n",
    ],
)
def test_words_that_only_think_aloud_are_not_topics(text: str) -> None:
    assert topics(text) == []


def test_topics_are_ranked_and_nested() -> None:
    text = (
        "The user asks for a plan.\n\nFirst, I count them.\n\n# One\n**Bold**: words. Wait, is that so? It is.\n"
        "3. Add them all up\n\nPerformance: an index on the table.\n\n## Two\nNow let me count.\n"
    )
    assert [(topic.label, topic.rank, topic.level) for topic in topics(text)] == [
        ("The user asks for a plan", PLAN, 0),
        ("First, I count them", PLAN, 0),
        ("One", HEADING, 0),
        ("Bold", LEAD, 1),
        ("Wait, is that so?", TURN, 2),
        ("Add them all up", NUMBERED, 2),
        ("Performance: an index on the table", PLAN, 2),
        ("Two", HEADING, 0),
        ("Now let me count", PLAN, 1),
    ]


def test_a_long_label_keeps_formulas_whole() -> None:
    line = r"Let me now compute the sum of all of these, $\sum_{i=1}^{n} i^2 = \frac{n(n+1)(2n+1)}{6}$, by hand."
    assert topics(line)[0].label == "Let me now compute the sum of all of these…"


def test_labels_carry_no_markup_controls_or_direction_overrides() -> None:
    label = topics("Let me **check** `x` \u202eevil\u202c <b>and</b> \x1b[31mred\x1b[0m now.\n")[0].label
    assert label == "Let me check x evil <b>and</b> [31mred[0m now"


# The fold


def fold(*events: tuple[float, object], **options: int) -> Steps:
    steps = Steps(**options)
    for at_s, event in events:
        steps.apply(int(at_s * S), event)  # type: ignore[arg-type]
    return steps


def shape(steps: Steps) -> list[tuple[str, str, float]]:
    return [(step.kind, step.label, step.at_ns / S) for step in steps.steps]


def test_system_steps_come_from_phases_and_from_the_stream() -> None:
    steps = fold(
        (0.1, Phase(CONNECTED)),
        (0.2, Phase(LOADING_MODEL)),
        (3.0, Reasoning("quiet words")),
        (5.0, Answer("The ")),
        (5.1, Answer("end")),
        (6.0, End("ok")),
    )
    assert shape(steps) == [
        ("system", "Connected", 0.1),
        ("system", "Loading model", 0.2),
        ("system", "Thinking", 3.0),
        ("system", "Writing the answer", 5.0),
        ("system", "Finished", 6.0),
    ]
    assert [step.until_ns for step in steps.steps] == [0.2 * S, 3 * S, 5 * S, 6 * S, None]


def test_a_phase_with_progress_is_one_step() -> None:
    steps = fold((1, Phase(AGGREGATING, done=3, total=8)), (2, Phase(AGGREGATING, done=5, total=8)))
    (step,) = steps.steps
    assert (step.label, step.done, step.total, step.at_ns) == ("Hybridizing", 5, 8, 1 * S)


def test_unknown_phases_and_empty_text_make_no_steps() -> None:
    assert fold((1, Phase("first_chunk")), (2, Reasoning("")), (3, Answer(""))).steps == []


def test_a_topic_lasts_from_its_sentence_to_the_next_topic() -> None:
    steps = fold(
        (1, Reasoning("Let me read ")),
        (2, Reasoning("the question.\n")),
        (9, Reasoning("Alternatively, count ")),
        (10, Reasoning("by hand.\n")),
        (12, Answer("42")),
    )
    found = [step for step in steps.steps if step.kind == "topic"]
    assert [(step.label, step.at_ns / S, (step.until_ns or 0) / S, step.at_char) for step in found] == [
        ("Let me read the question", 1, 9, 0),
        ("Alternatively, count by hand", 9, 12, 26),
    ]


def test_topics_are_spaced_and_not_repeated() -> None:
    steps = fold(
        (0, Reasoning("Let me check the units.\n")),
        (1, Reasoning("Now let me check the signs.\n")),
        (5, Reasoning("LET ME CHECK THE UNITS.\n")),
        (9, Reasoning("Next, I add them all up.\n")),
        (9.5, End("ok")),
    )
    assert [step.label for step in steps.steps if step.kind == "topic"] == [
        "Let me check the units",
        "Next, I add them all up",
    ]


def test_a_more_informative_topic_replaces_the_one_just_before() -> None:
    said = [
        "Now let me count.\n",
        "Wait, that is wrong.\n",
        "## Plan\n",
        "**Step one**\n",
        "Wait, is it?\n",
        "So I think it is.\n",
    ]
    steps = fold(
        *((0.3 * i, Reasoning(text)) for i, text in enumerate(said)), (9, Reasoning("Alternatively, count again.\n"))
    )
    assert [step.label for step in steps.steps if step.kind == "topic"] == [
        "Plan",
        "Step one",
        "Alternatively, count again",
    ]


def test_the_outline_of_a_very_long_trace_loses_plans_first() -> None:
    said = (f"# Part {i}\n" if i % 10 == 0 else f"Let me look at item {i}.\n" for i in range(300))
    steps = fold(*((3.0 * i, Reasoning(text)) for i, text in enumerate(said)), max_topics=40)
    kept = [step.label for step in steps.steps if step.kind == "topic"]
    assert len(kept) <= 40
    assert {f"Part {i}" for i in range(0, 300, 10)} <= set(kept)


def long_trace(n: int) -> list[tuple[float, object]]:
    return [(3.0 * i, Reasoning(f"Let me look at part {i} of it.\nSome words follow. ")) for i in range(n)]


def test_a_long_trace_keeps_an_even_selection() -> None:
    steps = fold(*long_trace(3_000), max_topics=40)
    kept = [step for step in steps.steps if step.kind == "topic"]
    assert 15 <= len(kept) <= 41
    gaps = [b.at_ns - a.at_ns for a, b in pairwise(kept)]
    assert max(gaps) <= 2.2 * min(gaps)
    assert kept[0].at_ns == 0
    assert all(a.until_ns == b.at_ns for a, b in pairwise(kept))


def test_increments_add_up_to_the_steps() -> None:
    steps, seen = Steps(max_topics=10), {}
    for at_s, event in [*long_trace(200), (700.0, Answer("x")), (701.0, End("ok"))]:
        steps.apply(int(at_s * S), event)  # type: ignore[arg-type]
        for step in steps.take():
            seen[step.index] = Step(**{name: getattr(step, name) for name in Step.__dataclass_fields__})
    assert [seen[index] for index in sorted(seen) if seen[index].kept] == steps.steps
    assert steps.take() == []


def test_a_relabelled_answer_has_topics_and_no_drafting_step() -> None:
    steps = fold(
        (1, Answer("Let me read the question.\n")),
        (5, Answer("Then I count")),
        (6, Relabel()),
        (7, Reasoning(" them all.\n")),
        (9, Answer("42")),
        (10, End("ok")),
    )
    assert shape(steps) == [
        ("system", "Thinking", 1),
        ("topic", "Let me read the question", 1),
        ("topic", "Then I count them all", 5),
        ("system", "Writing the answer", 9),
        ("system", "Finished", 10),
    ]


@settings(max_examples=100, deadline=None)
@given(traces, st.lists(st.integers(0, 600), max_size=40))
def test_the_fold_does_not_depend_on_the_pieces(text: str, places: list[int]) -> None:
    """All pieces have the same time, so only the splitting could make a difference."""
    whole = fold((1, Reasoning(text)), (2, End("ok")), dwell_ns=0)
    pieces = fold(*((1, Reasoning(piece)) for piece in cut(text, places)), (2, End("ok")), dwell_ns=0)
    assert whole.steps == pieces.steps


@pytest.mark.slow
def test_a_very_long_trace_takes_linear_time() -> None:
    """Two million characters in pieces of three: quadratic work would exceed the suite's time limit."""
    steps = Steps()
    text = "Let me count them all. " * 40 + "w" * 100_000 + "\n" + "no end of this line " * 90_000
    for at in range(0, len(text), 3):
        steps.apply(at * 1_000, Reasoning(text[at : at + 3]))
    assert [step.label for step in steps.steps if step.kind == "topic"] == ["Let me count them all"]


# The outline of realistic traces


def marked(path: Path) -> tuple[str, set[int]]:
    """A trace, and the characters where an outline of it should have an entry (marked with § in the file)."""
    *parts, last = path.read_text("utf-8").split("§")
    return "".join([*parts, last]), set(accumulate(map(len, parts)))


def outline(text: str, chars_per_s: float) -> list[Step]:
    """The topics that are kept if the trace is written at this pace, four characters a token."""
    pieces = ((at / chars_per_s, Reasoning(text[at : at + 4])) for at in range(0, len(text), 4))
    return [step for step in fold(*pieces, (len(text), End("ok"))).steps if step.kind == "topic"]


@pytest.mark.parametrize("tokens_per_s", [30, 60, 100])
def test_most_topics_of_realistic_traces_are_useful(tokens_per_s: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Traces of maths, code, plans, SQL, proofs and debugging, in the manner of several model families.

    Precision: the share of topics that are at a mark. Recall: the share of marks that have a topic.
    """
    n_topics = n_useful = n_marks = 0
    for path in TRACES:
        text, marks = marked(path)
        topics = outline(text, 4 * tokens_per_s)
        n_topics += len(topics)
        n_useful += sum(step.at_char in marks for step in topics)
        n_marks += len(marks)
    precision, recall = n_useful / n_topics, n_useful / n_marks
    with capsys.disabled():
        print(f"\noutline at {tokens_per_s} tok/s: precision {precision:.2f} ({n_topics} topics), recall {recall:.2f}")
    assert len(TRACES) >= 12
    assert precision >= 0.8
    assert recall >= 0.4
