"""What a person does in the chat, as one object: the page's routes and the named endpoints share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine import Engine
from .estimates import Estimates
from .prompt_settings import PromptSettings
from .prompts import Prompts
from .pulls import Pulls
from .spending import Spending
from .token_counts import TokenCounts
from .uploads import Uploads

if TYPE_CHECKING:
    from ..log.reader import LogReader
    from ..providers.roster import Roster


class ChatServices:
    """The services over one engine, log and roster. ``budget_usd``: see ``Spending``."""

    def __init__(
        self, engine: Engine, reader: LogReader | None, roster: Roster, budget_usd: float | None = None
    ) -> None:
        self.counts = TokenCounts()
        self.uploads = Uploads()
        self.pulls = Pulls(roster)
        self.settings = PromptSettings(engine.log, reader)
        self.estimates = Estimates(engine, reader, self.counts)
        self.spending = Spending(engine, reader, self.estimates, budget_usd)
        self.prompts = Prompts(engine, self.uploads, self.settings, self.estimates, self.spending)
