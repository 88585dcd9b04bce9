"""Run floods through provider, engine and log in a separate process; prints its growth in bytes, as JSON.

python -m tests.support.flood DATABASE URL SCENARIO…   (no reader follows the turns: the slowest reader possible)
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from kimi_ui.core.lane import LaneSpec
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible

from .engine_run import running


def main() -> None:
    database, url, *names = sys.argv[1:]
    lanes = [OpenAICompatible(LaneSpec(name, name, "openai", model=f"scenario-{name}", base_url=url)) for name in names]
    grown: dict[str, int] = {}
    status: dict[str, str] = {}
    with running(Path(database), *lanes, max_retries=0) as run:
        for name in names:  # the first one is an ordinary answer, the baseline
            turn = run.engine.send("hello", lanes=[name])
            status[name] = run.rows(turn)[name][-1]["status"]
            grown[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    first = grown[names[0]]
    print(json.dumps({"grown_bytes": {name: size - first for name, size in grown.items()}, "status": status}))


if __name__ == "__main__":
    main()
