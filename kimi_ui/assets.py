"""The folder of the page's scripts, style sheets and example turns, in the checkout or in the installed package."""

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_assets"  # the checkout's ``assets`` in the wheel (see pyproject.toml)

ASSETS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "assets"


def math_font() -> Path:
    """The path of STIX Two Math (OFL), a font with a MATH table. Does not import the package that contains it."""
    package = find_spec("ziamath")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("ziamath is not installed; install what requirements.txt lists.")
    return Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
