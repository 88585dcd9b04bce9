"""GGUF files for tests: a header made of given keys, and a real model with another chat template."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

ALIGNMENT = 32  # of the weights behind the header, where the file says nothing
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def header(version: int = 3, **keys: Any) -> bytes:
    """A file without weights. ``__`` in a name stands for a dot; values are int, str, or lists of one of them."""
    pairs = b"".join(_text(name.replace("__", ".")) + _value(value) for name, value in keys.items())
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(keys)) + pairs


def with_template(source: Path, target: Path, template: str) -> None:
    """A copy of a model whose chat template is this one."""
    data = source.read_bytes()
    tensors, keys = struct.unpack_from("<QQ", data, 8)
    place, pairs = 24, []
    for _ in range(keys):
        start = place
        name, place = _read_text(data, place)
        place = _behind(data, place)
        pairs.append(_text(name) + _value(template) if name == "tokenizer.chat_template" else data[start:place])
    infos = place
    for _ in range(tensors):
        _, place = _read_text(data, place)
        (dimensions,) = struct.unpack_from("<I", data, place)
        place += 4 + 8 * dimensions + 4 + 8
    head = data[:24] + b"".join(pairs) + data[infos:place]
    target.write_bytes(head + bytes(-len(head) % ALIGNMENT) + data[place + -place % ALIGNMENT :])


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        kind = 8 if isinstance(value[0], str) else 4
        items = (_text(item) if kind == 8 else struct.pack("<I", item) for item in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)
    return struct.pack("<II", 4, value)


def _read_text(data: bytes, place: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, place)
    return data[place + 8 : place + 8 + length].decode(), place + 8 + length


def _behind(data: bytes, place: int) -> int:
    """Where the value that begins at ``place`` with its type ends."""
    (kind,) = struct.unpack_from("<I", data, place)
    place += 4
    if kind == 8:
        return _read_text(data, place)[1]
    if kind != 9:
        return place + _SIZES[kind]
    inner, count = struct.unpack_from("<IQ", data, place)
    place += 12
    if inner != 8:
        return place + count * _SIZES[inner]
    for _ in range(count):
        place = _read_text(data, place)[1]
    return place
