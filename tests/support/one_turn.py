"""Send one prompt to one lane and wait forever: a process to be killed.

python -m tests.support.one_turn DATABASE URL MODEL   prints the turn's id once text is flowing
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from kimi_ui.core.events import Answer, Reasoning
from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible

from .engine_run import running
from .waiting import until


def main() -> None:
    database, url, model = sys.argv[1:]
    lane = OpenAICompatible(LaneSpec("a", "A", "openai", model=model, base_url=url))
    with running(Path(database), lane) as run:
        turn = run.engine.send("hello")
        until(lambda: sum(isinstance(entry.event, Reasoning | Answer) for entry in turn.entries) > 20)
        until(lambda: run.reader.turn(turn.turn_id) and len(run.reader.turn(turn.turn_id).entries) > 20)
        print(turn.turn_id, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
