"""Changes of the lanes that a person makes on the page: they are written into the lanes file, which the roster reads.

A change names the version of the file that it was made for. If the file has changed since, by another page or by hand,
nothing is written. The file is replaced as a whole, so that it is always the old one or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import ConfigError
from ..core.lane import LaneSpec
from ..lanes_edit import edited
from ..lanes_file import LanesFile, parse_file, table_of, write_table
from ..lanes_form import values_of
from ..providers import registry
from ..replace_file import replace_file

if TYPE_CHECKING:
    from ..providers.roster import Roster

MOST_UNDONE = 30
FIRST = """\
# The lanes of Kimi UI. Every key is described in kimi_ui/providers/README.md.
# A shipped lane is served by the best route there is: a key, Ollama, else a small stand-in.

[[lane]]
id = "kimi"
provider = "shipped"

[[lane]]
id = "kimi-heavy"
provider = "shipped"

[[lane]]
id = "qwen"
provider = "shipped"
"""
"""The lanes file that means the same as none."""

CHANGED = (
    "The lanes file has changed since this page read it, by another page or by hand. Nothing was saved. "
    "The page has read it again: look at it, then make the change once more."
)


class FileChanged(ConfigError):
    """The file is not the one that the change was made for."""


class Text(NamedTuple):
    """A lanes file's text, with ``\\n`` as the end of its lines. ``version`` is empty if there is no file."""

    text: str
    version: str
    has_crlf: bool = False


class LaneChanges:
    """Reads and changes the roster's lanes file."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._lock = threading.Lock()
        self._undone: list[tuple[str, str | None]] = []  # the version after a change, and the text before it

    @property
    def path(self) -> Path:
        return self._roster.lanes_target

    def read(self) -> Text:
        """Raises ``ConfigError``."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            if self._roster.settings.lanes:
                raise ConfigError(f"The lanes file {self.path} is gone; put it back, or start without it.") from None
            return Text(FIRST, "")
        except OSError as error:
            raise ConfigError(f"The lanes file {self.path} cannot be read ({error.strerror}).") from None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"The lanes file {self.path} is not UTF-8 text; save it as such.") from None
        return Text(text.replace("\r\n", "\n"), _version(data), b"\r\n" in data)

    def file(self, text: Text) -> LanesFile:
        """Raises ``ConfigError`` for a mistake in it."""
        return parse_file(text.text, registry.lane_classes(), self.path.name)

    def tables(self, text: Text, file: LanesFile) -> dict[str, dict[str, Any]]:
        """The keys of each lane as the file has them, by its id; of a shipped one, as it is served if that is real."""
        real = {spec.id: spec for spec in self._roster.specs if not spec.stand_in_for}
        tables = tomllib.loads(text.text)["lane"]
        return {
            spec.id: table_of(real[spec.id]) if spec.is_shipped and spec.id in real else table
            for spec, table in zip(file.lanes, tables, strict=True)
        }

    def can_undo(self, version: str) -> bool:
        return bool(self._undone) and self._undone[-1][0] == version

    def change(self, version: str, changes: Sequence[Mapping[str, Any]]) -> None:
        """Make all of the changes (``lanes_edit``) or none; values are texts as in ``lanes_form``. Raises
        ``FileChanged``, and ``ConfigError`` with a sentence for each other reason."""
        with self._lock:
            now = self._current(version)
            file = self.file(now)
            typed = [self._typed(change, file) for change in changes]
            new = edited(now.text, typed, registry.lane_classes(), self.path.name, self._explicit)
            if new != now.text or not now.version:
                self._write(new, now.has_crlf, now.text if now.version else None)
        self._roster.refresh()

    def undo(self, version: str) -> None:
        """Take the last change back, if nothing has changed the file since. Raises as ``change``."""
        with self._lock:
            now = self._current(version)
            if not self.can_undo(version):
                raise FileChanged(CHANGED)
            _, before = self._undone.pop()
            if before is None:
                with _said(self.path):
                    self.path.unlink()
            else:
                self._write(before, now.has_crlf, None, is_undo=True)
        self._roster.refresh()

    def lane_of(self, texts: Mapping[str, Any]) -> LaneSpec:
        """The lane that a form describes, though its model is not chosen yet. Raises ``ConfigError``."""
        cls = registry.lane_classes().get(str(texts.get("provider") or ""), LaneSpec)
        values = {key: value for key, value in values_of(cls, texts, "").items() if value is not None}
        values = {"id": "lane", "model": "any", **values} if "model" in cls.file_keys() else {"id": "lane", **values}
        return parse_file(write_table(values), registry.lane_classes(), self.path.name).lanes[0]

    def _current(self, version: str) -> Text:
        now = self.read()
        if now.version != version:
            raise FileChanged(CHANGED)
        return now

    def _typed(self, change: Mapping[str, Any], file: LanesFile) -> Mapping[str, Any]:
        """The change with values instead of texts."""
        values = change.get("values")
        if not isinstance(values, dict):
            return change
        lane = str(change.get("lane", values.get("id", "")))
        named = {spec.id: type(spec) for spec in (*file.lanes, *self._roster.specs)}  # a shipped one as it is served
        cls = registry.lane_classes().get(str(values.get("provider") or "")) or named.get(lane, LaneSpec)
        return {**change, "values": values_of(cls, values, lane)}

    def _explicit(self, lane: str) -> dict[str, Any]:
        serving, spec = self._roster.serving(lane), next(spec for spec in self._roster.specs if spec.id == lane)
        if spec.stand_in_for:
            raise ConfigError(
                f"A stand-in answers in the lane {serving.label}, which has nothing to set. {serving.why_not_better} "
                f"Set up the real one ({serving.how_to_get_real}), or choose another provider for this lane."
            )
        return table_of(spec)

    def _write(self, text: str, has_crlf: bool, before: str | None, is_undo: bool = False) -> None:
        data = (text.replace("\n", "\r\n") if has_crlf else text).encode()
        path = Path(os.path.realpath(self.path))
        with _said(self.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not (os.access(path, os.W_OK) and path.stat().st_mode & 0o222):
                raise PermissionError(13, "it is read-only")
            replace_file(path, data)
        if not is_undo:
            self._undone = [*self._undone[-MOST_UNDONE:], (_version(data), before)]


@contextlib.contextmanager
def _said(path: Path) -> Any:
    """Errors of the file system as a sentence."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"The lanes file {path} cannot be written ({error.strerror or error}), so nothing was changed. Make the "
            "file and its folder writable, or start Kimi UI with another file by --lanes."
        ) from None


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
