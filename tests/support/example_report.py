"""Makes the example of a benchmark report that is shipped, from the newest run of a log.

    python -m kimi_ui bench --full --epochs 1 --lane plan --lane direct --lanes LANES --db LOG
    python -m tests.support.example_report LOG

LANES has two lanes of the embedded model: ``params = { max_tokens = 220 }`` in both, ``think = false`` in ``direct``.
Most texts are left out, so that the file stays small; the label says so.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from kimi_ui.bench import records, suite
from kimi_ui.bench.report import report, texts_of
from kimi_ui.bench.report.texts import Text, Texts
from kimi_ui.bench.results import Run
from kimi_ui.bench.summary import summarise
from kimi_ui.log.reader import LogReader

TARGET = Path(__file__).resolve().parents[2] / "kimi_ui" / "bench" / "example.html"
MOST_BYTES = 300_000
SHOWN = 600  # characters of a text
LABEL = (
    "This file shows what a report looks like and says nothing about Kimi: both lanes are the embedded stand-in model "
    "(SmolLM2, 135 million parameters), which is far too small for these cases, on two busy cores."
)


def label(run: Run) -> str:
    """What the file is, in sentences."""
    missing = sum(sample.outcome == "not-run" for sample in run.samples)
    part = f" The run ended with {missing} of {len(run.samples)} answers still to come." if missing else ""
    return f"{LABEL}{part} Only the {len(suite.QUICK)} cases of the quick size have their texts here."


def made(reader: LogReader) -> str:
    """The example from the newest run."""
    run = records.load(reader, records.find(reader, "last"))
    ids = {id for one in run.samples if one.case in suite.QUICK for id in (one.turn_id, one.attempt_id)}
    texts = Texts(*({id: _short(text) for id, text in part.items() if id in ids} for part in texts_of(reader, run)))
    html = report(summarise(run), "html", texts)
    html = re.sub(r' data-turn="\w+"', "", re.sub(r">\s*\n\s*<", "><", html))
    before, lines, after = html.partition("<dl>")  # of what the run shows
    assert lines
    return f'{before}{lines}<div data-kind="warning"><dt>An example</dt><dd>{label(run)}</dd></div>{after}'


def _short(text: Text) -> Text:
    return Text(text.text[:SHOWN], text.n_chars)


def main() -> None:
    html = made(LogReader(Path(sys.argv[1])))
    TARGET.write_text(html, encoding="utf-8")
    print(f"{TARGET.name}: {len(html.encode()):,} bytes")
    assert len(html.encode()) < MOST_BYTES


if __name__ == "__main__":
    main()
