"""A small world for the model tests: one schema that uses all of the engine, and short words for its entries.

Consul's hard cases are its story: nodes take their services and checks with them, sessions hold locks and
lose them with a delay, names are unique, quotas never oversell, an event ring keeps the newest three.
"""

from __future__ import annotations

from typing import Any

import msgpack

from tests.model.shape import (
    ABSENT,
    ADD,
    DELETE,
    DELETE_PREFIX,
    EXISTS,
    INDEX,
    IS,
    KEEP,
    LE,
    NOW,
    PARENT,
    PATCH,
    PUT,
    SELF,
)

NODES, SERVICES, CHECKS, SESSIONS, LOCKS, DELAYS, NAMES, QUOTAS, EVENTS, TREE = range(1, 11)

KEEP_CELL = msgpack.ExtType(KEEP, b"")
THIS_INDEX = msgpack.ExtType(INDEX, b"")
ITSELF = msgpack.ExtType(SELF, b"")


def now(plus_ms: int = 0) -> msgpack.ExtType:
    return msgpack.ExtType(NOW, plus_ms.to_bytes(8, "big", signed=True))


def parent(column: int, plus_now: bool = False) -> msgpack.ExtType:
    return msgpack.ExtType(PARENT, bytes([column, plus_now]))


def column(name: str, kind: str, default: Any = None, index: str = "none") -> dict[str, Any]:
    return {"name": name, "kind": kind, "default": default, "index": index}


def ref(position: int, parent_table: int, then: Any, **options: Any) -> dict[str, Any]:
    given = {"each": False, "breaks_when": None, "choose_by": None} | options
    return {"column": position, "parent": parent_table, "then": then} | given


def table(number: int, name: str, columns: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    given = {"expires": None, "lease": None, "keep": None, "refs": []} | options
    return {"id": number, "name": name, "columns": columns} | given


def goes_too(own_table: int) -> list[Any]:
    return [[None, [[DELETE, own_table, ITSELF]]]]


def tables() -> list[dict[str, Any]]:
    """The schema before it is packed, so that a migration can start from it."""
    delay = [PUT, DELAYS, ITSELF, [parent(3, plus_now=True)]]
    release = [[PATCH, LOCKS, ITSELF, [[1, None]]], delay]
    return [
        table(NODES, "nodes", [column("tags", "list", index="each")]),
        table(
            SERVICES,
            "services",
            [
                column("node", "text", index="single"),
                column("meta", "map", {}, "each"),
                column("port", "u64", 0),
            ],
            refs=[ref(0, NODES, goes_too(SERVICES))],
        ),
        table(
            CHECKS,
            "checks",
            [
                column("node", "text"),
                column("service", "text"),
                column("status", "text", "passing", "single"),
            ],
            refs=[ref(0, NODES, goes_too(CHECKS)), ref(1, SERVICES, goes_too(CHECKS))],
        ),
        table(
            SESSIONS,
            "sessions",
            [
                column("node", "text", index="single"),
                column("checks", "list", [], "each"),
                column("behaviour", "text", "release"),
                column("lock_delay_ms", "u64", 15),
                column("deadline_ms", "u64"),
            ],
            expires=4,
            refs=[
                ref(0, NODES, goes_too(SESSIONS)),
                ref(1, CHECKS, goes_too(SESSIONS), each=True, breaks_when=[2, "critical"]),
            ],
        ),
        table(
            LOCKS,
            "locks",
            [
                column("value", "bytes", b""),
                column("session", "text", index="single"),
                column("count", "u64", 0),
            ],
            refs=[
                ref(
                    1,
                    SESSIONS,
                    [["release", release], ["delete", [[DELETE, LOCKS, ITSELF], delay]]],
                    choose_by=2,
                )
            ],
        ),
        table(DELAYS, "delays", [column("until_ms", "u64")], expires=0),
        table(NAMES, "names", [column("name", "text", "", "unique"), column("blob", "json")]),
        table(
            QUOTAS, "quotas", [column("used", "i64", 0), column("left", "u64", 5), column("on", "bool", True)]
        ),
        table(EVENTS, "events", [column("payload", "bytes"), column("at_ms", "u64")], keep=3),
        table(TREE, "tree", [column("up", "text", index="single")], refs=[ref(0, TREE, goes_too(TREE))]),
    ]


def schema(wanted: list[dict[str, Any]] | None = None) -> bytes:
    return bytes(msgpack.packb(wanted if wanted is not None else tables()))


def migrated() -> bytes:
    """An additive change: columns with a default, an index on an old column, a keep, a new table."""
    wanted = tables()
    wanted[SERVICES - 1]["columns"].append(column("zone", "text", "here", "single"))
    wanted[LOCKS - 1]["columns"].append(column("flags", "u64", 7))
    wanted[QUOTAS - 1]["columns"][0]["index"] = "single"
    wanted[DELAYS - 1]["keep"] = 3
    wanted.append(table(11, "later", [column("note", "text", "new")]))
    return schema(wanted)


def entry(*cases: tuple[list[Any], list[Any]]) -> bytes:
    return bytes(msgpack.packb([list(case) for case in cases]))


def always(*ops: list[Any]) -> bytes:
    return entry(([], list(ops)))


def put(number: int, key: Any, *cells: Any) -> list[Any]:
    return [PUT, number, key, list(cells)]


def patch(number: int, key: Any, changes: dict[int, Any]) -> list[Any]:
    return [PATCH, number, key, [[position, cell] for position, cell in changes.items()]]


def add(number: int, key: Any, position: int, delta: int, ceiling: int | None = None) -> list[Any]:
    return [ADD, number, key, position, delta, ceiling]


def delete(number: int, key: Any) -> list[Any]:
    return [DELETE, number, key]


def delete_prefix(number: int, prefix: Any) -> list[Any]:
    return [DELETE_PREFIX, number, prefix]


def acquire(key: str, session: str, value: bytes) -> bytes:
    """The lock as a feature would write it: already mine; free, seen before; free, never seen."""
    free = [[LE, DELAYS, key, 0, now()], [EXISTS, SESSIONS, session]]
    return entry(
        ([[IS, LOCKS, key, 1, session]], [patch(LOCKS, key, {0: value})]),
        (
            [*free, [EXISTS, LOCKS, key], [IS, LOCKS, key, 1, None]],
            [patch(LOCKS, key, {0: value, 1: session}), add(LOCKS, key, 2, 1)],
        ),
        ([*free, [ABSENT, LOCKS, key]], [put(LOCKS, key, value, session, 1)]),
    )
