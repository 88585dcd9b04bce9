"""The command line: a thin layer over the engine, the log, the roster and the page.

Exit codes: 0 success · 1 something failed · 2 invalid options or configuration · 130 interrupted.
Errors go to stderr, as one sentence with the remedy; results go to stdout.
"""

from .main import main

__all__ = ["main"]
