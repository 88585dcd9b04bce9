"""The context window: no prompt is cut without notice, on any server.

Kinds, and the rule of each:
- *A prompt that does not fit is refused.* Ollama must not cut it; the refusal names every number and offers a context
  that fits.
- *A prompt that was cut anyway* is reported with both numbers: the server's count and that of the text. No prompt that
  was read completely is reported as cut, whatever its text.
- *An answer that fills the window* is distinguished from one that reached ``max_tokens``.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.context import fitting, prompt_size, truncated
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.tokenizers import counter
from kimi_ui.view.failure_words import failure_of, notes_of
from tests.support.engine_run import running
from tests.support.ollama_server import after_030, before_030
from tests.support.one_lane import Came, came
from tests.support.telling import DONE, A, D, delta, finish, tell
from tests.support.upstream import Upstream

SMOL = "smol:135m"
LONG = "word " * 9_000  # one token per word
NUMBERS = re.compile(r"\d[\d,]*")


def numbers(text: str) -> set[int]:
    return {int(found.replace(",", "")) for found in NUMBERS.findall(text)}


def ask(upstream: Upstream, prompt: str, **fields: Any) -> Came:
    """One prompt to an Ollama lane with a small model."""
    spec = OllamaLane("a", "A", model=SMOL, base_url=upstream.origin, **{"num_ctx": 4096} | fields)
    with running(None, Ollama(spec)) as run:
        turn = run.engine.send(prompt)
        fold, rows = run.folds(turn)["a"], run.rows(turn)["a"]
    return Came(fold, rows, [request for request in upstream.requests if request.path == "/api/chat"])


@pytest.fixture
def smol(upstream: Upstream) -> Upstream:
    """A server with a model that was trained for 8,192 tokens."""
    upstream.alias(SMOL, "m-2000-0-60", trained=8192)
    return upstream


# -- refused, not cut


@pytest.mark.parametrize("habits", [after_030(), after_030(refusal="stream"), before_030()], ids=str)
def test_a_prompt_that_does_not_fit_is_refused_with_its_numbers(smol: Upstream, habits: Any) -> None:
    """oc-half, on servers of both generations and where the refusal comes inside the stream."""
    smol.ollama.habits = habits
    got = ask(smol, "word " * 5_000)
    assert (got.status, got.kind, len(got.requests)) == ("error", "context", 1)
    assert got.requests[0].body["truncate"] is False
    assert got.requests[0].body["shift"] is False
    assert {4_096, 8_192} <= numbers(got.fold.failure.message if got.fold.failure else "")
    assert got.fold.failure
    assert 5_000 <= max(numbers(got.fold.failure.message) - {8_192}) <= 5_100
    assert got.fold.failure.again == {"num_ctx": 8192}
    assert "num_ctx = 8192" in got.words


def test_no_retry_is_offered_for_a_prompt_longer_than_the_model_can_read(smol: Upstream) -> None:
    got = ask(smol, LONG)
    assert got.kind == "context"
    assert got.fold.failure
    assert got.fold.failure.again == {}
    assert "longer than anything this model can read" in got.words


@pytest.mark.parametrize(
    ("need", "answer", "trained", "fits"),
    [
        (9_016, None, 262_144, 12_288),
        (9_016, None, None, 12_288),
        (5_000, None, 8_192, 8_192),
        (7_000, None, 8_192, 8_192),  # less room for the answer than usual, but enough
        (7_900, None, 8_192, None),
        (9_016, None, 8_192, None),
        (100_000, 32_768, 262_144, 133_120),
        (100, 100, 262_144, 2_048),
    ],
)
def test_the_context_that_fits(need: int, answer: int | None, trained: int | None, fits: int | None) -> None:
    assert fitting(need, answer, trained) == fits


def test_a_cut_that_the_lanes_params_allow_is_explained(smol: Upstream) -> None:
    got = ask(smol, "word " * 5_000, params={"truncate": True})
    assert got.status == "ok"
    assert "params let Ollama drop what does not fit its context (`truncate`)" in got.words
    assert {2_050, 5_000} <= numbers(got.fold.flags["context_truncated"])
    both = ask(smol, "hi", extra_body={"truncate": True, "shift": True})
    assert "(`truncate` and `shift`)" in both.words


def test_a_context_beyond_the_trained_one_is_reported_once(smol: Upstream) -> None:
    spec = OllamaLane("a", "A", model=SMOL, base_url=smol.origin, num_ctx=16384)
    with running(None, Ollama(spec)) as run:
        folds = [run.folds(run.engine.send("hi"))["a"] for _ in range(3)]
    assert [sum("num_ctx is more than" in note for note in notes_of(fold)) for fold in folds] == [1, 0, 0]
    assert {16_384, 8_192} <= numbers(notes_of(folds[0])[0])
    assert [(fold.meta.context_tokens, fold.meta.trained_tokens) for fold in folds] == [(8192, 8192)] * 3


def test_the_offered_retry_gets_an_answer(smol: Upstream) -> None:
    spec = OllamaLane("a", "A", model=SMOL, base_url=smol.origin, num_ctx=4096)
    with running(None, Ollama(spec)) as run:
        turn = run.engine.send("word " * 5_000)
        failure = run.folds(turn)["a"].failure
        assert failure
        run.engine.retry(turn.turn_id, "a", params=failure.again)
        assert run.folds(turn)["a"].status == "ok"
    assert [request.body["options"]["num_ctx"] for request in smol.requests if request.path == "/api/chat"] == [
        4096,
        8192,
    ]


# -- cut anyway


@pytest.mark.parametrize(
    ("counted", "prompt", "num_ctx"),
    [
        pytest.param(2_050, LONG, 4_096, id="oc-half-old"),
        pytest.param(4_098, LONG, 16_384, id="oc-half-old, half of the trained context"),
        pytest.param(4_096, LONG, 4_096, id="all of the window"),
        pytest.param(2_432, "word " * 4_838, 4_096, id="whole messages dropped"),
        pytest.param(4_096, "word " * 4_400, 4_096, id="a little too long"),
        pytest.param(2_050, "".join(f"{i:x}=" for i in range(9_000)), 4_096, id="code"),
        pytest.param(2_050, "这段文字很长,服务器只读了一半。" * 1_000, 4_096, id="Chinese"),
        pytest.param(2_050, base64.b64encode(random.Random(1).randbytes(9_000)).decode(), 4_096, id="base64"),
    ],
)
def test_a_count_far_below_the_prompt_is_reported_with_both_numbers(
    upstream: Upstream, counted: int, prompt: str, num_ctx: int
) -> None:
    script = tell(A("yes"), finish(prompt_eval_count=counted, eval_count=1))
    got = came(upstream, script, ollama=True, prompt=prompt, num_ctx=num_ctx)
    assert got.status == "ok"
    said = numbers(got.fold.flags["context_truncated"])
    assert counted in said
    assert max(said) > counted
    assert str(counted) in got.words


def test_a_long_text_without_blanks_is_estimated_in_linear_time() -> None:
    """In quadratic time, as it once was, this would take hours."""
    text = "".join(f"{i:x}=" for i in range(400_000))
    assert prompt_size(text, counter("")).least > 0.1 * len(text)


def test_a_cut_by_an_older_server_is_reported(smol: Upstream) -> None:
    """oc-half-old, with a server that does not know ``truncate``."""
    for habits, counted in ((after_030(refusal="none"), 2_050), (before_030(refusal="none"), 4_096)):
        smol.ollama.habits = habits
        got = ask(smol, LONG)
        assert got.status == "ok"
        assert {counted, 9_000} <= numbers(got.fold.flags["context_truncated"])


@pytest.mark.parametrize("usage", [{"prompt_tokens": 2_050}, {"input_tokens": 2_050, "total_tokens": 2_055}])
def test_a_prompt_compressed_by_a_gateway_is_reported(upstream: Upstream, usage: dict[str, int]) -> None:
    told = D({"choices": [], "usage": {"completion_tokens": 5, **usage}})
    got = came(upstream, tell(A("yes"), D(delta({}, "stop")), told, DONE), prompt=LONG)
    assert {2_050, 9_000} <= numbers(got.fold.flags["context_truncated"])
    assert "gateway" in got.words


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 50, "cache_read_input_tokens": 8_960},
        {"prompt_tokens": 20, "cache_creation_input_tokens": 8_990},
        {"prompt_tokens": 9_010, "prompt_tokens_details": {"cached_tokens": 9_000}},
        {"prompt_tokens": 0},
        {"prompt_tokens": 11_250},
    ],
)
def test_cached_tokens_count_as_read(upstream: Upstream, usage: dict[str, Any]) -> None:
    told = D({"choices": [], "usage": {"completion_tokens": 5, **usage}})
    got = came(upstream, tell(A("yes"), D(delta({}, "stop")), told, DONE), prompt=LONG)
    assert "context_truncated" not in got.fold.flags


def test_reasoning_dropped_by_a_template_is_not_reported_as_cut(upstream: Upstream) -> None:
    """Chat templates leave earlier reasoning out, so it is not part of what the server must have read."""
    script = tell(A("yes"), finish(prompt_eval_count=400, eval_count=1))
    upstream.script("thinker", script)
    spec = OllamaLane("a", "A", model="thinker", base_url=upstream.origin, send_reasoning=True)
    with running(None, Ollama(spec)) as run:
        upstream.script(
            "thinker", tell(D(None, b'{"message":{"thinking":"' + b"so " * 9_000 + b'"}}\n'), A("1"), finish())
        )
        first = run.engine.send("hi")
        run.folds(first)
        upstream.script("thinker", script)
        fold = run.folds(run.engine.send("and now?", conversation_id=first.conversation_id))["a"]
    assert "context_truncated" not in fold.flags


# The fewest tokens that any of five vocabularies needs (Gemma 3, Qwen 3, Llama 3, GPT-4o, DeepSeek V3; November 2026).
RANDOM = random.Random(1)
RAW = RANDOM.randbytes(6_000)
READ_WHOLE: dict[str, tuple[str, int]] = {
    "base64": (base64.b64encode(RAW).decode(), 5_453),
    "base64 in lines": (base64.encodebytes(RAW).decode(), 5_575),
    "hex": (RAW.hex(), 6_736),
    "hashes": ("\n".join(hashlib.md5(str(i).encode()).hexdigest() for i in range(200)), 3_911),
    "numbers": (" ".join(str(RANDOM.randrange(10**9)) for _ in range(600)), 2_399),
    "digits": ("".join(str(RANDOM.randrange(10)) for _ in range(6_000)), 2_000),
    "emoji": ("".join(chr(RANDOM.randrange(0x1F300, 0x1F64F)) for _ in range(2_000)), 2_395),
    "emoji with joiners": ("👨‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪" * 300, 4_500),
    "one emoji": ("😀" * 3_000, 3_000),
    "Chinese": (
        (
            "设质量为m的物体在光滑水平面上受到恒力作用,求加速度与时间的关系。我们首先考虑牛顿第二定律,然后讨论能量守恒。"
            "中国的经济发展带来了巨大的社会变化,人们的生活水平不断提高。"
        )
        * 40,
        1_760,
    ),
    "Chinese, set phrases": ("中华人民共和国国务院办公厅关于进一步加强社会主义市场经济体制改革的通知" * 60, 480),
    "one Chinese character": ("的" * 3_000, 1_500),
    "Japanese": (
        (
            "手順を確認してから、次の段階に進んでください。この文章は日本語で書かれており、漢字とひらがなとカタカナが混ざって"
            "います。コンピューターのプログラムを実行します。"
        )
        * 40,
        1_560,
    ),
    "katakana": ("コンピュータープログラミングアルゴリズム" * 100, 800),
    "Korean": ("안녕하세요 저는 한국어로 글을 쓰고 있습니다 이 문장은 토큰의 수를 재기 위해서 만들었습니다" * 40, 800),
    "Russian": (
        "Это предложение написано по-русски, чтобы измерить количество токенов в тексте на разных языках мира." * 40,
        1_000,
    ),
    "Arabic": ("هذه الجملة مكتوبة باللغة العربية لقياس عدد الرموز في النصوص المختلفة حول العالم" * 40, 760),
    "Hindi": ("यह वाक्य हिंदी में लिखा गया है ताकि विभिन्न भाषाओं में टोकन की संख्या को मापा जा सके" * 40, 800),
    "Thai": ("ประโยคนี้เขียนเป็นภาษาไทยเพื่อวัดจำนวนโทเค็นในข้อความของภาษาต่างๆ" * 40, 800),
    "Georgian": ("ეს წინადადება დაწერილია ქართულად ტოკენების რაოდენობის გასაზომად" * 40, 760),
    "German": (
        "Dieser Satz ist auf Deutsch geschrieben, um die Anzahl der Token in verschiedenen Sprachen zu messen: "
        "Donaudampfschifffahrtsgesellschaft." * 40,
        1_160,
    ),
    "Vietnamese": (
        "Câu này được viết bằng tiếng Việt để đo số lượng mã thông báo trong văn bản của các ngôn ngữ khác nhau." * 40,
        960,
    ),
    "French": (
        "Cette phrase est écrite en français pour mesurer le nombre de jetons dans des textes de différentes langues."
        * 40,
        800,
    ),
    "one word": ("word " * 3_000, 3_001),
    "one letter": ("a" * 6_000, 750),
    "a rule": ("=" * 6_000, 94),
    "blanks": (" " * 6_000, 48),
    "line ends": ("\n" * 6_000, 188),
    "indented code": (("                    x = 1\n") * 300, 1_800),
    "a table": ("| a | b | c |\n|---|---|---|\n" * 300, 3_000),
    "box drawing": ("─│┌┐└┘├┤" * 500, 4_000),
    "LaTeX": (r"\frac{\partial u}{\partial t} = \alpha \nabla^2 u + \sum_{i=0}^{n} \int_0^1 f(x)\,dx " * 80, 2_960),
    "capitals": ("THIS IS A SENTENCE IN CAPITAL LETTERS AND IT GOES ON FOR SOME TIME. " * 80, 1_361),
    "DNA": ("".join(RANDOM.choice("ACGT") for _ in range(6_000)), 2_650),
    "prose": ("The quick brown fox jumps over the lazy dog. " * 300, 3_001),
}


@pytest.mark.parametrize("name", READ_WHOLE)
def test_no_completely_read_text_is_reported_as_cut(name: str) -> None:
    text, fewest = READ_WHOLE[name]
    size = prompt_size(text, counter())
    assert truncated(fewest, size) == ""
    assert truncated(-(-len(text) // 4), size) == "", "a server that divides characters by four"


@pytest.mark.parametrize(
    "path", ["kimi_ui/engine/attempts.py", "assets/lane/lane.css", "README.md", "kimi_ui/log/views.sql"]
)
def test_half_of_a_file_is_reported_as_cut_and_the_whole_file_is_not(path: str) -> None:
    text = (Path(__file__).parent.parent / path).read_text()
    size = prompt_size(text, counter())
    assert truncated(size.estimate, size) == ""
    assert truncated(size.estimate // 2, size)


def test_a_short_prompt_is_never_judged() -> None:
    size = prompt_size("word " * 100, counter())
    assert truncated(1, size) == ""


# -- the window fills up


@pytest.mark.parametrize("habits", [after_030(), before_030()], ids=["0.33", "0.12.6"])
def test_an_answer_that_fills_the_window_is_recognised(smol: Upstream, habits: Any) -> None:
    """oc-full: prompt and answer fill the window, nothing is forgotten, and num_ctx is named."""
    smol.ollama.habits = habits
    got = ask(smol, "word " * 225, num_ctx=256)
    assert got.status == "length"
    assert (got.fold.usage.input_tokens or 0) + (got.fold.usage.output_tokens or 0) == 256
    assert "num_ctx" in got.words
    assert "256 tokens" in got.words
    failure = failure_of(got.fold)
    assert failure
    assert failure.again == {"num_ctx": 512}


def test_reaching_max_tokens_is_not_a_full_window(smol: Upstream) -> None:
    got = ask(smol, "hi", params={"max_tokens": 20})
    assert (got.status, got.fold.usage.output_tokens) == ("length", 20)
    assert "Raise max_tokens" in got.words
    assert "num_ctx" not in got.words


@pytest.mark.parametrize(
    ("params", "reason", "output", "words"),
    [
        ({"max_tokens": 32_768}, "length", 812, "812 of 32768 tokens"),
        ({"max_completion_tokens": 4_000}, "model_length", 100, "100 of 4000 tokens"),
        ({"max_tokens": 812}, "length", 812, "Raise max_tokens"),
        ({"max_tokens": 812}, "length", 808, "Raise max_tokens"),  # a few tokens are counted otherwise
        ({}, "length", 812, "Raise max_tokens"),
    ],
)
def test_stopping_far_below_max_tokens_is_not_reaching_max_tokens(
    upstream: Upstream, params: dict[str, int], reason: str, output: int, words: str
) -> None:
    usage = D({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": output}})
    text = A("word " * output)
    got = came(upstream, tell(text, D(delta({}, reason)), usage, DONE), params=params)
    assert got.status == "length"
    assert words in got.words
