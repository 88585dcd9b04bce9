"""PDF files as bytes, from their objects: enough of the format for a page of text, and for what a hostile file does."""

from __future__ import annotations

import zlib
from collections.abc import Sequence


def pdf(pages: Sequence[str | bytes], objects: Sequence[bytes] = (), trailer: bytes = b"") -> bytes:
    """A file with a page for each item: a text in Helvetica, or a content stream with its dictionary's end.

    ``objects`` are further ones; the first has number 4 + 2 × the number of pages. Resources are shared: the font F1,
    and each further object as the form X0, X1, ….
    """
    first = 4 + 2 * len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * place) for place in range(len(pages)))
    forms = b" ".join(b"/X%d %d 0 R" % (place, first + place) for place in range(len(objects)))
    resources = b"<< /Font << /F1 3 0 R >> /XObject << %b >> >>" % forms
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d /MediaBox [0 0 612 792] /Resources %b >>"
        % (kids, len(pages), resources),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for place, page in enumerate(pages):
        parts.append(b"<< /Type /Page /Parent 2 0 R /Contents %d 0 R >>" % (5 + 2 * place))
        parts.append(stream(_shown(page)) if isinstance(page, str) else page)
    return _written([*parts, *(part.replace(b"RESOURCES", resources) for part in objects)], trailer)


def stream(data: bytes, entries: bytes = b"", packed: bool = False) -> bytes:
    """A stream object; ``packed``: by deflate."""
    if packed:
        data, entries = zlib.compress(data, 9), entries + b" /Filter /FlateDecode"
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), entries, data)


def form(data: bytes) -> bytes:
    """A form, which a page or another form draws by its name."""
    return stream(data, b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources RESOURCES")


def _shown(text: str) -> bytes:
    lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in text.split("\n")]
    return "\n".join(["BT /F1 12 Tf 72 720 Td 14 TL", *(f"({line}) Tj T*" for line in lines), "ET"]).encode("latin-1")


def _written(parts: Sequence[bytes], trailer: bytes) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R %b >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, trailer, start)
    return bytes(out)


EMPTY = pdf(["", ""])
SCANNED = pdf([b"<< /Length 0 >>\nstream\n\nendstream"] * 3)
ENCRYPTED = pdf(
    ["secret"],
    trailer=b"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <%b> /U <%b> >> /ID [<%b> <%b>]"
    % (b"5a" * 32, b"c3" * 32, b"0f" * 16, b"0f" * 16),
)
"""For which no password is known: its check values are made up."""
UNPACKS = pdf([stream(b" " * 400_000_000, packed=True)])
"""A page whose content is 400 kB here and 400 MB unpacked."""
LAUGHS = pdf([stream(b"/X0 Do ")], [form(b"/X%d Do " % (place + 1) * 12) for place in range(12)])
"""Forms that draw the next one twelve times each: 12 to the power of 12 in all."""
