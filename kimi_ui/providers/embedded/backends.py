"""The backends of this process: one for the stand-in's model, and one for each GGUF file of a lane with its context."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .backend import EmbeddedBackend
from .own_model import OwnModel
from .weights import WeightsStore


class Own(NamedTuple):
    """A GGUF file and how it is served; lanes that are equal in it share a process."""

    path: str
    num_ctx: int
    parallel: int


class Backends:
    """Makes each backend once. ``stand_in``: the backend of the stand-in's model."""

    def __init__(self, stand_in: EmbeddedBackend | None = None) -> None:
        self.stand_in = stand_in or EmbeddedBackend(WeightsStore())
        self._own: dict[Own, EmbeddedBackend] = {}
        self._lock = threading.Lock()

    def of(self, own: Own | None) -> EmbeddedBackend:
        """The backend of a file; None: of the stand-in's model."""
        if own is None:
            return self.stand_in
        with self._lock:
            if own not in self._own:
                self._own[own] = EmbeddedBackend(OwnModel(Path(own.path), own.num_ctx, own.parallel))
            return self._own[own]

    def keep(self, wanted: Iterable[Own | None]) -> None:
        """Say of which models there are lanes now: the processes of the others end when no request uses them."""
        kept = set(wanted)
        with self._lock:
            backends = [(None, self.stand_in), *self._own.items()]
        for key, backend in backends:
            backend.keep(key in kept)

    def close(self) -> None:
        """End all processes. The backends cannot be used afterwards."""
        with self._lock:
            own = [*self._own.values()]
        for backend in (self.stand_in, *own):
            backend.close()
