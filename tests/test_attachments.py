"""Attachments: every encoding that a user's file may have, folding them into the prompt and splitting it again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_ui.core.attachments import (
    MAX_FILE_BYTES,
    MAX_PROMPT_CHARS,
    Attachment,
    AttachmentError,
    clean_name,
    fold,
    read_attachment,
    split,
)

TEXT = "Grüße, naïve café\nsecond line – “quoted” €5\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_file_is_read_in_every_common_encoding(encoding: str) -> None:
    assert read_attachment("a.txt", TEXT.encode(encoding)) == Attachment("a.txt", TEXT)


def test_latin_1_and_chinese_are_read() -> None:
    assert read_attachment("a.txt", "café à la crème".encode("latin-1")).text == "café à la crème"
    assert read_attachment("a.txt", "把这段文字翻译成英文".encode()).text == "把这段文字翻译成英文"
    assert read_attachment("a.txt", b"\xff\xfe" + "把这段".encode("utf-16-le")).text == "把这段"


def test_line_ends_become_line_feeds() -> None:
    assert read_attachment("a.txt", b"one\r\ntwo\rthree\n").text == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04" + bytes(range(256)) * 4, "a zip archive"),
        (b"\x7fELF" + bytes(200) + b"\x90\x12\x88" * 100, "not a text file"),
        (bytes(range(1, 32)) * 30, "not a text file"),
        (b"text with a zero\0 in it", "not a text file"),
    ],
)
def test_refusing_a_binary_file_names_it_and_the_remedy(data: bytes, says: str) -> None:
    with pytest.raises(AttachmentError, match=says) as error:
        read_attachment("dir/thing.bin", data)
    assert str(error.value).startswith("thing.bin is ")
    assert "paste" in str(error.value)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("logo.svg", b"<svg onload='alert(1)'/>", "an SVG drawing"),
        ("logo.txt", b"  <SVG xmlns='x'/>", "an SVG drawing"),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC or AVIF image"),
        ("a.bmp", b"BM\x36\x10\0\0\0\0\0\0" + bytes(99), "a BMP image"),
        ("a.tif", b"II*\0" + bytes(99), "a TIFF image"),
    ],
)
def test_other_images_are_refused_with_the_form_to_save_them_in(name: str, data: bytes, says: str) -> None:
    with pytest.raises(AttachmentError, match=f"{name} is {says}.* PNG or JPEG"):
        read_attachment(name, data)


def test_too_large_and_empty_files_are_refused() -> None:
    with pytest.raises(AttachmentError, match=r"notes\.txt has 3\.5 MB; at most 3 MB"):
        read_attachment("notes.txt", b"a" * (MAX_FILE_BYTES + 500_000))
    with pytest.raises(AttachmentError, match="empty"):
        read_attachment("notes.txt", b" \n\n ")
    with pytest.raises(AttachmentError, match="characters"):
        fold("?", [Attachment("a", "x" * (MAX_PROMPT_CHARS // 2)), Attachment("b", "x" * (MAX_PROMPT_CHARS // 2))])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("C:\\Users\\me\\notes.txt", "notes.txt"),
        ("/docs/my notes.txt", "my notes.txt"),
        ("two\nlines`\u202egnp.exe", "twolinesgnp.exe"),
        ("", ""),
    ],
)
def test_a_file_name_becomes_one_plain_line(name: str, shown: str) -> None:
    assert clean_name(name) == shown


def test_a_long_file_name_keeps_its_beginning_and_its_extension() -> None:
    shown = clean_name("x" * 500 + ".txt")
    assert len(shown) == 120
    assert shown.endswith(".txt")


def test_the_fence_is_longer_than_any_inside_and_the_question_comes_last() -> None:
    prompt = fold("What is wrong?", [Attachment("readme.md", "```py\nx\n```\n`````\n")])
    assert prompt == "Attached file: readme.md\n``````\n```py\nx\n```\n`````\n\n``````\n\nWhat is wrong?"


def test_a_prompt_without_attachments_stays_as_it_is() -> None:
    assert fold("Hello\n", []) == "Hello\n"
    assert split("Hello\n") == ("Hello\n", ())
    assert split("Attached file: not really") == ("Attached file: not really", ())


names = st.text(min_size=1, max_size=40).map(clean_name).filter(bool)
attachments = st.lists(st.builds(Attachment, names, st.text(alphabet="a` \n~#", max_size=60)), max_size=4)


@given(st.text(alphabet="a` \n:", max_size=60), attachments)
def test_splitting_a_prompt_returns_the_attachments_folded_into_it(
    text: str, given_attachments: list[Attachment]
) -> None:
    assert split(fold(text, given_attachments)) == (text, tuple(given_attachments))
