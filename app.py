"""Kimi UI: ``python app.py`` opens the page; the same as ``python -m kimi_ui serve``."""

import sys

from kimi_ui.__main__ import start

if __name__ == "__main__":
    sys.exit(start(["serve", *sys.argv[1:]]))
