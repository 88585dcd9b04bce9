"""Run harnesses in CPython compiled to WebAssembly. Executed as a script by a Python ≥ 3.12 that has ``pyeryx``.

One line of JSON on standard input is one job: ``harness``, ``request``, ``memory`` (bytes) and ``wall_ms``. Each job
has a new interpreter that sees no file, no network, no process and none of the environment. What the harness emits is
written line by line to standard output, then ``{"end": how}``. The first line written says that the runtime is ready.
"""

import json
import os
import sys
import tempfile

RUNTIME = os.path.join(tempfile.gettempdir(), "eryx-embedded")  # where pyeryx unpacks its standard library
FRAME = "\x1e"  # starts a line of the harness in the interpreter's output; the nonce in it makes it ours

PROGRAM = """
import json as _json, sys as _sys
_out = _sys.stdout
def _emit(value):
    _out.write("\\n" + {frame!r} + _json.dumps(value) + "\\n")
class _Nothing:
    def write(self, text): return len(text)
    def flush(self): pass
_job = _json.loads({job!r})
_sys.stdout = _sys.stderr = _Nothing()
_scope = {{"__name__": "harness"}}
exec(compile(_job["harness"], "<harness>", "exec"), _scope)
_scope["answer"](_job["request"], _emit)
"""


def limit() -> None:
    """Bounds for the process itself. WebAssembly reserves far more addresses than it uses, so these are not limited."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(what, (value, value))
    if sys.platform == "linux":
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import isolation

        try:
            isolation.restrict_files([RUNTIME], [])  # a second wall, around the process that holds the interpreter
        except OSError:
            pass  # a kernel without Landlock


def main() -> None:
    import eryx

    def say(value: object) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    limits = eryx.ResourceLimits(execution_timeout_ms=5000, max_memory_bytes=256 << 20)
    eryx.Sandbox(resource_limits=limits).execute("1")  # compiles the runtime, once
    limit()
    say({"ready": getattr(eryx, "__version__", "")})
    for line in sys.stdin:
        job = json.loads(line)
        limits = eryx.ResourceLimits(execution_timeout_ms=job["wall_ms"], max_memory_bytes=job["memory"])
        text = json.dumps({"harness": job["harness"], "request": job["request"]})
        end = "done"
        try:
            output = eryx.Sandbox(resource_limits=limits).execute(PROGRAM.format(frame=FRAME, job=text)).stdout
        except eryx.TimeoutError:
            output, end = "", "time_limit"
        except Exception as error:
            output, end = "", f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}"
        output = output.decode("utf-8", "replace") if isinstance(output, bytes) else output
        if len(output) > job["output"]:
            output, end = "", "output"
        for found in output.split("\n"):
            if found.startswith(FRAME):
                sys.stdout.write(found[1:] + "\n")
        say({"end": end})


if __name__ == "__main__":
    main()
