"""Run a harness with limits of memory and time only. Executed as a script, where the person asked for it.

Input and output as in ``isolation.py``. The code can do whatever the user can: every result is stamped ``unsandboxed``.
"""

import json
import os
import sys


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    try:
        import resource

        for what, value in (
            (resource.RLIMIT_AS, job["memory"]),
            (resource.RLIMIT_CPU, job["cpu_s"]),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(what, (value, value))
    except (ImportError, ValueError, OSError):  # Windows; macOS has no limit of addresses
        pass
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)

    def emit(value: object) -> None:
        os.write(out, (json.dumps(value) + "\n").encode())

    scope: dict[str, object] = {"__name__": "harness"}
    exec(compile(job["harness"], "<harness>", "exec"), scope)
    answer = scope["answer"]
    assert callable(answer)
    answer(job["request"], emit)


if __name__ == "__main__":
    main()
