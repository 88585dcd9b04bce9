"""Recorded turns that ship with the app: real runs of the embedded model, replayed without a model.

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
    """Maps each example's name to its title, in display order."""
    return {path.stem: json.loads(path.read_bytes())["title"] for path in sorted(EXAMPLES.glob("*.json"))}


@cache
def read_example(name: str) -> TurnLog:
    """The turn of an example; ``name`` is a key of ``example_names``. Raises ``NotAnExport`` for a damaged file."""
    return import_turns(json.loads((EXAMPLES / f"{name}.json").read_bytes()))[0]
