"""Attached files, from their bytes to a text with page numbers, or to one sentence that says why not and what helps."""

from __future__ import annotations

import pytest

from kimi_ui.core.attachments import Attachment, AttachmentError, fold, pages_of, split
from kimi_ui.files.reading import LIMITS, is_pdf, read_file
from tests.support import pdf_files


async def test_every_page_follows_its_number() -> None:
    read = await read_file("C:\\docs\\report.pdf", pdf_files.pdf(["First (one)\nof two", "", "Third \xe9"]))
    assert read == Attachment(
        "report.pdf", "[Page 1 of 3]\nFirst (one)\nof two\n\n[Page 2 of 3: no text]\n\n[Page 3 of 3]\nThird é\n"
    )
    assert pages_of(read) == "3 pages, 1 without text"
    assert split(fold("Sum it up", [read])) == ("Sum it up", (read,))
    assert pages_of(Attachment("notes.txt", read.text)) == ""


@pytest.mark.parametrize(
    ("data", "changes", "says", "remedy"),
    [
        (pdf_files.SCANNED, {}, "a.pdf has no text: its 3 pages are pictures", "text recognition"),
        (pdf_files.ENCRYPTED, {}, "a.pdf is encrypted and needs a password", "without a password"),
        (b"%PDF-1.7\nplain looking", {}, "a.pdf is damaged", "Print it to a new PDF"),
        (pdf_files.pdf(["x"])[:300], {}, "a.pdf is damaged", "Print it to a new PDF"),
        (pdf_files.pdf(["x"] * 5), {"pages": 4}, "a.pdf has 5 pages; at most 4 are read", "the part that matters"),
        (pdf_files.pdf(["x" * 500] * 3), {"chars": 900}, "a.pdf has more than 900 characters", "the part that matters"),
        (pdf_files.UNPACKS, {}, "a.pdf cannot be read within 30 s and 1 GB of memory", "Print it to a new PDF"),
        (pdf_files.LAUGHS, {"cpu_s": 1}, "a.pdf cannot be read within 1 s", "Print it to a new PDF"),
    ],
    ids=["scanned", "encrypted", "damaged", "cut", "pages", "characters", "unpacks", "endless"],
)
async def test_what_cannot_be_read_is_refused_with_the_remedy(
    data: bytes, changes: dict[str, int], says: str, remedy: str
) -> None:
    with pytest.raises(AttachmentError) as refused:
        await read_file("a.pdf", data, LIMITS._replace(**changes))
    assert says in str(refused.value)
    assert remedy in str(refused.value)


async def test_the_reader_ends_at_its_deadline() -> None:
    """Where the system limits neither CPU time nor memory, the clock does."""
    with pytest.raises(AttachmentError, match="cannot be read within"):
        await read_file("a.pdf", pdf_files.LAUGHS, LIMITS._replace(cpu_s=600, deadline_s=1.0))


def test_a_pdf_is_recognised_by_its_first_bytes() -> None:
    assert is_pdf(b"\xef\xbb\xbf\r\n%PDF-1.4 ...")
    assert not is_pdf(b"About %PDF-1.4")
