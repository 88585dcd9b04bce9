"""``python -m kimi_ui COMMAND``, or ``kimi-ui COMMAND`` once installed.

Says in one sentence what is missing before anything can fail in a harder way.
This file must be readable by any Python 3, or the sentence about the version would never be seen.
"""

import sys

OLDEST = (3, 11)


def start(arguments: "list[str]") -> int:
    """Run the command line and return its exit code; 2 where Python or the installed packages are not enough.

    Ctrl-C has its exit code from the first moment on, while the command line is still being loaded.
    """
    if sys.version_info < OLDEST:
        have, need = ("{}.{}".format(*version) for version in (sys.version_info, OLDEST))
        sys.stderr.write("Kimi UI needs Python " + need + " or later, this is " + have + "; install a newer Python.\n")
        return 2
    try:
        from kimi_ui.cli import main
    except KeyboardInterrupt:
        return 130  # as after loading
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kimi_ui"):
            raise
        sys.stderr.write(
            "The package %s is not installed; run: %s -m pip install -r requirements.txt\n"  # noqa: UP031
            % (error.name, sys.executable)
        )
        return 2
    return main(arguments)


def command() -> int:
    """``kimi-ui``, as an installed package offers it."""
    return start(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(command())
