"""The prompts of aggregations: asset files, and files of the user's own."""

from __future__ import annotations

from pathlib import Path

from ...assets import ASSETS
from ...core.events import Failure
from ...core.heavy.fence import PLACE
from ...core.heavy.options import PROMPT_NAME
from ..base import ProviderError

FOLDER = ASSETS / "heavy" / "prompts"
MAX_CHARS = 20_000


def shipped(strategy: str) -> list[str]:
    """The names of the shipped prompts of a strategy: its own first, then those that begin with its name."""
    others = sorted(path.stem for path in FOLDER.glob(f"{strategy}-*.md"))
    return [strategy, *others] if (FOLDER / f"{strategy}.md").is_file() else others


def prompt_of(strategy: str, name: str) -> str:
    """The text of a prompt: a shipped one by its name, or a file by its path; the strategy's own for an empty name.

    Raises ``ProviderError`` if there is no such file, it is shipped for another strategy, or it has no place for the
    candidates.
    """
    name = name or strategy
    is_name = bool(PROMPT_NAME.fullmatch(name))
    path = FOLDER / f"{name}.md" if is_name else Path(name).expanduser()
    try:
        if is_name and name not in shipped(strategy):
            raise FileNotFoundError(name)
        text = path.read_text(encoding="utf-8")[:MAX_CHARS]
    except (OSError, ValueError):
        names = " or ".join(shipped(strategy))
        raise ProviderError(
            Failure(
                "bad_request",
                f"The prompt {name!r} for heavy's strategy {strategy} cannot be read.",
                f"Set prompt to {names}, or to the path of a UTF-8 text file.",
            )
        ) from None
    if PLACE not in text:
        raise ProviderError(
            Failure(
                "bad_request",
                f"The prompt {name!r} for heavy's aggregation has no place for the candidates.",
                f"Write {PLACE} where they belong, with the task after it.",
            )
        )
    return text
