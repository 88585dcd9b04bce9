"""The Chat tab: the lanes, and the composer beneath them."""

from __future__ import annotations

from ..engine import Engine
from . import composer
from .chat_routes import ChatRoutes
from .lanes import lanes_view


def build(engine: Engine, routes: ChatRoutes) -> None:
    """Add the tab's components and events to the Blocks being built."""
    composer.build(engine, routes, lanes_view("lanes"))
