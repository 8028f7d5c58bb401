"""Random entries over the small world: few keys, so that guards hold, names clash, cascades happen often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.model import world as w
from tests.model.shape import ABSENT, AT, EXISTS, IS, IS_NOT, LE

KEYS = st.sampled_from(["a", "b", "a/b", "a\x00", "é"])
NODES = st.sampled_from(["n1", "n2"])
SESSIONS = st.sampled_from(["s1", "s2", "s3"])
CHECKS = st.sampled_from(["c1", "c2"])
STATUS = st.sampled_from(["passing", "critical"])
TEXT = st.sampled_from(["x", "y", None, "", "x=y", "\x00", "é" * 3, "z" * 800])
BLOB = st.sampled_from([b"", b"v", b"\x00\xff", b"w" * 300])
MAYBE_NODE = st.one_of(st.none(), NODES)
SMALL = st.integers(0, 60)
U64 = st.one_of(st.none(), SMALL, st.just(2**64 - 1))
I64 = st.one_of(st.none(), st.integers(-60, 60), st.just(2**63 - 1), st.just(-(2**63)))
KEEP_OR = st.just(w.KEEP_CELL)
TIME = st.one_of(st.none(), SMALL, SMALL.map(w.now))
META = st.dictionaries(st.sampled_from(["k", "l", "m"]), st.sampled_from(["", "1", "="]), max_size=3)
TAGS = st.lists(st.sampled_from(["t", "u", "v"]), max_size=3)


@dataclass(frozen=True)
class Step:
    """One entry (`cases`, perhaps of a request or a lapse) or, without, a pulse of at most `limit` rows."""

    now_ms: int
    cases: bytes | None
    limit: int = 0
    request_id: bytes | None = None
    is_lapse: bool = False


def _put(table: int, keys: st.SearchStrategy[Any], *cells: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A put of the first n cells, any of which may say KEEP."""
    each = [st.one_of(cell, cell, KEEP_OR) for cell in cells]
    return st.tuples(keys, st.integers(0, len(cells)), st.tuples(*each)).map(
        lambda got: w.put(table, got[0], *got[2][: got[1]])
    )


def _patch(table: int, keys: st.SearchStrategy[Any], cells: dict[int, Any]) -> st.SearchStrategy[Any]:
    one = st.one_of(*[cell.map(lambda value, at=at: {at: value}) for at, cell in cells.items()])
    return st.tuples(keys, one).map(lambda got: w.patch(table, *got))


PUTS = st.one_of(
    _put(w.NODES, NODES, TAGS),
    _put(w.SERVICES, KEYS, MAYBE_NODE, META, U64),
    _put(w.CHECKS, CHECKS, MAYBE_NODE, KEYS, STATUS),
    _put(
        w.SESSIONS,
        SESSIONS,
        MAYBE_NODE,
        st.lists(CHECKS, max_size=2),
        st.sampled_from(["release", "delete", "other"]),
        SMALL,
        TIME,
    ),
    _put(w.LOCKS, KEYS, BLOB, st.one_of(st.none(), SESSIONS), U64),
    _put(w.NAMES, KEYS, TEXT, st.one_of(st.none(), st.just(b'{"a":1}'))),
    _put(w.QUOTAS, KEYS, I64, U64, st.booleans()),
    _put(w.EVENTS, st.one_of(st.just(w.THIS_INDEX), KEYS), BLOB, TIME),
    _put(w.TREE, KEYS, st.one_of(st.none(), KEYS)),
    _put(w.DELAYS, KEYS, TIME),
)
PATCHES = st.one_of(
    _patch(w.CHECKS, CHECKS, {2: STATUS}),
    _patch(w.SERVICES, KEYS, {0: MAYBE_NODE, 1: META}),
    _patch(w.SESSIONS, SESSIONS, {4: TIME, 2: st.just("delete")}),
    _patch(w.NAMES, KEYS, {0: TEXT}),
    _patch(w.QUOTAS, KEYS, {1: st.just(w.THIS_INDEX)}),
    _patch(w.TREE, KEYS, {0: KEYS}),
)
ADDS = st.one_of(
    st.builds(
        w.add,
        st.just(w.QUOTAS),
        KEYS,
        st.sampled_from([0, 1]),
        st.one_of(st.integers(-4, 4), st.sampled_from([2**63 - 1, -(2**63)])),
        st.one_of(st.none(), st.integers(-2, 8)),
    ),
    st.builds(w.add, st.just(w.LOCKS), KEYS, st.just(2), st.integers(-1, 2)),
)
ANY_ROW = st.one_of(
    st.tuples(st.just(w.NODES), NODES),
    st.tuples(st.just(w.CHECKS), CHECKS),
    st.tuples(st.just(w.SESSIONS), SESSIONS),
    st.tuples(st.sampled_from([w.SERVICES, w.LOCKS, w.NAMES, w.QUOTAS, w.EVENTS, w.TREE]), KEYS),
)
DELETES = st.one_of(
    ANY_ROW.map(lambda got: w.delete(*got)),
    st.tuples(
        st.sampled_from([w.SERVICES, w.LOCKS, w.TREE, w.EVENTS]), st.sampled_from(["a", "a/", "0"])
    ).map(lambda got: w.delete_prefix(*got)),
)
OPS = st.one_of(PUTS, PUTS, PUTS, PATCHES, ADDS, DELETES)
GUARDS = st.one_of(
    ANY_ROW.flatmap(
        lambda row: st.one_of(
            st.just([EXISTS, *row]),
            st.just([ABSENT, *row]),
            st.one_of(st.just(0), st.integers(1, 30)).map(lambda at: [AT, *row, at]),
        )
    ),
    st.tuples(st.sampled_from([IS, IS_NOT]), KEYS, TEXT).map(lambda g: [g[0], w.NAMES, g[1], 0, g[2]]),
    st.tuples(st.sampled_from([IS, IS_NOT]), KEYS, BLOB).map(lambda g: [g[0], w.LOCKS, g[1], 0, g[2]]),
    st.tuples(KEYS, st.integers(-9, 60)).map(lambda g: [LE, w.QUOTAS, g[0], 0, g[1]]),
    st.tuples(KEYS, st.one_of(SMALL, SMALL.map(w.now))).map(lambda g: [LE, w.DELAYS, g[0], 0, g[1]]),
    st.tuples(KEYS, U64.filter(lambda n: n is not None)).map(lambda g: [LE, w.QUOTAS, g[0], 1, g[1]]),
)
CASE = st.tuples(st.lists(GUARDS, max_size=2), st.lists(OPS, max_size=4))
ENTRIES = st.one_of(
    st.lists(CASE, min_size=1, max_size=3).map(lambda cases: w.entry(*cases)),
    PUTS.map(lambda op: w.always(op)),
    st.builds(w.acquire, KEYS, SESSIONS, BLOB),
)
REQUESTS = st.integers(0, 4).map(lambda n: bytes([n]) * 16)
STEPS = st.one_of(
    st.builds(Step, SMALL, ENTRIES),
    st.builds(Step, SMALL, ENTRIES),
    st.builds(Step, SMALL, ENTRIES, request_id=REQUESTS),
    st.builds(Step, SMALL, ENTRIES, is_lapse=st.just(True)),
    st.builds(Step, st.integers(0, 90), st.none(), st.sampled_from([1, 2, 100])),
)
HISTORIES = st.one_of(st.lists(STEPS, min_size=1, max_size=10), st.lists(STEPS, min_size=25, max_size=50))
"""Short ones are found and shown first when something differs; long ones meet what needs many rows."""
