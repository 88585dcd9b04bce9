"""Which trajectories each part of a hybrid answer matches, found without a model.

    for part in attribute(hybrid, {1: answer_of_1, 2: answer_of_2, …}):
        part.kind, part.members        # "match" (3,) · "pair" (2, 5) · "common" (1, 2, 4) · "reworded" (4,) · …

"Matches", not "comes from": the trajectories are samples of one model and may agree by chance. A part is a sentence, a
list item, a table row, a block of code lines or a display formula. It is compared by its word 3-grams, weighted so that
a phrase of all answers counts almost nothing (``_weight``), and where these do not match by an alignment of its letters
(rapidfuzz). A number or a negation that differs outweighs any overlap: "is not 42" matches neither "is 42" nor "is not
41". Answers that match equally well are all named, so none is preferred for its position.

Pass the answers as the aggregator received them (failed ones left out, long ones clipped). The limits below were tuned
on the labelled sentences of tests/support/attributed; precision and recall stand in README.md. Pure.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise
from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel, Opcode

from ..compare.units import FENCE, blocks, units
from ..compare.words import SPACELESS

MATCH = 0.6  # weighted containment from which one answer matches
LEAD = 0.15  # by which it has to exceed the next one
PAIR = 0.7  # weighted containment of two answers together …
PAIR_ADDS = 0.2  # … to which each adds at least this
COMMON = 0.5  # containment, unweighted, from which an answer has a part in common with others
REWORDED = 80.0  # rapidfuzz's partial ratio, 0 to 100
REWORDED_WORDS = 0.62  # or this share of the rare words in one passage
REWORDED_MIN_WORDS = 8  # a shorter part resembles something in every text
MIN_WORDS = 5  # a shorter sentence says too little to be attributed
MIN_CELLS = 3  # words of a table row
MIN_SYMBOLS = 4  # tokens of code or of a formula
SHORT = 6  # with fewer tokens 2-grams are compared
BRIEF = 8  # with fewer tokens, BRIEF_SHARE of the grams must match
BRIEF_SHARE = 0.7
SECOND = 4  # grams of a second passage of the same answer
TIE = 0.05  # answers this close to the best are as good
FOREIGN = 0.2  # with less of its words in the answers, a hybrid is in another language than they
FOREIGN_MIN_WORDS = 20
MANY = 50  # places of one gram or word in an answer that are looked at
MAX_CHARS = 100_000  # of a hybrid; the rest is not attributed

NEGATIONS = frozenset(
    ["not", "no", "never", "none", "nor", "neither", "without", "cannot", "nicht", "kein", "nie", "pas"]
)
_NUMBERS = (
    "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty "
    "ninety hundred thousand million billion half third quarter twice double zero"
)
# Words that say little: they do not decide whether a part is a rewording.
_FILLERS = (
    "a about above after all also an and any are as at be because been before but by can could did do "
    "does each for from had has have he her here his how i if in into is it its just let like made make "
    "may might more most much must no nor not of on one only or other our out over own same she should "
    "since so some such than that the their them then there these they this those through thus to too "
    "under until up us very was we were what when where which while who why will with would you your"
)

NUMBERS = frozenset(_NUMBERS.split())
FILLERS = frozenset(_FILLERS.split())

_LETTER = rf"[^\W\d_{SPACELESS}]"
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|{_LETTER}+(?:['’]{_LETTER}+)?|[{SPACELESS}]")
_SYMBOL = re.compile(r"\\?[^\W\d_]\w*|\d+(?:\.\d+)?|[^\w\s]")
_FORMULA = re.compile(r"\$\$.{1,1000}?\$\$|\\\[.{1,1000}?\\\]|\\begin\{(\w+\*?)\}.{1,1000}?\\end\{\1\}", re.DOTALL)
_HEADING = re.compile(r"\s*#{1,6}\s|\s*\*\*[^*\n]+\*\*:?\s*$|\s*[^\n.!?]{0,80}:\s*$")
_RULE = re.compile(r"[\s|:*_=-]+")
_BEGINS_BLOCK = re.compile(r"\s*(?:[-*+•]\s|\d{1,9}[.)]\s|#{1,6}\s|>|\|)")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,9}[.)])\s+")

Gram = tuple[str, ...]


class Attributed(NamedTuple):
    """One part of the hybrid. ``members``: the numbers of the trajectories it matches, ascending, as ``answers`` has
    them.

    ``kind``: match (one member) | pair (two that each add something; more if several are as good) | common (two or more
    have it) | reworded (similar words) | new (in no answer) | none (not attributable: too short, a heading, or in
    another language).
    ``altered``: of a ``new`` part, the trajectories that match but for a number or a negation.
    """

    text: str
    kind: str
    members: tuple[int, ...] = ()
    altered: tuple[int, ...] = ()


class Part(NamedTuple):
    """``kind``: sentence | item | row | code | formula | heading."""

    text: str
    kind: str


def attribute(hybrid: str, answers: Mapping[int, str]) -> list[Attributed]:
    """The parts of ``hybrid`` in order, each with what it matches in ``answers`` (text by trajectory number)."""
    return Attributor(answers).parts(hybrid)


class Attributor:
    """``attribute`` for a hybrid that grows: a part that was attributed before costs nothing."""

    def __init__(self, answers: Mapping[int, str]) -> None:
        self._pool = _Pool(answers)
        self._known: dict[Part, Attributed] = {}

    def parts(self, text: str) -> list[Attributed]:
        """The parts of a hybrid, or of one of its ``finished_blocks``, in order."""
        text = text[:MAX_CHARS]
        if self._pool.is_foreign(text):
            return [Attributed(part.text, "none") for part in parts(text)]
        known = self._known
        return [known.get(part) or known.setdefault(part, self._pool.attribute(part)) for part in parts(text)]


def finished_blocks(text: str) -> list[str]:
    """The blocks at the start of a growing text that are finished: a blank line or a line that begins a block follows.
    A block of code is one; joined, they are the start of the text."""
    cuts, at, fence = [0], 0, ""
    for line in text.splitlines(keepends=True):
        match = FENCE.match(line.rstrip("\r\n"))
        if not fence:
            if match or not line.strip() or _BEGINS_BLOCK.match(line):
                cuts.append(at)
            fence = match["fence"] if match else ""
        elif match and match["fence"].startswith(fence) and not match["info"].strip():
            fence = ""
            cuts.append(at + len(line))
        at += len(line)
    return [text[begin:end] for begin, end in pairwise(cuts) if begin < end]


def parts(text: str) -> list[Part]:
    """The parts of a Markdown text that can be attributed, without fences, rules and white space around them."""
    found: list[Part] = []
    for block, is_code in blocks(text):
        found += _code_parts(block) if is_code else _prose_parts(block)
    return found


def _code_parts(block: str) -> Iterator[Part]:
    lines = block.strip("\n").split("\n")
    closed = len(lines) > 1 and not lines[-1].strip().strip("`~")
    for piece in re.split(r"\n\s*\n", "\n".join(lines[1 : -1 if closed else None])):
        if piece.strip():
            yield Part(piece.strip("\n"), "code")


def _prose_parts(block: str) -> Iterator[Part]:
    at = 0
    for formula in _FORMULA.finditer(block):
        yield from _sentences(block[at : formula.start()])
        yield Part(formula[0], "formula")
        at = formula.end()
    yield from _sentences(block[at:])


def _sentences(prose: str) -> Iterator[Part]:
    for unit in units(prose):
        text = unit.text.strip()
        if not any(map(str.isalnum, text)) or _RULE.fullmatch(text):
            continue
        if text.startswith("|"):
            yield Part(text, "row")
        elif _HEADING.match(text):
            yield Part(text, "heading")
        else:
            yield Part(text, "item" if _LIST_MARK.match(text) else "sentence")


# -- tokens


def without_mark(text: str) -> str:
    """An item without the mark of its list."""
    return _LIST_MARK.sub("", text)


def words(text: str) -> list[str]:
    """The words and numbers of prose, case folded; 1,234 is 1234."""
    plain = unicodedata.normalize("NFKC", without_mark(text)).casefold().replace("’", "'")
    return [token.replace(",", "") if token[0].isdigit() else token for token in _WORD.findall(plain)]


def symbols(text: str) -> list[str]:
    """The tokens of code or of a formula."""
    return _SYMBOL.findall(text)


def _is_number(token: str) -> bool:
    return token[0].isdigit() or token in NUMBERS


def _negates(token: str) -> bool:
    return token in NEGATIONS or token.endswith("n't")


def _negations(tokens: Iterable[str]) -> int:
    return sum(map(_negates, tokens))


def _stem(word: str) -> str:
    """Enough of a word to recognise its other forms: finish, finished, finishing."""
    return word if word[0].isdigit() else word[:5]


def _size(tokens: Sequence[str]) -> int:
    return 2 if len(tokens) < SHORT else 3


def _grams(tokens: Sequence[str], size: int) -> Iterator[Gram]:
    return zip(*(tokens[i:] for i in range(size)), strict=False)


# -- the answers


class _Source:
    """One answer, read as words or as symbols: where its grams are."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.places: dict[Gram, list[int]] = {}
        for size in (2, 3):
            for i, gram in enumerate(_grams(tokens, size)):
                self.places.setdefault(gram, []).append(i)
        self.stems: dict[str, list[int]] = {}
        for i, token in enumerate(tokens):
            self.stems.setdefault(_stem(token), []).append(i)


@dataclass
class _Fit:
    """How well a source fits a part: the part's tokens that it has, and whether it says otherwise (see ``_contrast``):
    anywhere, or between the tokens that it has."""

    number: int
    weighted: float
    plain: float
    has: set[int]
    contradicts: bool
    contradicts_within: bool


class _Pool:
    def __init__(self, answers: Mapping[int, str]) -> None:
        self._texts = dict(answers)
        self._prose = {number: _Source(words(text)) for number, text in answers.items()}
        self._symbols: dict[int, _Source] | None = None
        self._folded = {number: " ".join(source.tokens) for number, source in self._prose.items()}

    def is_foreign(self, hybrid: str) -> bool:
        """True if hardly a word of the hybrid is in the answers: it is in another language, where none can match."""
        own = set(words(hybrid))
        if len(own) < FOREIGN_MIN_WORDS or not self._prose:
            return False
        known = set().union(*(source.tokens for source in self._prose.values()))
        return len(own & known) < FOREIGN * len(own)

    def attribute(self, part: Part) -> Attributed:
        by_symbol = part.kind in ("code", "formula")
        tokens = symbols(part.text) if by_symbol else words(part.text)
        least = MIN_SYMBOLS if by_symbol else MIN_CELLS if part.kind == "row" else MIN_WORDS
        if part.kind == "heading" or len(tokens) < least:
            return Attributed(part.text, "none")
        sources = self._by_symbol() if by_symbol else self._prose
        fits = self._fits(tokens, sources, check=not by_symbol)
        altered = tuple(fit.number for fit in fits if fit.contradicts and fit.plain >= COMMON)
        kind, members = _decided(tokens, fits)
        if kind == "new" and not by_symbol:
            kind, members = self._reworded(tokens, {fit.number for fit in fits if fit.contradicts})
        return Attributed(part.text, kind, tuple(sorted(members)), altered if kind == "new" else ())

    def _by_symbol(self) -> dict[int, _Source]:
        if self._symbols is None:
            self._symbols = {number: _Source(symbols(text)) for number, text in self._texts.items()}
        return self._symbols

    def _fits(self, tokens: list[str], sources: Mapping[int, _Source], check: bool) -> list[_Fit]:
        size = _size(tokens)
        grams = list(_grams(tokens, size))
        weights = [_weight(len(sources), sum(gram in source.places for source in sources.values())) for gram in grams]
        whole = sum(weights)
        fits = []
        for number, source in sources.items():
            hit, passage = _hits(source, grams)
            weighted, plain = sum(weights[i] for i in hit) / whole, len(hit) / len(grams)
            if plain < 0.2:
                continue
            has = {i + k for i in hit for k in range(size)}
            contrast = _contrast(tokens, source.tokens[slice(*passage)], has) if check else (False, False)
            fits.append(_Fit(number, weighted, plain, has, *contrast))
        return fits

    def _reworded(self, tokens: list[str], barred: set[int]) -> tuple[str, list[int]]:
        """The answers with a passage of similar words, best first and its equals."""
        if len(tokens) < REWORDED_MIN_WORDS:
            return "new", []
        needle = " ".join(tokens)
        telling = {_stem(token) for token in tokens if token not in FILLERS}
        figures = {token for token in tokens if _is_number(token)}
        negations = _negations(tokens)
        n = len(self._prose)
        weight = {stem: _weight(n, sum(stem in s.stems for s in self._prose.values())) for stem in telling}
        scores: dict[int, float] = {}
        for number, source in self._prose.items():
            if number in barred or not figures <= set(source.tokens):
                continue
            likeness = fuzz.partial_ratio(needle, self._folded[number], score_cutoff=REWORDED)
            begin, end = _densest(source, telling, weight, len(tokens))
            passage = source.tokens[begin:end]
            if _negations(passage) != negations or not figures <= set(passage):
                continue
            has = {_stem(token) for token in passage}
            share = sum(weight[stem] for stem in telling & has) / (sum(weight.values()) or 1.0)
            if likeness or (share >= REWORDED_WORDS and len(telling) >= 3):
                scores[number] = max(likeness / 100, share)
        if not scores:
            return "new", []
        best = max(scores.values())
        return "reworded", [number for number, score in scores.items() if score >= best - TIE]


def _weight(n: int, df: int) -> float:
    """Inverse document frequency: of a gram that ``df`` of ``n`` answers have."""
    return math.log((n + 1) / (df + 0.5))


def _hits(source: _Source, grams: Sequence[Gram]) -> tuple[list[int], tuple[int, int]]:
    """The places in ``grams`` of those that the source has in one passage or in two, and where its first passage is.

    Grams that are scattered over an answer are no passage. A second one, of ``SECOND`` grams or more, is: the part may
    join two sentences of the answer.
    """
    reach = len(grams) + len(grams) // 2 + 4
    at = sorted({(place, gram) for gram in set(grams) for place in source.places.get(gram, ())[:MANY]})
    begin, end = _window([place for place, _ in at], reach)
    first = {gram for place, gram in at if begin <= place <= end} if at else set()
    rest = [(place, gram) for place, gram in at if gram not in first]
    begin2, end2 = _window([place for place, _ in rest], reach)
    second = {gram for place, gram in rest if begin2 <= place <= end2} if rest else set()
    found = first | (second if len(second) >= SECOND else set())
    margin = (max(0, begin - 2), min(len(source.tokens), end + 5)) if at else (0, 0)
    return [i for i, gram in enumerate(grams) if gram in found], margin


def _contrast(tokens: list[str], passage: list[str], has: set[int]) -> tuple[bool, bool]:
    """Whether the passage that the part matches has another number or negation: anywhere, or only between the tokens in
    ``has`` (beside them, another source may have what this one lacks)."""
    changes = Indel.opcodes(tokens, passage)
    equal = [op for op in changes if op.tag == "equal"]
    if not equal:
        return False, False
    lost = [i for op in changes if op.tag == "insert" for i in range(op.dest_start, op.dest_end)]
    inside = [passage[i] for i in lost if equal[0].dest_start <= i < equal[-1].dest_end]
    added = [i for op in changes if op.tag == "delete" for i in range(op.src_start, op.src_end)]
    within = [tokens[i] for i in added if min(has) <= i <= max(has)]
    swapped = any(_swaps(run, tokens, passage, inside) for run in _runs(changes))
    turned = _negations(tokens) != _negations(passage)
    anywhere = turned and _negations(inside) != _negations([tokens[i] for i in added])
    return swapped or anywhere, swapped or (turned and _negations(inside) != _negations(within))


def _runs(changes: Iterable[Opcode]) -> Iterator[list[Opcode]]:
    """The stretches of changes between equal tokens."""
    for is_equal, run in groupby(changes, key=lambda op: op.tag == "equal"):
        if not is_equal:
            yield list(run)


def _swaps(run: Sequence[Opcode], tokens: Sequence[str], passage: Sequence[str], lost: Sequence[str]) -> bool:
    """Whether a number of the passage has given place to another that did not just move."""
    new = [token for op in run for token in tokens[op.src_start : op.src_end] if _is_number(token)]
    old = [token for op in run for token in passage[op.dest_start : op.dest_end] if _is_number(token)]
    return any(token not in lost for token in new) and any(token in lost and token not in tokens for token in old)


def _decided(tokens: Sequence[str], fits: Sequence[_Fit]) -> tuple[str, list[int]]:
    """The kind and members by containment alone; ``new`` where it does not decide."""
    critical = {i for i, token in enumerate(tokens) if _is_number(token) or _negates(token)}
    least = BRIEF_SHARE if len(tokens) < BRIEF else 0.0
    agreeing = sorted((fit for fit in fits if not fit.contradicts), key=lambda fit: -fit.weighted)
    if agreeing:
        best = agreeing[0]
        next_best = agreeing[1].weighted if len(agreeing) > 1 else 0.0
        if best.weighted >= max(MATCH, least) and best.weighted - next_best >= LEAD and critical <= best.has:
            return "match", [best.number]
    common = [fit.number for fit in agreeing if fit.plain >= max(COMMON, least) and critical <= fit.has]
    if pair := _pair(len(tokens), [fit for fit in fits if not fit.contradicts_within], critical):
        return "pair", pair
    if len(common) >= 2:
        return "common", common
    return ("match", common) if common and agreeing[0].weighted >= MATCH else ("new", [])


def _pair(n_tokens: int, fits: Sequence[_Fit], critical: set[int]) -> list[int]:
    """The two answers that together have the part, of which neither has it alone, and all who could stand for one."""
    found: list[tuple[float, int, int]] = []
    for one, other in combinations(fits, 2):
        both = one.has | other.has
        adds = min(len(both) - len(one.has), len(both) - len(other.has)) / n_tokens
        if len(both) >= PAIR * n_tokens and adds >= PAIR_ADDS and critical <= both:
            found.append((len(both) / n_tokens, one.number, other.number))
    best = max(found, default=(0.0, 0, 0))[0]
    return sorted({number for share, *two in found if share >= best - TIE for number in two})


def _densest(source: _Source, stems: Iterable[str], weight: Mapping[str, float], length: int) -> tuple[int, int]:
    """The stretch of the source with the most weight of these stems."""
    at = sorted((place, stem) for stem in stems for place in source.stems.get(stem, ())[:MANY])
    reach = length + length // 2 + 2
    inside: Counter[str] = Counter()
    total, best, found, i = 0.0, 0.0, (0, 0), 0
    for place, stem in at:
        total += 0.0 if inside[stem] else weight[stem]
        inside[stem] += 1
        while place - at[i][0] > reach:
            inside[at[i][1]] -= 1
            total -= 0.0 if inside[at[i][1]] else weight[at[i][1]]
            i += 1
        if total > best + 1e-9:
            best, found = total, (at[i][0], place + 1)
    return found


def _window(at: Sequence[int], reach: int) -> tuple[int, int]:
    """The first and the last of the places, at most ``reach`` apart, between which the most of them are."""
    best, found, i = 0, (0, 0), 0
    for j, place in enumerate(at):
        while place - at[i] > reach:
            i += 1
        if j - i + 1 > best:
            best, found = j - i + 1, (at[i], place)
    return found
