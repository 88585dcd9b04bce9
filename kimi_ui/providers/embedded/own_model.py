"""A person's own GGUF file as a model that a backend serves, and sentences for why it is not."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from ...core.events import Failure
from .backend import Progress, ServerSetup, threads
from .gguf import DOWNLOAD_AGAIN, Gguf, read

NUM_CTX = 16_384  # tokens of context where the lane says nothing; a thinking model needs them
PARALLEL = 1  # requests at a time where the lane says nothing: each has a context of its own
MOST_THREADS = 64

_ARCHITECTURE = re.compile(r"unknown model architecture: '([^']*)'")
_INCOMPLETE = re.compile(r".*(?:not within the file bounds|corrupted or incomplete|reached end of file|read error).*")
_MEMORY = re.compile(r"out of memory|bad_alloc|(?:failed|unable) to allocate|cannot allocate memory", re.IGNORECASE)
_KILLED = -9  # by the system, which has no other use for it here
LESS_MEMORY = "Close other programs, lower num_ctx or parallel in this lane, or take a smaller model."


class OwnModel:
    """The file at ``path``. ``num_ctx``: tokens of context of a request; ``parallel``: requests at a time."""

    def __init__(self, path: Path, num_ctx: int, parallel: int) -> None:
        self.path = path
        self.name = path.stem
        self.cancelled = threading.Event()
        self._num_ctx = num_ctx
        self._parallel = parallel

    def ensure(self, progress: Progress) -> Path:
        """Raises ``ProviderError`` where the file is missing or cannot be a language model."""
        return read(self.path).path

    def setup(self) -> ServerSetup:
        header = read(self.path)
        return ServerSetup(
            alias=self.name,
            slots=self._parallel,
            context_tokens=self.context_tokens(header) * self._parallel,
            is_shared=False,
            threads=threads(MOST_THREADS),
            needs_bytes=self._needs_bytes(header),
        )

    def context_tokens(self, header: Gguf) -> int:
        """Of a request: the lane's, at most what the model was trained for."""
        return min(self._num_ctx, header.trained_tokens or self._num_ctx)

    def _needs_bytes(self, header: Gguf) -> int:
        """Weights and, where it can be computed, the context; what else is needed is small beside them."""
        return header.size + (header.cache_per_token or 0) * self.context_tokens(header) * self._parallel

    def explained(self, words: str, exit_code: int | None, free_bytes: int | None) -> Failure | None:
        name = self.path.name
        if free_bytes is not None:
            needs = self._needs_bytes(read(self.path))
            sizes = f"{needs / 1e9:.1f} GB of memory with this context, and {free_bytes / 1e9:.1f} GB are free"
            message = f"{name} needs {sizes}."
            return Failure("backend_died", message, LESS_MEMORY)
        if match := _ARCHITECTURE.search(words):
            message = (
                f"{name} has the architecture {match[1]}, which this version of xllamacpp (llama.cpp) does not know."
            )
            remedy = "Update it, then start Kimi UI again:"
            return Failure("bad_request", message, remedy, "pip install --upgrade xllamacpp")
        if match := _INCOMPLETE.search(words):
            return Failure("bad_request", f"{name} is not complete, or it is damaged.", DOWNLOAD_AGAIN, detail=match[0])
        if _MEMORY.search(words) or exit_code == _KILLED:
            return Failure("backend_died", f"There was too little memory for {name}.", LESS_MEMORY)
        return None
