"""The sandbox for code that models write: which backend this machine has, and the self-test that chooses it.

A backend is used only after it has contained the core attacks here and now. A refusal is not remembered, so a person
who installs what was missing need not restart.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from .attacks import ATTACKS, CORE, attempt, attempt_together, honest, host
from .backends import START_S, Backend, Native, Unavailable, Unprotected, Wasm, system_bwrap

SELF_TEST_S = 0.3
HONEST = "honest"
ISOLATED, UNSANDBOXED, OFF = "isolated", "unsandboxed", "off"


class Stamp(NamedTuple):
    """Where a verdict on code comes from; time-outs of different backends are not comparable."""

    backend: str
    version: str
    level: str
    """isolated | unsandboxed | off"""


class Sandbox(NamedTuple):
    """The backend chosen. ``backend`` None: code is not run; ``reasons`` says why each one was refused."""

    backend: Backend | None
    stamp: Stamp
    reasons: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The choice in one sentence, with the remedy where there is none."""
        if self.backend is None:
            reasons = "; ".join(self.reasons)
            return (
                f'Coding cases are off: {reasons}. Install the extra "sandbox" under Python 3.12 or newer '
                "(pip install 'kimi-ui[sandbox]'), or allow code of models to run with your rights (--unsandboxed)."
            )
        if self.stamp.level == UNSANDBOXED:
            return (
                "Warning: code that a model wrote runs with all your rights, as you asked; each result is stamped so."
            )
        return f"Code runs in the sandbox {self.stamp.backend} {self.stamp.version}, which contained the core attacks."


def candidates() -> dict[str, Callable[[], Backend]]:
    """The isolating backends in order of preference, by name; each call may raise ``Unavailable``."""
    found: dict[str, Callable[[], Backend]] = {}
    if sys.platform == "linux":
        if program := system_bwrap():
            found["bwrap"] = lambda: Native(program)
        found["unshare"] = Native
    return {**found, "wasm": Wasm}


_chosen: Sandbox | None = None  # only ever one that passed its self-test


def choose(unsandboxed: bool = False, only: str | None = None) -> Sandbox:
    """The first backend that contains the core attacks; ``only``: no other than this one.

    ``unsandboxed``: where there is none, run code without isolation, because the person asked for it.
    """
    global _chosen
    if _chosen is not None and only in (None, _chosen.stamp.backend):
        return _chosen
    reasons = []
    for name, make in candidates().items():
        if only not in (None, name):
            continue
        try:
            backend = make()
            escaped = self_test(backend)
        except Unavailable as reason:
            reasons.append(f"{name}: {reason}")
            continue
        if escaped:
            backend.close()
            what = "an honest program does not run" if escaped == HONEST else f"did not contain “{escaped}”"
            reasons.append(f"{name}: {what}")
            continue
        _chosen = Sandbox(backend, Stamp(name, backend.version, ISOLATED))
        return _chosen
    if unsandboxed:
        return Sandbox(Unprotected(), Stamp("process", "", UNSANDBOXED), tuple(reasons))
    return Sandbox(None, Stamp("none", "", OFF), tuple(reasons))


def self_test(backend: Backend) -> str:
    """The name of the first core attack that was not contained, or ``HONEST`` if an honest program does not run, or "".

    It runs at each start, so it must be quick: attacks that end by themselves are made in one box, one after the other,
    and an honest program last; where that does not come to its end, each is made alone.
    """
    with host() as target:
        together = attempt_together(backend, [attack for attack in CORE if not attack.endless], target)
        for attack in CORE:
            alone = together is None or attack.endless
            wall_s = SELF_TEST_S if attack.endless else START_S
            if not (attempt(backend, attack, target, wall_s) if alone else together and together[attack.name]):
                return attack.name
    return "" if together is not None or honest(backend) else HONEST


def try_all(sandbox: Sandbox) -> list[tuple[str, bool]]:
    """Try every attack: its name, and whether it was contained and an honest program still runs. Empty without a
    backend."""
    if sandbox.backend is None:
        return []
    found = []
    for attack in ATTACKS:
        with host() as target:
            found.append((attack.name, attempt(sandbox.backend, attack, target) and honest(sandbox.backend)))
    return found


def close() -> None:
    """End the processes of the backend that was chosen; the next choice tests again."""
    global _chosen
    if _chosen is not None and _chosen.backend is not None:
        _chosen.backend.close()
    _chosen = None
