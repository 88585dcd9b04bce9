"""``python -m kimi_ui COMMAND``, or ``kimi-ui COMMAND`` once installed.

Checks the Python version and the installed packages first, and names what is missing in one sentence.
This file must run on any Python 3, so that the sentence about the version is printed.
"""

import sys

OLDEST = (3, 11)


def start(arguments: "list[str]") -> int:
    """Run the command line and return its exit code; 2 if Python is too old or a package is missing.

    Ctrl-C gives exit code 130 even while the command line is still loading.
    """
    if sys.version_info < OLDEST:
        have, need = ("{}.{}".format(*version) for version in (sys.version_info, OLDEST))
        sys.stderr.write("Kimi UI needs Python " + need + " or later, this is " + have + "; install a newer Python.\n")
        return 2
    try:
        from kimi_ui.cli import main
    except KeyboardInterrupt:
        return 130  # as in ``cli.interrupt``
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
    """The entry point ``kimi-ui`` of the installed package."""
    return start(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(command())
