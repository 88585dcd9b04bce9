"""Completing what processes that are gone left open: attempts, with their stored text, and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice

from ..core.attempt import AttemptFold
from .records import final_ops, whole_events
from .spill import BATCH_OPS
from .store import Rows, Store, Transaction

BENCHMARK_INTERRUPTED = "Its process ended before the run did."


def sweep(store: Store, log: Rows, is_running: Callable[[str], bool]) -> None:
    """End as ``interrupted`` what processes left open that are not running. Raises ``CannotWrite``.

    Should one of them run all the same, its own final row replaces this one.
    """
    unfinished = """
        SELECT boot_id FROM attempts WHERE status = 'open'
        UNION SELECT boot_id FROM benchmarks WHERE state = 'running'
    """
    for (boot_id,) in list(log.rows(unfinished)):
        if is_running(boot_id):
            continue
        store.change(partial(_interrupt_benchmarks, boot_id=boot_id))
        query = "SELECT attempt_id FROM attempts WHERE status = 'open' AND boot_id = :boot_id"
        left_open = list(log.rows(query, boot_id=boot_id))
        finals = (op for (id,) in left_open for op in final_ops(id, _stored_fold(log, id), status="interrupted"))
        while batch := list(islice(finals, BATCH_OPS)):
            store.write(batch)


def _stored_fold(log: Rows, attempt_id: str) -> AttemptFold:
    """What the stored events of an attempt add up to."""
    fold = AttemptFold()
    for (payload,) in log.rows("SELECT payload FROM events WHERE attempt_id = :id ORDER BY seq", id=attempt_id):
        for t_ns, event in whole_events(payload):
            fold.apply(t_ns, event)
    return fold


def _interrupt_benchmarks(log: Transaction, boot_id: str) -> set[str]:
    log.execute(
        """
        UPDATE benchmarks SET state = 'interrupted', state_reason = :reason
        WHERE state = 'running' AND boot_id = :boot_id
        """,
        reason=BENCHMARK_INTERRUPTED,
        boot_id=boot_id,
    )
    return set()
