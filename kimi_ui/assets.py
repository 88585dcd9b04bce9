"""Where the page's scripts, style sheets and example turns are on disk: in the checkout or in the installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_assets"  # where the wheel puts the checkout's top-level folder (pyproject.toml)

ASSETS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "assets"
