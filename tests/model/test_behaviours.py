"""What the vocabulary must be able to say. Each story runs on the model and on the Rust core alike."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from konsul._core import Replica
from tests.model import model as m
from tests.model import world as w
from tests.model.shape import ABSENT, AT, EXISTS, IS, LE


class Engine(Protocol):
    """What the model and `konsul._core.Replica` have in common."""

    def apply(self, now_ms: int, cases: bytes, /) -> tuple[int, int, int, bytes]: ...
    def pulse(self, now_ms: int, limit: int, /) -> int: ...
    def rows(self, table: int, /) -> list[tuple[bytes, bytes]]: ...
    def index(self) -> int: ...


@pytest.fixture(params=[m.Model, Replica], ids=["model", "core"])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param(w.schema())
    return made


def keys(engine: Engine, table: int) -> list[bytes]:
    return [key for key, _ in engine.rows(table)]


def row(engine: Engine, table: int, key: str) -> tuple[int, int, list[Any]]:
    return m.unpack_row(dict(engine.rows(table))[key.encode()])


def settle(engine: Engine, behaviour: str = "release", delay_ms: int = 15) -> None:
    """A node with a service, a check and two sessions; the first of them watches the check."""
    first = w.always(w.put(w.NODES, "n1"), w.put(w.SERVICES, "web", "n1"), w.put(w.CHECKS, "c1", "n1", "web"))
    assert engine.apply(0, first)[0] == m.APPLIED
    for name, checks in (("s1", ["c1"]), ("s2", [])):
        made = w.always(w.put(w.SESSIONS, name, "n1", checks, behaviour, delay_ms))
        assert engine.apply(0, made)[0] == m.APPLIED


def test_compare_and_set_takes_the_modify_index_and_a_conflict_names_the_current_one(engine: Engine) -> None:
    create = w.entry(([[AT, w.LOCKS, "a", 0]], [w.put(w.LOCKS, "a", b"1")]))
    assert engine.apply(0, create)[:3] == (m.APPLIED, 1, 0)
    status, _, current, key = engine.apply(0, create)
    assert (status, current, key) == (m.CONFLICT, 1, b"a")
    assert engine.index() == 1
    update = w.entry(([[AT, w.LOCKS, "a", 1]], [w.put(w.LOCKS, "a", b"2")]))
    assert engine.apply(0, update)[:3] == (m.APPLIED, 2, 0)
    assert row(engine, w.LOCKS, "a") == (1, 2, [b"2", None, 0])


def test_a_lock_is_exclusive_and_counts_its_holders(engine: Engine) -> None:
    settle(engine)
    assert engine.apply(1, w.acquire("leader", "s1", b"x"))[2] == 2
    assert engine.apply(1, w.acquire("leader", "s2", b"y"))[0] == m.CONFLICT
    assert engine.apply(1, w.acquire("leader", "s1", b"z"))[2] == 0
    assert row(engine, w.LOCKS, "leader")[2] == [b"z", "s1", 1]
    assert engine.apply(1, w.acquire("other", "ghost", b"q"))[0] == m.CONFLICT


@pytest.mark.parametrize("behaviour", ["release", "delete"])
def test_ending_a_session_frees_its_keys_after_the_delay(engine: Engine, behaviour: str) -> None:
    settle(engine, behaviour)
    engine.apply(1, w.acquire("leader", "s1", b"x"))
    engine.apply(10, w.always(w.delete(w.SESSIONS, "s1")))
    assert keys(engine, w.LOCKS) == ([] if behaviour == "delete" else [b"leader"])
    assert engine.apply(11, w.acquire("leader", "s2", b"y"))[0] == m.CONFLICT
    assert engine.pulse(25, 100) == 1
    assert engine.apply(25, w.acquire("leader", "s2", b"y"))[0] == m.APPLIED


def test_a_critical_check_breaks_the_session_that_watches_it(engine: Engine) -> None:
    settle(engine)
    engine.apply(1, w.acquire("leader", "s1", b"x"))
    engine.apply(2, w.always(w.patch(w.CHECKS, "c1", {2: "critical"})))
    assert keys(engine, w.SESSIONS) == [b"s2"]
    assert row(engine, w.LOCKS, "leader")[2][1] is None


def test_a_node_takes_everything_of_its_own_with_it(engine: Engine) -> None:
    settle(engine)
    engine.apply(1, w.acquire("leader", "s1", b"x"))
    engine.apply(2, w.always(w.delete(w.NODES, "n1")))
    assert [keys(engine, each) for each in (w.NODES, w.SERVICES, w.CHECKS, w.SESSIONS)] == [[], [], [], []]
    assert row(engine, w.LOCKS, "leader")[2][1] is None


def test_a_deadline_expires_by_a_pulse_and_the_clock_never_runs_backwards(engine: Engine) -> None:
    settle(engine)
    engine.apply(0, w.always(w.patch(w.SESSIONS, "s1", {4: 30})))
    before = engine.index()
    assert engine.pulse(29, 100) == 0
    assert engine.index() == before, "a pulse that deletes nothing takes no index"
    engine.apply(30, w.always(w.put(w.NODES, "n2")))
    assert engine.pulse(1, 100) == 1
    assert engine.index() == before + 2
    assert keys(engine, w.SESSIONS) == [b"s2"]


def test_a_quota_never_oversells_and_takes_the_whole_entry_down(engine: Engine) -> None:
    for used in range(1, 4):
        assert engine.apply(0, w.always(w.add(w.QUOTAS, "team", 0, 1, 3)))[:2] == (m.APPLIED, used)
    both = w.always(w.put(w.LOCKS, "k", b"1"), w.add(w.QUOTAS, "team", 0, 1, 3))
    assert engine.apply(0, both)[0] == m.LIMIT_REACHED
    assert keys(engine, w.LOCKS) == []
    assert engine.index() == 3
    assert engine.apply(0, w.always(w.add(w.QUOTAS, "team", 1, -6)))[0] == m.LIMIT_REACHED


def test_a_name_is_unique_until_it_is_given_back(engine: Engine) -> None:
    assert engine.apply(0, w.always(w.put(w.NAMES, "q1", "near")))[0] == m.APPLIED
    assert engine.apply(0, w.always(w.put(w.NAMES, "q2", "near")))[0] == m.DUPLICATE
    swap = w.always(w.delete(w.NAMES, "q1"), w.put(w.NAMES, "q2", "near"))
    assert engine.apply(0, swap)[0] == m.APPLIED
    nameless = w.always(w.put(w.NAMES, "q3", ""), w.put(w.NAMES, "q4", ""), w.put(w.NAMES, "q5", None))
    assert engine.apply(0, nameless)[0] == m.APPLIED


def test_a_ring_keeps_the_newest_rows_under_their_index(engine: Engine) -> None:
    for number in range(5):
        event = w.put(w.EVENTS, w.THIS_INDEX, bytes([number]), w.now(10))
        assert engine.apply(100 + number, w.always(event))[0] == m.APPLIED
    assert keys(engine, w.EVENTS) == [b"%020d" % index for index in (3, 4, 5)]
    assert row(engine, w.EVENTS, f"{5:020}") == (5, 5, [b"\x04", 114])


def test_keep_leaves_a_cell_as_it_was_and_defaults_a_new_row(engine: Engine) -> None:
    engine.apply(0, w.always(w.put(w.QUOTAS, "old", 3, 9, False)))
    engine.apply(0, w.always(w.put(w.QUOTAS, "old", 4, w.KEEP_CELL, w.KEEP_CELL)))
    engine.apply(0, w.always(w.put(w.QUOTAS, "new", w.KEEP_CELL, w.KEEP_CELL)))
    assert row(engine, w.QUOTAS, "old") == (1, 2, [4, 9, False])
    assert row(engine, w.QUOTAS, "new") == (3, 3, [0, 5, True])


@pytest.mark.parametrize(("length", "status"), [(9, m.APPLIED), (10, m.LIMIT_REACHED)])
def test_a_cascade_ends_at_its_depth_limit_and_then_leaves_no_trace(
    engine: Engine, length: int, status: int
) -> None:
    for number in range(length):
        up = None if number == 0 else f"t{number - 1}"
        engine.apply(0, w.always(w.put(w.TREE, f"t{number}", up)))
    assert engine.apply(0, w.always(w.delete(w.TREE, "t0")))[0] == status
    assert len(keys(engine, w.TREE)) == (0 if status == m.APPLIED else length)


def test_the_first_case_whose_guards_hold_is_taken(engine: Engine) -> None:
    cases = w.entry(
        ([[EXISTS, w.QUOTAS, "q"]], [w.add(w.QUOTAS, "q", 0, 1)]),
        ([[ABSENT, w.QUOTAS, "q"], [IS, w.QUOTAS, "q", 0, None]], [w.put(w.QUOTAS, "q", 1)]),
    )
    assert engine.apply(0, cases)[2] == 1
    assert engine.apply(0, cases)[2] == 0
    assert engine.apply(0, w.entry(([[LE, w.QUOTAS, "q", 0, 1]], [])))[0] == m.CONFLICT
    assert engine.apply(0, w.entry(([[LE, w.QUOTAS, "q", 0, 2]], [])))[:2] == (m.APPLIED, 3)


def test_delete_prefix_takes_exactly_the_prefix(engine: Engine) -> None:
    for key in ("a", "a/", "a/b", "a/c/d", "a0", "b"):
        engine.apply(0, w.always(w.put(w.LOCKS, key, b"")))
    assert engine.apply(0, w.always(w.delete_prefix(w.LOCKS, "a/")))[:2] == (m.APPLIED, 7)
    assert keys(engine, w.LOCKS) == [b"a", b"a0", b"b"]


@pytest.mark.parametrize(
    ("op", "status"),
    [
        ([9, w.LOCKS, "k"], m.INVALID),
        ([0, 99, "k", []], m.UNSUPPORTED),
        ([0, w.LOCKS, "", [b""]], m.INVALID),
        ([0, w.LOCKS, "k" * 1025, [b""]], m.TOO_LARGE),
        ([0, w.LOCKS, "k", [1]], m.INVALID),
        ([0, w.LOCKS, "k", [b"", None, -1]], m.INVALID),
        ([0, w.LOCKS, "k", [b"", None, 0, 0]], m.INVALID),
        ([1, w.LOCKS, "k", [[7, b""]]], m.UNSUPPORTED),
        ([2, w.LOCKS, "k", 0, 1, None], m.INVALID),
        ([0, w.LOCKS, w.ITSELF, [b""]], m.INVALID),
    ],
)
def test_what_does_not_fit_the_schema_is_refused_whole(engine: Engine, op: list[Any], status: int) -> None:
    assert engine.apply(0, w.always(w.put(w.LOCKS, "fine", b""), op))[0] == status
    assert keys(engine, w.LOCKS) == []
    assert engine.index() == 0


def test_a_value_too_long_for_its_index_is_refused(engine: Engine) -> None:
    assert engine.apply(0, w.always(w.put(w.NAMES, "n", "x" * 700)))[0] == m.APPLIED
    assert engine.apply(0, w.always(w.put(w.NAMES, "m", "x" * 800)))[0] == m.TOO_LARGE
    assert keys(engine, w.NAMES) == [b"n"]
