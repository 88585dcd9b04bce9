"""The ways to run code that a model wrote: native isolation on Linux, WebAssembly, and, only if asked for, none.

A backend runs one harness (``box/calls.py`` or ``box/queries.py``) on one request and returns what it emitted. What is
expected never goes in, so nothing in the box can forge a verdict. A backend that cannot run raises ``Unavailable``.
"""

from __future__ import annotations

import json
import math
import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

BOX = Path(__file__).parent / "box"
CALLS, QUERIES = "calls.py", "queries.py"
MEMORY = 512 << 20
WASM_MEMORY = 256 << 20
FILE = 10 << 20
NOBODY = 65534
OUTPUT = 1 << 20
START_S = 10.0  # for the interpreter to start, on a loaded machine; beside the time limit of the code
BWRAP_FIXED = (0, 12)  # CVE-2026-87766: a symlink could lead the set-up astray
Frame = dict[str, Any]


class Unavailable(Exception):
    """The backend cannot run here. The message is the reason, without a full stop."""


class Outcome(NamedTuple):
    """What came out of the box.

    ``results`` by the number of the call or database, the first of each; ``defined``: the frame of the code itself.
    ``end``: "done" | "time_limit" | "output" (more than ``OUTPUT`` bytes) | "died"; ``detail`` says more of "died".
    """

    defined: Frame | None
    results: dict[int, Frame]
    end: str
    seconds: float
    detail: str = ""


class Backend(Protocol):
    """One way to run code. ``name`` and ``version`` are stored with each verdict."""

    name: str
    version: str

    def run(self, harness: str, request: Frame, wall_s: float) -> Outcome:
        """Run the request, for at most ``wall_s`` seconds. Raises ``Unavailable``."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


@cache
def source(harness: str) -> str:
    return (BOX / harness).read_text(encoding="utf-8")


def outcome(output: bytes, nonce: str, end: str, seconds: float, detail: str = "") -> Outcome:
    """Read the lines of a harness. Lines that are not its own are dropped."""
    defined: Frame | None = None
    results: dict[int, Frame] = {}
    for line in output[:OUTPUT].splitlines():
        try:
            frame = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(frame, dict) or frame.get("nonce") != nonce:
            continue
        number = frame.get("i")
        if number is None:
            defined = defined or frame
        elif type(number) is int:
            results.setdefault(number, frame)
    return Outcome(defined, results, end, seconds, detail)


class _OneProcess:
    """A backend with a new process for each request."""

    def _once(self, command: list[str], job: Frame, wall_s: float) -> Outcome:
        nonce = secrets.token_hex(8)
        job["request"] = {**job["request"], "nonce": nonce}
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/" if os.name == "posix" else None,
            start_new_session=True,
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        output = bytearray()
        reader = threading.Thread(target=_collect, args=(process.stdout, output), daemon=True)
        reader.start()
        end = "done"
        try:
            with process.stdin as stdin:
                stdin.write(json.dumps(job).encode())
        except OSError:
            end = "died"
        reader.join(wall_s)
        seconds = time.monotonic() - started
        if len(output) > OUTPUT:
            end = "output"
        elif reader.is_alive():
            end = "time_limit"
        if end != "done":
            _kill(process)
        code = process.wait()
        reader.join()
        said = process.stderr.read(2000).decode("utf-8", "replace").strip()
        process.stdout.close()
        process.stderr.close()
        if code == 70:  # box/isolation.py: nothing was run
            raise Unavailable(said or "the isolation cannot be set up")
        if end == "done" and code in (-signal.SIGXCPU, 256 - signal.SIGXCPU, -signal.SIGKILL, 256 - signal.SIGKILL):
            end = "time_limit" if seconds > 0.8 * wall_s else "died"
        elif end == "done" and code:
            end = "died"
        return outcome(bytes(output), nonce, end, seconds, "" if end == "done" else f"exit code {code}")

    def close(self) -> None:
        pass


def _collect(pipe: IO[bytes], output: bytearray) -> None:
    while len(output) <= OUTPUT and (data := pipe.read1(65536)):  # type: ignore[attr-defined]
        output += data


def _kill(process: subprocess.Popen[Any]) -> None:
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.kill()


class Native(_OneProcess):
    """Namespaces, Landlock, seccomp and limits of the Linux kernel; the namespaces from bubblewrap or our own."""

    def __init__(self, bwrap: str | None = None, user_namespace: bool | None = None) -> None:
        if sys.platform != "linux":
            raise Unavailable("the native sandbox needs Linux")
        self.name = "bwrap" if bwrap else "unshare"
        self.version = bwrap_version(bwrap) if bwrap else os.uname().release
        self._bwrap = bwrap
        self._user_namespace = os.geteuid() != 0 if user_namespace is None else user_namespace
        base = os.path.realpath(sys.base_prefix)
        system = [folder for folder in ("/usr", "/lib", "/lib64") if Path(folder).exists()]
        self._readable = system if base == "/usr" else [*system, base]
        self._python = os.path.realpath(sys.executable)

    def run(self, harness: str, request: Frame, wall_s: float) -> Outcome:
        job: Frame = {
            "harness": source(harness),
            "request": request,
            "readable": self._readable,
            "memory": MEMORY,
            "file": FILE,
            "cpu_s": math.ceil(wall_s) + 1,
            "namespaces": not self._bwrap,
            "user_namespace": self._user_namespace,
        }
        python = [self._python, "-I", "-S", "-B", str(BOX / "isolation.py")]
        if self._bwrap:
            return self._once([self._bwrap, *self._bwrap_options(), "--", *python], job, wall_s)
        with tempfile.TemporaryDirectory(prefix="kimi-box-") as scratch:
            return self._once(python, {**job, "scratch": os.path.realpath(scratch)}, wall_s)

    def _bwrap_options(self) -> list[str]:
        options = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
        options += ["--uid", str(NOBODY), "--gid", str(NOBODY)]
        for folder in self._readable:
            link = Path(folder).is_symlink()
            options += ["--symlink", str(Path(folder).readlink()), folder] if link else ["--ro-bind", folder, folder]
        options += ["--dev", "/dev", "--ro-bind", str(BOX), str(BOX), "--size", str(FILE), "--tmpfs", "/box"]
        return options


def bwrap_version(program: str) -> str:
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)\.(\d+)[.\d]*", found.stdout)
    return match[0] if match else ""


def system_bwrap() -> str | None:
    """The system's bubblewrap, if it has the fix of ``BWRAP_FIXED``."""
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        return None
    numbers = re.findall(r"\d+", bwrap_version(program))
    return program if tuple(map(int, numbers[:2])) >= BWRAP_FIXED else None


class Wasm:
    """CPython in WebAssembly (``pyeryx``), in a child process that serves several requests, one after the other."""

    name = "wasm"

    def __init__(self, python: str | None = None) -> None:
        self._python = python or wasm_python()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self.version = ""
        with self._lock:
            self._start()

    def _start(self) -> None:
        self._lines = queue.Queue()
        self._child = subprocess.Popen(
            [self._python, "-I", "-B", str(BOX / "wasm.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={},
            start_new_session=True,
        )
        assert self._child.stdout
        threading.Thread(target=_lines_into, args=(self._child.stdout, self._lines), daemon=True).start()
        try:
            self.version = json.loads(self._lines.get(timeout=START_S))["ready"]
        except (queue.Empty, ValueError):
            self._stop()
            raise Unavailable("pyeryx does not start") from None

    def _stop(self) -> None:
        if self._child is not None:
            _kill(self._child)
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                try:
                    pipe.close()  # type: ignore[union-attr]
                except OSError:
                    pass  # what could not be written any more
            self._child = None

    def run(self, harness: str, request: Frame, wall_s: float) -> Outcome:
        nonce = secrets.token_hex(8)
        job = {
            "harness": source(harness),
            "request": {**request, "nonce": nonce},
            "memory": WASM_MEMORY,
            "wall_ms": int(wall_s * 1000),
            "output": OUTPUT,
        }
        with self._lock:
            if self._child is None:
                self._start()
            assert self._child is not None
            assert self._child.stdin
            started = time.monotonic()
            end, detail, output = "died", "", ""
            try:
                self._child.stdin.write(json.dumps(job) + "\n")
                self._child.stdin.flush()
                while line := self._lines.get(timeout=max(0.1, started + wall_s + 1 - time.monotonic())):
                    if line.startswith('{"end"'):
                        end = json.loads(line)["end"]
                        break
                    output += line
            except queue.Empty:
                end = "time_limit"
            except OSError:
                pass  # the child ended; the end says so
            if end not in ("done", "time_limit", "output"):
                end, detail = "died", end
            if end != "done":
                self._stop()
        return outcome(output.encode(), nonce, end, time.monotonic() - started, detail)

    def close(self) -> None:
        with self._lock:
            self._stop()


def _lines_into(pipe: IO[str], lines: queue.Queue[str]) -> None:
    try:
        for line in pipe:
            lines.put(line)
    except (OSError, ValueError):
        pass
    lines.put("")  # ended


@cache
def wasm_python() -> str:
    """An interpreter ≥ 3.12 that has ``pyeryx``. Raises ``Unavailable``, which says what was found."""
    newest = sys.version_info >= (3, 12)
    candidates = [sys.executable] if newest else []
    candidates += [found for minor in (14, 13, 12) if (found := shutil.which(f"python3.{minor}"))]
    named = os.environ.get("KIMI_UI_WASM_PYTHON")
    for python in [named] if named else candidates:
        test = "import sys, eryx; assert sys.version_info >= (3, 12)"
        try:
            subprocess.run([python, "-I", "-c", test], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    if not candidates and not named:
        raise Unavailable("the WebAssembly sandbox needs Python 3.12 or newer, which was not found")
    raise Unavailable('Python 3.12 or newer was found, without the package of the extra "sandbox" (pyeryx)')


class Unprotected(_OneProcess):
    """A child process with limits and no isolation. Only where the person asked for it."""

    name = "process"
    version = ""

    def run(self, harness: str, request: Frame, wall_s: float) -> Outcome:
        job: Frame = {"harness": source(harness), "request": request, "memory": MEMORY, "cpu_s": math.ceil(wall_s) + 1}
        return self._once([sys.executable, "-I", "-S", "-B", str(BOX / "unprotected.py")], job, wall_s)
