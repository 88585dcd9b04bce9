"""How heavy makes one answer of several. A further strategy is one file here and one line in ``STRATEGIES``."""

from .base import Strategy
from .majority import MAJORITY
from .pick import PICK
from .synthesize import SYNTHESIZE

STRATEGIES: dict[str, Strategy] = {one.name: one for one in (SYNTHESIZE, PICK, MAJORITY)}
DEFAULT = SYNTHESIZE.name

__all__ = ["DEFAULT", "STRATEGIES", "Strategy"]
