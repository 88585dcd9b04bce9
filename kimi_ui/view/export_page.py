"""Turns as one self-contained HTML page with their replay. It opens from a file and makes no network requests.

The page runs the scripts of the app (``bundle``) on replay documents (``replay``), embedded as JSON. Its
Content-Security-Policy allows only these scripts, by their hash, and no requests. Model text enters the page as in the
app: as text, or as HTML that passed the allow-list. The JSON contains no ``<``, so it cannot close its element.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from ..assets import ASSETS
from ..core.attachments import split
from ..core.turn import TurnLog
from .bundle import bundle_scripts, bundle_styles
from .frames import dumps
from .heavy_worth import worth_of
from .jinja import render
from .lane_colours import accent_css
from .replay import replay_document

STYLES = (
    *("page", "lane/lane", "heavy/heavy", "turn/turn", "turn/race", "turn/verdict", "lane/markdown", "lane/highlight"),
    *("turn/replay", "base/thumbnail", "standalone", "base/print"),
)

# Modules that need a server, and their replacements.
_ABSENT = {
    "base/bus.js": "export const chat = null;",
    "composer/composer.js": "export const composer = () => null;",
    "compare/compare.js": "export const openCompare = () => {};",
    "lane/pull.js": "export const PullCard = null;",
    "base/export_menu.js": "export const exportMenu = () => null;",
}


def page_of(turns: Sequence[TurnLog], title: str, *, reasoning: bool = True, note: str = "") -> str:
    """The page; ``reasoning`` False omits all reasoning text but keeps its times. ``note`` stands below the title
    (empty: when the turns are from and that they were saved)."""
    styles = f"{accent_css()}\n{bundle_styles(ASSETS, STYLES)}"
    if not reasoning:
        styles += "\n.kimi .reasoning { display: none; }"
    script = bundle_scripts(ASSETS, ["standalone.js"], _ABSENT)
    images = "data:" if any(turn.images for turn in turns) else "'none'"
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(styles)}; "
        f"base-uri 'none'; form-action 'none'; frame-src 'none'; connect-src 'none'; img-src {images}"
    )
    replays = [replay_document(turn, reasoning=reasoning) for turn in turns]
    for turn, replay in zip(turns, replays, strict=True):
        for image, shown in zip(turn.images, replay["turn"]["images"], strict=True):
            shown["src"] = image.data_url
    return render(
        "export",
        policy=policy,
        title=title,
        note=note or _note(turns, reasoning),
        styles=styles,
        script=script,
        data=_json({"replays": replays, "routes": _routes(turns)}),
    )


def _note(turns: Sequence[TurnLog], reasoning: bool) -> str:
    day = turns[0].started_at_utc[:10]
    n_turns = f"{len(turns)} turn{'s' if len(turns) > 1 else ''}"
    return f"{n_turns} of {day}, saved from Kimi UI{'' if reasoning else ' without the reasoning'}."


def _routes(turns: Sequence[TurnLog]) -> dict[str, str]:
    """Maps the URLs that the scripts would request to the embedded JSON."""
    routes: dict[str, str] = {}
    for turn in turns:
        attachments = split(turn.prompt).attachments
        if attachments:
            routes[f"/kimi/turns/{turn.turn_id}/prompt"] = turn.prompt
        for place, attachment in enumerate(attachments):
            routes[f"/kimi/turns/{turn.turn_id}/attachments/{place}"] = attachment.text
        routes[f"/kimi/turns/{turn.turn_id}/worth"] = dumps([one._asdict() for one in worth_of(turn)]).decode()
    return routes


def _json(value: Any) -> str:
    """JSON for a script element, without ``<``, so that it contains neither ``</script>`` nor ``<!--``."""
    return dumps(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
