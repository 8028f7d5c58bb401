"""A node for the tests of this room: two tables, small limits, inside this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack

from konsul.engine import Engine, Options, Shape

KV = 1
SERVICES = 2
VALUE, FLAGS, EXPIRES = 0, 1, 2
NAME, TAGS, TTL = 0, 1, 2


def column(name: str, kind: str, default: object = None, index: str = "none") -> dict[str, object]:
    """One column of a schema."""
    return {"name": name, "kind": kind, "default": default, "index": index}


def table(number: int, name: str, columns: list[dict[str, object]], **more: object) -> dict[str, object]:
    """One table of a schema."""
    rest = {"expires": None, "lease": None, "keep": None, "refs": []} | more
    return {"id": number, "name": name, "columns": columns} | rest


TABLES = [
    table(
        KV,
        "kv",
        [column("value", "bytes", b""), column("flags", "u64", 0), column("expires_at_ms", "u64")],
        expires=EXPIRES,
    ),
    table(
        SERVICES,
        "services",
        [column("name", "text", "", "single"), column("tags", "list", [], "each"), column("ttl_ms", "u64")],
        lease=TTL,
    ),
]
SCHEMA: bytes = msgpack.packb(TABLES)
KV_SHAPE = Shape(KV, [("key", -1, 0), ("value", VALUE, 2), ("flags", FLAGS, 1), ("modify_index", -3, 0)])


def cells(*values: object) -> bytes:
    """A packed array of cells."""
    packed: bytes = msgpack.packb(list(values))
    return packed


def case(guards: Sequence[object], ops: Sequence[object]) -> bytes:
    """A packed body of one case."""
    packed: bytes = msgpack.packb([[list(guards), list(ops)]])
    return packed


def soon_ms(plus_ms: int) -> int:
    """Milliseconds since 1970, `plus_ms` from now."""
    return time.time_ns() // 1_000_000 + plus_ms


def options(data_dir: Path, **more: Any) -> Options:
    """Options that keep a test node light."""
    settings: dict[str, Any] = {"segment_bytes": 1 << 20, "disk_reserve_bytes": 1 << 20} | more
    return Options(data_dir=str(data_dir), **settings)


@asynccontextmanager
async def running(data_dir: Path, schema: bytes = SCHEMA, **more: Any) -> AsyncIterator[Engine]:
    """A started engine, stopped at the end."""
    engine = Engine(options(data_dir, **more))
    await engine.start(schema)
    try:
        yield engine
    finally:
        await engine.stop()


def story(told: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test's coroutine."""
    asyncio.run(told())
