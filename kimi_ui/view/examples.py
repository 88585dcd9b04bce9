"""The recorded turns that come with the app: real runs of the embedded model, to be watched without any model.

Each is a JSON export (``core.portable``) beside the assets.
"""

from __future__ import annotations

import json
from functools import cache

from ..assets import ASSETS
from ..core.portable import import_turns
from ..core.turn import TurnLog

EXAMPLES = ASSETS / "examples"


@cache
def example_names() -> dict[str, str]:
    """Each example's name and title, in the order they are offered."""
    return {path.stem: json.loads(path.read_bytes())["title"] for path in sorted(EXAMPLES.glob("*.json"))}


@cache
def read_example(name: str) -> TurnLog:
    """The turn of an example; ``name`` as in ``example_names``. Raises ``NotAnExport`` for a damaged file."""
    return import_turns(json.loads((EXAMPLES / f"{name}.json").read_bytes()))[0]
