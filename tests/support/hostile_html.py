"""Checks rendered HTML with the standard library's parser, not with the sanitiser under test."""

from __future__ import annotations

from html.parser import HTMLParser

from kimi_ui.core.markdown.safe import TAGS, allowed_value

VOID = {"br", "hr"}


class Violations(HTMLParser):
    """Collects everything in a fragment that is not on the allow-list, and elements left open or closed twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in TAGS:
            self.found.append(f"<{tag}>")
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            fixed = {"rel": "noopener noreferrer nofollow", "target": "_blank"} if tag == "a" else {}
            if value != fixed[name] if name in fixed else allowed_value(tag, name, value or "") is None:
                self.found.append(f"<{tag} {name}={value!r}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.found.append(f"</{tag}> out of place")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.found.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.found.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.found.append(f"<?{data}>")


def read(html: str) -> Violations:
    parser = Violations()
    parser.feed(html)
    parser.close()
    parser.found += [f"<{tag}> left open" for tag in parser._open]
    return parser


def violations(html: str) -> list[str]:
    """The parts of this HTML that are not on the allow-list; empty if all are."""
    return read(html).found


def visible_text(html: str) -> str:
    return "".join(read(html).text)
