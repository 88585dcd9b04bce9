"""Which of the suite's categories a prompt resembles: fixed rules, first match wins.

The result is a proposal that the page shows and a person may change in one click; nothing else depends on it. In the
largest comparison predictors that choose a model from the prompt were no better than the best single model
(LLMRouterBench, arXiv 2601.07206), so there is none here.
"""

from __future__ import annotations

import re

from .suite.case import CODING, CREATIVE, LONG_CONTEXT, MATH, MULTI_TURN, REASONING

OTHER = "other"  # no category of the suite: nothing was measured for such a prompt
LONG_TOKENS = 4_000  # the suite's shortest long-context case
READ_CHARS = 8_000  # of a longer prompt the beginning and the end are read, which hold the question
FOLLOW_UP_WORDS = 12


def _rule(words: str = "", marks: str = "") -> re.Pattern[str]:
    """A pattern that finds any of the ``words``, which begin and end at a word's limit, or of the ``marks``, each on
    lines of their own. Their repetitions are bounded, since a prompt may be anything."""
    whole = "|".join(line.strip() for line in words.splitlines() if line.strip())
    parts = [line.strip() for line in marks.splitlines() if line.strip()]
    return re.compile("|".join(([rf"\b(?:{whole})\b"] if whole else []) + parts), re.IGNORECASE | re.MULTILINE)


_CREATIVE = _rule(
    r"""
    (?:write|compose|create|draft|make up|invent|tell|give)(?: me| us)?(?: [\w'-]+){0,4} FORM
    acrostic|lipogram|iambic|rhym(?:e|es|ing)|free verse|metaphors?|in the (?:style|voice) of
    without (?:using )?the letter|rewrite|rephrase|paraphrase|reword
    every (?:sentence|line|word) (?:starts|begins|ends)
    (?:exactly|at most|at least|\d+ to) \w+ (?:words|sentences|lines)
    """.replace(
        "FORM",
        "(?:poems?|haikus?|limericks?|sonnets?|ballads?|lyrics|songs?|rap|stor(?:y|ies)|tales?|fables?|novel|scene|speech"
        "|dialogue|monologues?|screenplay|essay|slogans?|taglines?|blog ?posts?|tweets?|toast|eulogy|advert(?:isement)?"
        "|letter|product description|jokes?|riddle)",
    )
)
_CERTAIN_CODE = _rule(
    r"""
    SQL|(?:left|inner|outer|cross) join|group by|create table
    python|javascript|typescript|java|rust|golang|kotlin|haskell|bash|shell script|powershell|html|css|regexp?|sqlite
    postgres(?:ql)?|pandas|numpy|react|django|fastapi|docker(?:file)?|kubernetes
    (?:in|a|an) (?:go|swift|ruby|perl|R|C) (?:function|program|script|class)
    """,
    r"""
    ```
    \bselect\b[^.?!]{1,200}\bfrom\s\w
    \bC(?:\+\+|\#)
    ^[ \t]{0,20}(?:def \w+\(|class \w+[:({]|import \w+$|from \w+ import |\#include\b|fn \w+\(|function \w+\()
    ^[ \t]{0,20}(?:const|let|var) \w+ ?=
    """,
)
_LIKELY_CODE = _rule(
    """
    functions?|methods?|class(?:es)?|program|script|algorithm|endpoint|unit tests?|stack ?trace|traceback
    compil(?:e|er)s?|refactor|debug|bug|exception|null pointer|segfault|race condition|recursion|data structure
    linked list|binary tree|hash ?map|API|code|git|merge conflict|query|database|schema|json|yaml|time complexity
    """
)
_CERTAIN_MATH = _rule(
    r"""
    derivative|integrals?|integrate|differentiate|equations?|polynomial|quadratic|divisors?|primes?|factori[sz]\w*|modulo
    congruen\w*|remainders?|(?:smallest|largest|positive|non-negative) integers?|matri(?:x|ces)|eigenvalues?
    determinants?|logarithm|hypotenuse|perimeter|circumference|probability|permutations?|combinations?|binomial
    arithmetic mean|standard deviation|square root|greatest common|least common|simplify|theorem|sine|cosine
    sum of (?:all|the)|solve (?:for|the)
    """,
    r"""
    \\(?:frac|int|sum|sqrt|lim|binom)\b
    \$[^$\n]{0,80}[\\^_=+][^$\n]{0,80}\$
    \b[fgh]\(x\)
    [a-z] ?[\^²]
    \d ?[*×÷^+/=] ?\d
    """,
)
_LIKELY_MATH = _rule(
    """
    how (?:many|much|far|long|fast|old)|calculate|compute|evaluate|percent(?:age)?|average|total|ratio
    per (?:hour|day|year|cent)
    """,
    r"\d ?%",
)
_REASONING = _rule(
    r"""
    puzzle|riddle|logic(?:al|ally)?|deduce|infer|knights?|knaves?|liars?|truth-?tellers?|tells? the truth|paradox
    must be true|where is the missing|who (?:is|was|sits|lives|owns|lied|did)
    which (?:one|of them|of the following|day of the week)|in what order|(?:immediately|some time) (?:before|after)
    seated|next to|to the (?:left|right) of|taller|older than|all \w+ are|no \w+ are|some \w+ are|if and only if
    contradict\w*|follows? from|minimum number of (?:moves|steps|weighings)|jugs?|cross(?:es)? the (?:river|bridge)
    """
)
_NUMBER = re.compile(r"\d")


def category_of(prompt: str, tokens: int, is_follow_up: bool = False) -> str:
    """A category of the suite, or ``OTHER``. ``tokens``: of the prompt with all that is sent before it.

    ``is_follow_up``: the conversation has an earlier prompt; then a short text without any mark is a message of it.
    """
    if tokens >= LONG_TOKENS:
        return LONG_CONTEXT
    text = prompt if len(prompt) <= READ_CHARS else f"{prompt[: READ_CHARS // 2]}\n{prompt[-READ_CHARS // 2 :]}"
    for rule, category in (
        (_CREATIVE, CREATIVE),
        (_CERTAIN_CODE, CODING),
        (_CERTAIN_MATH, MATH),
        (_LIKELY_CODE, CODING),
        (_REASONING, REASONING),
    ):
        if rule.search(text):
            return category
    if _LIKELY_MATH.search(text) and _NUMBER.search(text):
        return MATH
    return MULTI_TURN if is_follow_up and len(text.split()) <= FOLLOW_UP_WORDS else OTHER
