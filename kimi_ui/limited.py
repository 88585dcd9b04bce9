"""Runs a script in a child process with limits of CPU time and memory, which what it reads may try to exceed.

The child is this file, which sets the limits and then becomes the script. It sees no module of this package and no
folder of the person's (``-I``). Where the system has no such limits (Windows; macOS has none of memory) only the
parent's deadline is left.
"""

import runpy
import sys
from pathlib import Path


def command(script: Path, cpu_s: int, memory: int, *arguments: object) -> tuple[str, ...]:
    """What starts the script. ``cpu_s``: seconds of CPU time in all; ``memory``: bytes of addresses."""
    return (sys.executable, "-I", __file__, str(cpu_s), str(memory), str(script), *map(str, arguments))


def limit(cpu_s: int, memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(what, (value, value))
        except (ValueError, OSError):
            pass  # macOS has no limit of addresses


def main() -> None:
    cpu_s, memory, *sys.argv = sys.argv[1:]
    limit(int(cpu_s), int(memory))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
