"""What a GGUF file says of itself in its header, and why a file cannot serve a lane.

The format is that of ggml's ``docs/gguf.md``, versions 2 and 3, little-endian: counts and lengths are 64 bits. Only the
metadata is read, never the weights, and of its arrays only the short ones. llama.cpp reads everything else from the
file itself, the chat template and with it the form of the reasoning too.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...core.events import Failure
from ..base import ProviderError

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_VERSIONS = (2, 3)
MOST_KEYS = 10_000
MOST_ITEMS = 4096  # longer arrays are skipped: a vocabulary is longer, an array with one number per layer is not
CACHE_BYTES = 2  # of a number in the cache of keys and values, which is F16
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z")
_NO_CHAT = re.compile(r".*bert(-.*)?|t5encoder|gemma-embedding")

DOWNLOAD_AGAIN = "Download it again: it is not complete, or it was changed."


@dataclass(frozen=True)
class Gguf:
    """A model's file. ``size``: its bytes with all parts of a split model. ``trained_tokens``: the longest context that
    it was trained for, None if not said. ``template``: its chat template, empty if it has none. ``cache_per_token``:
    bytes of context per token, None where the model keeps another state than all keys and values."""

    path: Path
    size: int
    architecture: str
    trained_tokens: int | None
    template: str
    cache_per_token: int | None


def read(path: Path) -> Gguf:
    """The header of the model at ``path``; cached until the file changes. Raises ``ProviderError`` with a remedy."""
    try:
        stat = path.stat()
        if path.is_dir():
            raise _failed(path, "is a folder", "Give the path of the .gguf file in it.")
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        remedy = "Correct gguf in this lane, or put the file there. A path is best written whole, from / or ~ on."
        raise ProviderError(Failure("model_missing", f"There is no file {path}.", remedy)) from None
    except OSError as error:
        raise _failed(path, f"cannot be read ({error.strerror or error})", "Check who may read it.") from None


@lru_cache(maxsize=32)
def _read(path: Path, _mtime_ns: int, size: int) -> Gguf:
    try:
        found = _metadata(path, size)
    except (struct.error, KeyError, OverflowError, IndexError):  # an unknown type, a place beyond any file
        raise _failed(path, "ends in the middle of its header, or the header is damaged", DOWNLOAD_AGAIN) from None
    architecture, kind = str(found.get("general.architecture", "")), found.get("general.type", "model")
    if kind != "model" or architecture == "clip":
        what = "a projector for images" if "clip" in (kind, architecture) or kind == "mmproj" else f"of the type {kind}"
        raise _failed(path, f"is {what}, not a language model", "Give the path of the model's own .gguf file.")
    if _NO_CHAT.fullmatch(architecture):
        raise _failed(path, "is a model for embeddings, which writes no text", "Give the path of a chat model.")
    trained = found.get(f"{architecture}.context_length")
    template = found.get("tokenizer.chat_template")
    return Gguf(
        path=path,
        size=sum(_sizes(path)),
        architecture=architecture,
        trained_tokens=trained if isinstance(trained, int) and trained > 0 else None,
        template=template if isinstance(template, str) else "",
        cache_per_token=_cache_per_token(found, architecture),
    )


def _sizes(path: Path) -> Iterator[int]:
    """The bytes of each part; raises ``ProviderError`` if ``path`` is not the first one, or one is missing."""
    match = _PART.search(path.name)
    if not match:
        yield path.stat().st_size
        return
    number, count = match.groups()
    stem = path.name[: match.start()]
    parts = [path.with_name(f"{stem}-{part:05}-of-{count}.gguf") for part in range(1, int(count) + 1)]
    if int(number) != 1:
        raise _failed(path, f"is part {int(number)} of {int(count)}", f"Give the first part: {parts[0].name}.")
    for part in parts:
        if not part.is_file():
            raise _failed(path, f"has {int(count)} parts, and {part.name} is missing", "Put all parts into its folder.")
        yield part.stat().st_size


def _cache_per_token(found: dict[str, Any], architecture: str) -> int | None:
    """2 · Σ over layers of key heads · (key length + value length); ``None`` where a layer keeps something else: a
    sliding window, a latent vector (DeepSeek), a recurrent state."""
    prefix = f"{architecture}."
    of = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    if any(name.startswith(("ssm.", "wkv.")) or "sliding_window" in name or "kv_lora" in name for name in of):
        return None
    layers, heads, wide = (of.get(name) for name in ("block_count", "attention.head_count", "embedding_length"))
    if not (isinstance(layers, int) and isinstance(heads, int) and isinstance(wide, int) and heads):
        return None
    kept = of.get("attention.head_count_kv", heads)
    in_all = sum(kept) if isinstance(kept, list) else kept * layers if isinstance(kept, int) else 0
    lengths = [of.get(f"attention.{name}_length", wide // heads) for name in ("key", "value")]
    return CACHE_BYTES * in_all * sum(lengths) or None


def _metadata(path: Path, size: int) -> dict[str, Any]:
    """The header's keys and values, without long arrays."""
    if size < 24:
        raise _failed(path, "is not a GGUF file", DOWNLOAD_AGAIN)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise _failed(path, "is not a GGUF file", "Give the path of a model in the GGUF format (llama.cpp's).")
        version, _tensors, keys = struct.unpack_from("<IQQ", data, 4)
        if version not in _VERSIONS:
            kind = f"of version {version}" if version < 1 << 16 else "big-endian"
            remedy = "Get the model in version 3 of the format, little-endian."
            raise _failed(path, f"is a GGUF file that is {kind}", remedy)
        if keys > MOST_KEYS:
            raise struct.error
        reader = _Reader(data, 24)
        return {reader.text(): reader.value() for _ in range(keys)}


class _Reader:
    """Values of the header, one after the other."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self._data = data
        self._place = place

    def text(self) -> str:
        start = self._skip_text()
        return self._data[start : self._place].decode(errors="replace")

    def value(self) -> Any:
        """The next value; None for a long array and for one of texts."""
        kind = self._number("I")
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            return self._number(_FORMATS[kind])
        inner, count = self._number("I"), self._number("Q")
        if inner == _TEXT:
            for _ in range(count):
                self._skip_text()
        elif count > MOST_ITEMS:
            self._place += count * struct.calcsize(_FORMATS[inner])
        else:
            return [self._number(_FORMATS[inner]) for _ in range(count)]
        return None

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._data, self._place)
        self._place += struct.calcsize(form)
        return value

    def _skip_text(self) -> int:
        """Go behind the next text; returns where it begins."""
        start = self._place + 8
        self._place = start + self._number("Q")
        if self._place > len(self._data):
            raise struct.error
        return start


def _failed(path: Path, what: str, remedy: str) -> ProviderError:
    return ProviderError(Failure("bad_request", f"{path.name} {what}.", remedy))
