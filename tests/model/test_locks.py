"""Sessions and locks with the tables and entries of the features: on the model and on the core alike.

Whatever happens in whatever order: a held key's holder lives, its checks do not fail, tokens only rise, and
what a lost session held stays free for its delay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from konsul._core import Replica
from konsul.features.catalog.tables import CRITICAL, PASSING, Check, CheckLease, Instance, Node
from konsul.features.kv.commands import columns
from konsul.features.kv.locks import Change, again, taking
from konsul.features.kv.tables import Entry
from konsul.features.sessions.tables import LockDelay, Session
from konsul.kernel import entry
from konsul.kernel.schema import compile_schema
from tests.model import model as m

SCHEMA = compile_schema([Entry, Session, LockDelay, Instance, Node, Check, CheckLease])
KEYS, SESSIONS, CHECKS, NODES = ("a", "b"), ("s1", "s2", "s3"), ("c1", "c2"), ("n1", "n2")
DELAY_MS = 40
VALUE, HOLDER, TOKEN = Entry.column("value"), Entry.column("session"), Entry.column("lock_index")


@dataclass
class House:
    """Model and core side by side, and what was seen of each key."""

    now_ms: int = 1_000
    model: m.Model = field(default_factory=lambda: m.Model(SCHEMA))
    core: Any = field(default_factory=lambda: Replica(SCHEMA))
    tokens: dict[str, int] = field(default_factory=dict)
    holders: dict[str, str | None] = field(default_factory=dict)
    free_from: dict[str, int] = field(default_factory=dict)

    def rows(self, table: Any) -> dict[str, list[Any]]:
        return {key.decode(): cells_of(packed) for key, packed in self.core.rows(table.table_id)}

    def row(self, key: str) -> Any:
        """A key's row, as plans read it."""
        from konsul.engine import unpack_row

        packed = dict(self.core.rows(Entry.table_id)).get(key.encode())
        return None if packed is None else unpack_row(packed)

    def do(self, *ops: entry.Op, guards: Any = (), lapses: bool = False) -> int:
        """One entry on both; whether it was applied."""
        cases = entry.encode([entry.case(list(guards), list(ops))])
        verb = "lapse" if lapses else "apply"
        ours = getattr(self.model, verb)(self.now_ms, cases)
        theirs = getattr(self.core, verb)(self.now_ms, cases)
        assert ours[:3] == theirs[:3]
        self.judge()
        return bool(theirs[0] == m.APPLIED)

    def judge(self) -> None:
        for table in (Entry, Session, LockDelay, Check, Node):
            assert self.model.rows(table.table_id) == self.core.rows(table.table_id)
        sessions, checks, nodes = self.rows(Session), self.rows(Check), self.rows(Node)
        for cells in sessions.values():
            node, bound = cells[Session.column("node")], cells[Session.column("checks")]
            assert node is None or node in nodes
            assert all(checks[one][Check.column("status")] != CRITICAL for one in bound)
        keys = self.rows(Entry)
        for key in KEYS:
            stored = keys.get(key)
            holder = stored[HOLDER] if stored else None
            assert holder is None or holder in sessions
            before = self.holders.get(key)
            if holder is not None and holder != before:
                assert stored is not None
                assert stored[TOKEN] > self.tokens.get(key, 0), "a later holder has a higher token"
                self.tokens[key] = stored[TOKEN]
            elif holder is not None:
                assert stored is not None
                assert stored[TOKEN] == self.tokens[key], "a holder's token stays"
            if before is not None and before not in sessions:
                # What its session lost is free only after the delay, which the log's own clock measures.
                assert holder is None
                self.free_from[key] = self.now_ms + DELAY_MS
            self.holders[key] = holder


def cells_of(packed: bytes) -> list[Any]:
    return list(m.unpack_row(packed)[2])


def session_row(behavior: str, node: str | None, checks: list[str]) -> list[object]:
    return Session(
        id="",
        node=node,
        checks=checks,
        behavior=behavior,
        lock_delay_ms=DELAY_MS,
        created_at_ms=1,
        ttl_ms=None,
    ).cells()


def step(house: House, kind: str, one: int, other: int, behavior: str) -> None:
    key, session = KEYS[one % 2], SESSIONS[other % 3]
    check, node = CHECKS[one % 2], NODES[other % 2]
    if kind == "create":
        guards = [
            entry.absent(Session, session),
            entry.exists(Node, node),
            entry.exists(Check, check),
            entry.is_not(Check, check, "status", CRITICAL),
        ]
        house.do(entry.put(Session, session, session_row(behavior, node, [check])), guards=guards)
    elif kind in ("destroy", "lapse"):
        house.do(entry.delete(Session, session), lapses=kind == "lapse")
    elif kind == "check":
        status = PASSING if other % 2 else CRITICAL
        house.do(entry.put(Check, check, Check(id=check, service="", node=NODES[0], status=status).cells()))
    elif kind == "drop check":
        house.do(entry.delete(Check, check))
    elif kind == "node":
        house.do(entry.put(Node, node, Node(name=node, zone="").cells()))
    elif kind == "drop node":
        house.do(entry.delete(Node, node))
    elif kind == "acquire":
        acquire(house, key, session)
    elif kind == "release":
        held = entry.is_(Entry, key, "session", session)
        house.do(entry.patch(Entry, key, {"session": None}), guards=[held])
    elif kind == "put":
        before = house.rows(Entry).get(key)
        assert house.do(entry.put(Entry, key, columns(b"plain")))
        after = house.rows(Entry)[key]
        assert after[VALUE] == b"plain"
        assert after[HOLDER:] == (before[HOLDER:] if before else [None, 0]), "a write keeps the lock"
    elif kind == "delete":
        house.do(entry.delete(Entry, key))
    elif kind == "pulse":
        assert house.model.pulse(house.now_ms, 100) == house.core.pulse(house.now_ms, 100)
        house.judge()
    house.now_ms += one * 7


def acquire(house: House, key: str, session: str) -> None:
    """As the command plans it."""
    row = house.row(key)
    lives = session in house.rows(Session)
    holder = house.holders.get(key)
    if row is not None and row.cells[HOLDER] == session:
        guards, ops = again(key.encode(), session, row.cells[TOKEN], Change(value=b"again"))
        assert house.do(*ops, guards=guards)
        return
    guards, ops = taking(key.encode(), session, row, Change(value=b"mine"))
    free = lives and holder is None and house.now_ms >= house.free_from.get(key, 0)
    assert house.do(*ops, guards=guards) is free


KINDS = (
    *("create", "acquire", "acquire", "acquire", "release", "destroy", "lapse", "check", "put", "delete"),
    *("pulse", "drop check", "node", "drop node"),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 5), st.sampled_from(("release", "delete"))
    ),
    max_size=60,
)


@given(STEPS)
def test_locks_keep_their_promises_in_every_order(steps: list[tuple[str, int, int, str]]) -> None:
    house = House()
    for node in NODES:
        house.do(entry.put(Node, node, Node(name=node, zone="").cells()))
    for check in CHECKS:
        house.do(entry.put(Check, check, Check(id=check, service="", node=NODES[0], status=PASSING).cells()))
    for one in steps:
        step(house, *one)


def test_a_failing_check_frees_every_lock_of_its_sessions_in_one_entry() -> None:
    house = House()
    house.do(entry.put(Node, "n1", Node(name="n1", zone="").cells()))
    house.do(entry.put(Check, "c1", Check(id="c1", service="", node="n1", status=PASSING).cells()))
    for session, behavior in (("s1", "release"), ("s2", "delete")):
        house.do(entry.put(Session, session, session_row(behavior, None, ["c1"])))
    acquire(house, "a", "s1")
    acquire(house, "b", "s2")
    before = house.core.index()
    house.do(entry.patch(Check, "c1", {"status": CRITICAL}))
    assert house.core.index() == before + 1
    assert house.rows(Session) == {}
    assert house.rows(Entry)["a"][HOLDER] is None
    assert "b" not in house.rows(Entry)
    assert set(house.rows(LockDelay)) == {"a", "b"}
    assert house.core.rows(Entry.table_id)[0][1][8:16] == (before + 1).to_bytes(8, "big")
