"""Getting critical is law: one entry, whatever follows from it, on the replicated state machine alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from konsul.engine import Replica, unpack_row
from konsul.features.catalog.tables import (
    CRITICAL,
    PASSING,
    TTL_EXPIRED,
    WARNING,
    Check,
    CheckLease,
    Instance,
    Node,
)
from konsul.kernel import entry
from konsul.kernel.schema import Row, compile_schema

NOW_MS = 5_000
WEB, DB = "web web", "db db"


def write(replica: Replica, *ops: entry.Op) -> int:
    status, index, *_ = replica.apply(NOW_MS, entry.encode([entry.case([], ops)]))
    assert status == 0
    return index


def rows(replica: Replica, table: type[Row]) -> dict[str, Row]:
    found = replica.rows(table.table_id)
    return {key.decode(): table.stored(key, unpack_row(packed).cells) for key, packed in found}


def instance(key: str, *check_ids: str, node: str | None = None, health: str = PASSING) -> entry.Op:
    row = Instance(
        key="",
        name=key.split()[0],
        ttl_ms=None,
        zone="",
        health=health,
        node=node,
        check_ids=list(check_ids) or None,
    )
    return entry.put(Instance, key, row.cells())


def check(
    id: str, of: str | None = None, *, node: str | None = None, status: str = PASSING, ttl: bool = False
) -> entry.Op:
    lease = id if ttl else None
    return entry.put(
        Check, id, Check(id="", service="", instance=of, node=node, status=status, lease=lease).cells()
    )


def lease(id: str) -> entry.Op:
    return entry.put(CheckLease, id, CheckLease(id="", of=id, ttl_ms=30).cells())


def node(name: str, *check_ids: str) -> entry.Op:
    return entry.put(Node, name, Node(name="", zone="", check_ids=list(check_ids) or None).cells())


@pytest.fixture
def replica() -> Replica:
    """Two instances on one node; a check each, one held by a lease, and one of the node."""
    made = Replica(compile_schema([Instance, Node, Check, CheckLease]))
    write(made, node("n1", "cn"), check("cn", node="n1"))
    write(made, check("cw", WEB, ttl=True), lease("cw"), instance(WEB, "cw", node="n1"))
    write(made, check("cd", DB, status=WARNING), instance(DB, "cd", node="n1", health=WARNING))
    return made


def healths(replica: Replica, keys: Sequence[str] = (WEB, DB)) -> list[str]:
    found = rows(replica, Instance)
    return [found[key].health for key in keys]  # type: ignore[attr-defined]


def test_a_lease_that_ends_makes_check_and_instance_critical_in_one_entry(replica: Replica) -> None:
    before = replica.index()
    lapse = entry.encode([entry.case([], [entry.delete(CheckLease, "cw")])])
    assert replica.lapse(NOW_MS, lapse)[0] == 0
    assert replica.index() == before + 1
    found = rows(replica, Check)["cw"]
    assert isinstance(found, Check)
    assert (found.status, found.output, found.changed_at_ms, found.lease) == (
        CRITICAL,
        TTL_EXPIRED,
        NOW_MS,
        None,
    )
    assert healths(replica) == [CRITICAL, WARNING]


def test_a_node_s_check_makes_the_node_and_all_on_it_critical(replica: Replica) -> None:
    write(replica, entry.patch(Check, "cn", {"status": CRITICAL}))
    assert rows(replica, Node)["n1"].health == CRITICAL  # type: ignore[attr-defined]
    assert healths(replica) == [CRITICAL, CRITICAL]


def test_a_check_that_goes_makes_nobody_critical(replica: Replica) -> None:
    write(replica, entry.patch(Instance, WEB, {"check_ids": None}), entry.delete(Check, "cw"))
    write(replica, entry.delete(Check, "cd"))
    assert healths(replica) == [PASSING, WARNING]
    assert rows(replica, CheckLease) == {}, "its lease goes with it"


def test_an_instance_that_goes_takes_its_checks_and_their_leases(replica: Replica) -> None:
    gone = entry.encode([entry.case([], [entry.delete(Instance, WEB)])])
    assert replica.lapse(NOW_MS, gone)[0] == 0
    assert set(rows(replica, Check)) == {"cd", "cn"}
    assert rows(replica, CheckLease) == {}
    assert healths(replica, [DB]) == [WARNING]


@pytest.mark.parametrize("status", [PASSING, CRITICAL])
def test_a_node_that_goes_takes_all_on_it(replica: Replica, status: str) -> None:
    write(replica, instance("far far"), entry.patch(Check, "cn", {"status": status}))
    write(replica, entry.delete(Node, "n1"))
    assert set(rows(replica, Instance)) == {"far far"}
    assert not rows(replica, Check)
    assert not rows(replica, CheckLease)


def test_who_no_longer_names_a_check_is_not_touched_by_it(replica: Replica) -> None:
    write(replica, entry.patch(Instance, DB, {"check_ids": None, "node": None, "health": PASSING}))
    write(
        replica,
        entry.patch(Check, "cd", {"status": CRITICAL}),
        entry.patch(Check, "cn", {"status": CRITICAL}),
    )
    assert healths(replica) == [CRITICAL, PASSING]


def test_a_row_from_before_these_columns_is_passing(replica: Replica) -> None:
    status, *_ = replica.apply(
        NOW_MS, entry.encode([entry.case([], [entry.put(Instance, "old old", ["old"])])])
    )
    assert status == 0
    old = rows(replica, Instance)["old old"]
    assert isinstance(old, Instance)
    assert (old.health, old.node, old.zone, old.check_ids) == (PASSING, None, "", None)
    assert Instance.stored(b"old old", ["old"]) == Instance(
        key="old old", name="old", ttl_ms=None, zone="", health=PASSING
    )
