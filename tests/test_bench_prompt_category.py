"""The category chip's rules, on prompts labelled by hand and on the suite's own."""

from __future__ import annotations

import pytest

from kimi_ui.bench import suite
from kimi_ui.bench.prompt_category import LONG_TOKENS, OTHER, category_of
from kimi_ui.bench.suite.case import CODING, CREATIVE, LONG_CONTEXT, MATH, MULTI_TURN, REASONING

LABELLED = {
    CODING: (
        "Write a SQL query to find the top 3 users who spent the most money in the last month.",
        "select name from users where age > 3 -- why is this slow?",
        "Write a Python function that merges overlapping intervals, with its complexity and three tests.",
        "```\nfor i in range(10): print(i)\n```\nWhat is wrong here?",
        "Refactor this into smaller methods",
        "Why do I get a null pointer exception when the list is empty?",
        "How do I undo the last git commit without losing changes?",
        "def add(a, b):\n    return a - b",
        "Implement binary search in Rust and explain its invariants",
        "Write a regex that matches ISO dates",
        "Make this endpoint idempotent",
        "Write a Python function that prints a poem",
        "What does 'segfault' mean and how do I debug one?",
        "Create a bash one-liner that counts files by extension",
        "Write a function that returns the n-th Fibonacci number",
        "const total = items.reduce((a, b) => a + b)",
    ),
    MATH: (
        "Find the sum of all positive divisors of 360, and show how it follows from the prime factorisation.",
        "Solve for x: 3x + 7 = 22",
        "What is the derivative of the function f(x) = x^2 sin(x)?",
        "Compute 17 * 23",
        "A train leaves at 60 km/h and another at 80 km/h. How far apart are they after 3 hours?",
        "What is the probability of two sixes in three rolls?",
        "Integrate $x e^{x}$ from 0 to 1",
        "Prove that the square root of 2 is irrational",
        "What is 15 % of 240?",
        "Find the eigenvalues of [[2, 1], [1, 2]]",
        "How many ways can 5 people sit in a row if two of them are fixed, times 3?",
        "Find the smallest positive integer that leaves remainder 3 when divided by 7",
    ),
    REASONING: (
        "Three people check in to a hotel room that costs $30. The clerk should have charged $25, gives $5 to "
        "the bellhop to return, and he keeps $2. Each guest paid $9, which is $27, plus $2 is $29. "
        "Where is the missing dollar?",
        "On an island of knights and knaves, A says that B lies. What is B?",
        "If all bloops are razzies and all razzies are lazzies, are all bloops lazzies?",
        "Anna is taller than Ben and Ben is taller than Carl. Who is the shortest?",
        "Five people are seated at a round table. Eve is next to Dan. Who sits left of Ann?",
        "Here is a riddle: what has keys but opens no door?",
        "You have a 3 litre and a 5 litre jug. Measure 4 litres.",
        "Which of the following must be true if the shop is closed?",
        "A farmer has to cross the river with a wolf, a goat and a cabbage.",
    ),
    CREATIVE: (
        "Write a haiku about the sea",
        "Write a short story in which a lighthouse keeper finds a letter",
        "Compose a limerick about a Python programmer",
        "Give me five slogans for a bakery",
        "Rewrite this in the style of Hemingway: the meeting was long.",
        "Write a paragraph without using the letter e",
        "Write an acrostic for WINTER",
        "Draft a toast for my sister's wedding",
        "Describe autumn in exactly 40 words",
        "Tell me a joke about compilers",
    ),
    OTHER: (
        "Why is the sky blue?",
        "What is the capital of Australia?",
        "Explain how vaccines work",
        "Translate to French: good morning",
        "Plan a week in Lisbon for a family",
        "Compare sleep trackers",
        "",
    ),
}


@pytest.mark.parametrize("category", LABELLED)
def test_labelled_prompts(category: str) -> None:
    wrong = {text: found for text in LABELLED[category] if (found := category_of(text, len(text) // 4)) != category}
    assert not wrong


def test_long_prompts_and_follow_ups() -> None:
    assert category_of("Write a Python function. " * 2000, LONG_TOKENS) == LONG_CONTEXT
    assert category_of("And in winter?", 4, is_follow_up=True) == MULTI_TURN
    assert category_of("And in winter?", 4) == OTHER
    assert category_of("Now write a unit test for it", 8, is_follow_up=True) == CODING
    assert category_of("Why is the sky blue? Explain it in words that a child of five can follow.", 20, True) == OTHER


def test_of_the_suites_prompts_none_is_taken_for_another_category_and_nine_in_ten_are_recognised() -> None:
    found = [
        (case.category, category_of(case.prompt, case.context_tokens or len(case.prompt) // 4))
        for case in suite.cases()
        if case.category != MULTI_TURN
    ]
    assert not [pair for pair in found if pair[1] not in (pair[0], OTHER)]
    assert sum(category == guess for category, guess in found) >= 0.9 * len(found)
