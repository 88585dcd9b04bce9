"""Where the page's scripts, style sheets and example turns are on disk."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"
