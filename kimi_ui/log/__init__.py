"""The log: SQLite, written by one thread. Everything that happened is here, and nothing else is the truth of it.

Tables that are not a turn's own are made by the modules that know them; importing those here registers their
migrations.
"""

from . import budgets as budgets
from . import conversation_settings as conversation_settings
from . import measured as measured
from . import search_schema as search_schema
from . import spent as spent
from . import votes as votes
