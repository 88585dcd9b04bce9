"""Token counts: offline, additive, safe on any text; the model's own vocabulary where a file is given."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from kimi_ui import tokenizers
from kimi_ui.core.events import Answer, Reasoning, Relabel, Usage
from kimi_ui.core.tokens import AttemptCount, LiveCount, LocalCount, count_text
from kimi_ui.tokenizers import Tokenizer, counter

OFFLINE = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from kimi_ui.tokenizers import counter
assert counter().source == "tokenizer"
print(counter().count("hello world, this is offline"))
"""


def test_counting_opens_no_socket_and_writes_no_cache(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "6"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("</think>", 3), ("\ud800", 1), ("<|im_end|>", 6)],
)
def test_counts_with_the_shipped_vocabulary(text: str, tokens: int) -> None:
    assert counter().count(text) == tokens


@pytest.mark.parametrize("text", ["a" * 1_000_001, " " * 100_000, "漢" * 60_000, "\n" * 30_001, "ab " * 200_000])
def test_texts_that_make_tiktoken_panic_are_counted_in_pieces(text: str) -> None:
    assert 0 < counter().count(text) <= 2 * len(text)


def test_without_any_vocabulary_four_characters_are_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ValueError(f"Unknown encoding {name}")

    monkeypatch.setattr(tiktoken, "get_encoding", missing)
    plain = Tokenizer()
    assert (plain.source, plain.exact, plain.count(""), plain.count("abcde")) == ("chars", False, 0, 2)


def test_the_count_of_a_long_text_is_kept_without_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, encoded = Tokenizer(), list[str]()
    encode = plain._encode
    assert encode
    monkeypatch.setattr(plain, "_encode", lambda text: encoded.append(text) or encode(text))
    text = "one two three four five " * 50
    assert plain.count(text) == plain.count(text) == len(encode(text))
    assert plain.count("short") == plain.count("short") == 1
    assert plain.count(text + "\ud800") > 0  # half a surrogate pair, as a prompt may hold
    assert encoded.count(text) == 1
    assert encoded.count("short") == 2
    monkeypatch.setattr(tokenizers, "KEPT", 1)
    plain.count(text + "!")
    plain.count(text)
    assert encoded.count(text) == 2


def write_vocabulary(path: Path, words: list[bytes]) -> Path:
    """A vocabulary of all bytes and of words with all their prefixes, in the format of ``tiktoken.model``."""
    tokens = [bytes([byte]) for byte in range(256)]
    for word in words:
        tokens += [word[:end] for end in range(2, len(word) + 1) if word[:end] not in tokens]
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)))
    return path


def test_the_models_own_vocabulary_is_exact_and_read_again_when_it_changes(tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "tiktoken.model", [b" hello"])
    exact = Tokenizer(str(path))
    assert (exact.exact, exact.source, exact.problem) == (True, "tokenizer", "")
    assert exact.count(" hello hello") == 2
    assert exact.count("漢字") == 6  # runs of Han characters are split off first, and here into bytes
    assert exact.count("</think>[EOS]<|im_end|>") == len("</think>[EOS]<|im_end|>")
    write_vocabulary(path, [b" hell"])
    assert Tokenizer(str(path)).count(" hello hello") == 4


@pytest.mark.parametrize("content", [b"", b"not base64 at all", b"aGVsbG8= x\n", b"aGVsbG8= 1\n", b"\xff\xfe 1\n"])
def test_an_invalid_vocabulary_file_gives_estimates_and_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tiktoken.model"
    path.write_bytes(content)
    fallback = Tokenizer(str(path))
    assert not fallback.exact
    assert fallback.count("hello world") == 2
    assert str(path) in fallback.problem


def test_a_missing_vocabulary_file_gives_estimates_and_a_sentence(tmp_path: Path) -> None:
    assert "counts are estimates" in Tokenizer(str(tmp_path / "none")).problem


words = st.text(alphabet=st.sampled_from("ab Z9é漢,.\n'"), max_size=40)


@given(st.lists(words, max_size=60))
@example(["word " * 300, "x" * 500, " end of it" * 100])
@example([" one two" * 200] * 4)
def test_a_live_count_of_any_pieces_equals_the_count_of_the_whole(pieces: list[str]) -> None:
    live = LiveCount(counter())
    for piece in pieces:
        live.feed(piece)
        assert live.tokens >= 0
    assert live.tokens == counter().count("".join(pieces))


def test_text_without_word_boundaries_is_counted_as_it_grows() -> None:
    live = LiveCount(counter())
    for _ in range(3000):
        live.feed("漢字汉")
    whole = counter().count("漢字汉" * 3000)
    assert live.tokens == pytest.approx(whole, rel=0.001)


def test_reasoning_and_answer_of_an_attempt_are_counted_separately() -> None:
    count = AttemptCount(counter())
    assert count.local is None
    count.apply(Usage(output_tokens=5))
    count.apply(Reasoning(""))
    assert count.local is None
    count.apply(Reasoning("hello world"))
    count.apply(Answer("hello"))
    assert count.local == LocalCount(2, 1, "tokenizer") == count_text(counter(), "hello world", "hello")
    count.apply(Relabel())
    count.apply(Answer("one two three"))
    assert count.local == LocalCount(3, 3, "tokenizer")
    assert count_text(counter(), "", "") is None
