"""Writes as fast as it can and prints every acknowledgement, until it is killed."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from konsul.engine import Engine
from tests.core.node import KV, SCHEMA, cells, options

WRITERS = 8


async def write(engine: Engine, life: str, writer: int) -> None:
    """One writer; never returns."""
    for n in itertools.count():
        key = f"{life}/{writer}/{n}"
        applied = await engine.put(KV, key.encode(), cells(b"v"))
        print(key, applied.index, flush=True)


async def main(data_dir: str, life: str) -> None:
    """Starts the node and its writers."""
    engine = Engine(options(Path(data_dir), snapshot_threshold_entries=50, snapshot_interval_ms=10))
    await engine.start(SCHEMA)
    await asyncio.gather(*(write(engine, life, writer) for writer in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
