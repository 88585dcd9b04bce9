"""The attack table on every backend that this machine has, the choice of a backend, and what happens without one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kimi_ui.bench import sandbox, suite
from kimi_ui.bench.graders import REFUSED, RIGHT, TIME_LIMIT, WRONG, code, grade
from kimi_ui.bench.sandbox import ISOLATED, OFF, UNSANDBOXED, attacks, backends
from kimi_ui.bench.sandbox.attacks import ATTACKS, attempt, contained, honest, host
from kimi_ui.bench.sandbox.backends import (
    BWRAP_FIXED,
    CALLS,
    QUERIES,
    Backend,
    Native,
    Outcome,
    Unavailable,
    Unprotected,
    Wasm,
    system_bwrap,
)
from tests.support.waiting import until

DOUBLE = "def double(n):\n    return 2 * n\n"
CASE = "run-lengths-1"


def _available() -> dict[str, Backend]:
    """The isolating backends of this machine. On Linux with user namespaces there is at least one."""
    found = {}
    for name, make in sandbox.candidates().items():
        try:
            found[name] = make()
        except Unavailable:
            continue
    if "unshare" in found:
        found["unshare in a user namespace"] = Native(user_namespace=True)  # as for everybody but root
    return found


BACKENDS = _available()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    yield BACKENDS[request.param]
    BACKENDS[request.param].close()


def answer(body: str) -> str:
    return f"```python\n{body}\n```"


def graded(backend: Backend, body: str) -> str:
    case = suite.case(CASE)
    assert case is not None
    box = sandbox.Sandbox(backend, sandbox.Stamp(backend.name, backend.version, ISOLATED))
    return grade(case, answer(body), get_sandbox=lambda: box).verdict


def test_this_machine_has_a_backend_and_the_table_is_long_enough() -> None:
    assert BACKENDS, sandbox.choose().sentence
    assert len(ATTACKS) >= 20
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert len(attacks.CORE) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_contained(backend: Backend, attack: attacks.Attack) -> None:
    with host() as target:
        assert attempt(backend, attack, target)
        assert honest(backend)


@pytest.mark.parametrize(
    "name", ["read a file of the host", "overwrite a file of the host", "connect to a server on this machine"]
)
def test_the_same_attack_succeeds_without_isolation(name: str) -> None:
    """So the table can fail: the target is real."""
    attack = next(one for one in ATTACKS if one.name == name)
    with host() as target:
        assert not attempt(Unprotected(), attack, target)


def test_a_result_without_the_nonce_is_dropped() -> None:
    with host() as target:
        assert contained(Outcome(None, {}, "done", 0), target)
        assert not contained(Outcome(None, {0: {"value": target.secret}}, "done", 0), target)
        assert not contained(Outcome(None, {0: {"value": True}}, "done", 0), target)


def test_values_are_returned_unchanged(backend: Backend) -> None:
    body = "def f(x):\n    return [x, 10 ** 30, 0.1, float('nan'), (1, {2}), {'a': b'b'}, None, True, 'ü\\u2028', 1j]\n"
    outcome = backend.run(CALLS, {"code": body, "calls": [{"entry": "f", "args": [{"t": [1]}]}]}, 10)
    expected = code.results(body, [{"entry": "f", "args": [{"t": [1]}]}])
    assert outcome.results[0]["value"] == expected[0]["value"]


def test_verdicts_of_misbehaving_code(backend: Backend) -> None:
    assert graded(backend, "import os\nos._exit(0)") == "unparsed"
    assert graded(backend, "import os\ndef squeeze(t):\n    os._exit(0)") == WRONG
    assert graded(backend, "def squeeze(t):\n    raise SystemExit(0)") == WRONG
    assert graded(backend, "class Any(str):\n    def __eq__(s, o): return True\ndef squeeze(t): return Any()") == WRONG
    assert graded(backend, "import threading\ndef squeeze(t):\n    threading.Thread(target=print).start()") == REFUSED
    assert graded(backend, "def squeeze(t): return 'x' * 10 ** 8") in (REFUSED, WRONG)
    case = suite.case(CASE)
    assert case is not None
    assert graded(backend, case.gold["source"]) == RIGHT


@pytest.mark.slow
def test_endless_code_hits_the_time_limit_after_one_retry(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    run = backend.run

    def counted(harness: str, request: dict[str, object], wall_s: float) -> Outcome:
        runs.append(wall_s)
        return run(harness, request, min(wall_s, 1.0))

    monkeypatch.setattr(backend, "run", counted)
    assert graded(backend, "def squeeze(t):\n    while True: pass") == TIME_LIMIT
    assert len(runs) == 3  # the answer, the reference to know how fast this machine is, the answer again
    assert runs[2] >= code.LEAST_S


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("SELECT load_extension('x')", True),
        ("ATTACH 'x.db' AS x", True),
        ("PRAGMA journal_mode", True),
        ("SELECT * FROM pragma_database_list", True),
        ("DELETE FROM t", True),
        ("SELECT 1; SELECT 2", False),
        ("SELECT randomblob(100000000)", True),
        ("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT sum(n) FROM c", False),
        ("SELECT a.n FROM t a, t b, t c, t d, t e, t f, t g, t h", False),
    ],
)
def test_a_query_can_only_read_and_for_a_limited_time(backend: Backend, query: str, refused: bool) -> None:
    script = "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES " + ",".join(f"({n})" for n in range(40)) + ";"
    outcome = backend.run(QUERIES, {"query": query, "scripts": [script], "steps": 200}, 20)
    assert "error" in outcome.results[0]
    assert outcome.results[0]["refused"] is refused


def test_nothing_is_left_running(backend: Backend) -> None:
    """The process and all below it end with the time limit."""
    before = _processes()
    attack = next(one for one in ATTACKS if one.name == "loop without end")
    with host() as target:
        attempt(backend, attack, target, 0.5)
    backend.close()
    until(lambda: not _processes() - before)


def _processes() -> set[str]:
    """Our children and theirs, by /proc, as far as they are not ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = path.with_name("cmdline").read_text()
        except OSError:
            continue
        if fields[0] != "Z" and "/sandbox/box/" in command and fields[1] in {str(os.getpid()), "1"}:
            found.add(path.parent.name)
    return found


def test_the_first_backend_that_contains_the_core_attacks_is_chosen() -> None:
    sandbox.close()
    chosen = sandbox.choose()
    assert chosen.stamp == (next(iter(BACKENDS)), BACKENDS[next(iter(BACKENDS))].version, ISOLATED)
    assert chosen.stamp.backend in chosen.sentence


def test_a_backend_that_fails_to_contain_an_attack_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.close()

    class Leaky(Unprotected):
        name = "leaky"

    monkeypatch.setattr(sandbox, "candidates", lambda: {"leaky": Leaky})
    chosen = sandbox.choose()
    assert chosen.backend is None
    assert chosen.stamp.level == OFF
    assert "did not contain" in chosen.sentence
    assert "kimi-ui[sandbox]" in chosen.sentence
    allowed = sandbox.choose(unsandboxed=True)
    assert allowed.stamp.level == UNSANDBOXED
    assert allowed.sentence.startswith("Warning")
    monkeypatch.undo()
    assert sandbox.choose().stamp.level == ISOLATED  # a refusal is not remembered


def test_without_a_sandbox_only_code_is_refused() -> None:
    off = sandbox.Sandbox(None, sandbox.Stamp("none", "", OFF), ("unshare: not permitted",))
    for case in suite.cases():
        if case.grader in ("code", "sql"):
            verdict = grade(case, case.reference, get_sandbox=lambda: off)
            assert verdict.verdict == REFUSED
            assert "unshare: not permitted" in verdict.reason
            assert verdict.sandbox == off.stamp
        elif case.grader != "expression":
            assert grade(case, suite.answers_of(case, case.reference), get_sandbox=lambda: off).verdict == RIGHT


def test_unprotected_runs_say_so() -> None:
    case = suite.case(CASE)
    assert case is not None
    box = sandbox.Sandbox(Unprotected(), sandbox.Stamp("process", "", UNSANDBOXED))
    verdict = grade(case, case.reference, get_sandbox=lambda: box)
    assert verdict.verdict == RIGHT
    assert verdict.sandbox is not None
    assert verdict.sandbox.level == UNSANDBOXED


def test_an_old_bubblewrap_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bwrap"
    monkeypatch.setattr("shutil.which", lambda *_, **__: str(program))
    for version, used in (("0.11.0", False), ("0.12.0", True), ("0.8.0", False), ("1.0", True)):
        program.write_text(f"#!/bin/sh\necho bubblewrap {version}\n")
        program.chmod(0o755)
        assert (system_bwrap() is not None) == used
    assert BWRAP_FIXED == (0, 12)


def test_wasm_names_the_missing_part_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    backends.wasm_python.cache_clear()
    monkeypatch.setenv("KIMI_UI_WASM_PYTHON", sys.executable + "-none")
    with pytest.raises(Unavailable, match=r"Python 3\.12"):
        Wasm()
    monkeypatch.delenv("KIMI_UI_WASM_PYTHON")
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    backends.wasm_python.cache_clear()
    with pytest.raises(Unavailable, match=r"needs Python 3\.12 or newer, which was not found"):
        Wasm()
    backends.wasm_python.cache_clear()
