"""Attached files, from their bytes to a text or an image, or to one sentence that says why not and what helps."""

from __future__ import annotations

import io

import pytest
from PIL import Image as Pillow

from kimi_ui.core.attachments import Attachment, AttachmentError, fold, pages_of, split
from kimi_ui.core.images import Image
from kimi_ui.files.reading import LIMITS, is_pdf, read_file
from tests.support import pdf_files
from tests.support.image_files import claiming, picture


async def test_every_page_follows_its_number() -> None:
    read, size = await read_file("C:\\docs\\report.pdf", pdf_files.pdf(["First (one)\nof two", "", "Third \xe9"]))
    assert read == Attachment(
        "report.pdf", "[Page 1 of 3]\nFirst (one)\nof two\n\n[Page 2 of 3: no text]\n\n[Page 3 of 3]\nThird é\n"
    )
    assert isinstance(read, Attachment)
    assert size == pages_of(read) == "3 pages, 1 without text"
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


async def test_images_are_encoded_again_upright_and_without_metadata() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # the camera was turned: the file's left edge is the top
    exif[0x010F] = "Camera Maker"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)  # GPS
    read, size = await read_file("dir/me.jpg", picture("JPEG", exif=exif, comment=b"a secret"))
    assert isinstance(read, Image)
    assert (read.name, read.media_type, size) == ("me.jpg", "image/jpeg", "20 × 40 pixels")
    assert not any(word in read.data for word in (b"Exif", b"Camera", b"secret"))
    with Pillow.open(io.BytesIO(read.data)) as shown:
        assert (shown.size, dict(shown.getexif())) == ((20, 40), {})
        assert shown.getpixel((10, 5))[0] > 200  # red is at the top
    again, _ = await read_file("other.jpg", picture("JPEG", exif=exif, comment=b"a secret"))
    assert isinstance(again, Image)
    assert again.sha256 == read.sha256


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (picture("PNG", mode="RGBA"), "image/png", "40 × 20 pixels"),
        (picture("PNG", mode="LA"), "image/png", "40 × 20 pixels"),
        (picture("WEBP"), "image/png", "40 × 20 pixels"),
        (picture("JPEG", mode="CMYK"), "image/jpeg", "40 × 20 pixels"),
        (
            picture("GIF", save_all=True, append_images=[Pillow.new("RGB", (40, 20), c) for c in ("green", "white")]),
            "image/png",
            "40 × 20 pixels, the first of 3 frames",
        ),
        (picture("PNG", (4096, 1024)), "image/png", "2,048 × 512 pixels, made smaller from 4,096 × 1,024"),
    ],
    ids=["png", "grey", "webp", "cmyk", "gif", "large"],
)
async def test_every_image_becomes_one_that_all_providers_take(data: bytes, media_type: str, size: str) -> None:
    read, said = await read_file("a", data)
    assert isinstance(read, Image)
    assert (read.media_type, said) == (media_type, size)
    with Pillow.open(io.BytesIO(read.data)) as shown:
        assert (shown.format, *shown.size) == (media_type.removeprefix("image/").upper(), read.width, read.height)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (picture("PNG")[:60], "a.png is damaged.* PNG or JPEG"),
        (b"\xff\xd8\xff" + b"x" * 500, "a.png is damaged.* PNG or JPEG"),
        (claiming(80_000, 70_000), "a.png has 80,000 × 70,000 pixels, more than 50 million pixels. Make it"),
    ],
    ids=["cut", "noise", "bomb"],
)
async def test_damaged_and_huge_images_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(AttachmentError, match=says):
        await read_file("a.png", data)
