"""The command line: thin over the engine, the log, the roster and the page. Exit 0 only if the job was done.

0: done · 1: tried, and something failed · 2: could not be tried (options, configuration) · 130: interrupted.
Errors go to stderr in one sentence with the remedy; results go to stdout.
"""

from .main import main

__all__ = ["main"]
