"""Writes at a fixed rate, each counted from the moment it was due, and how far the followers are behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.wire import Lost, Wire
from tests.cluster.harness.node import Node

CONNECTIONS = 32
VALUE = "v" * 100
LAG_EVERY_S = 0.02


@dataclass
class Steady:
    """What a run saw, in ms."""

    writes: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    failed: int = 0


async def run(targets: Sequence[Node], seconds: float, rate: float, lag_of: Sequence[Node] = ()) -> Steady:
    """Writes to `targets` in turn; `lag_of`: followers whose lag behind the first target is sampled."""
    seen = Steady()
    due: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    ended = asyncio.Event()
    tasks = [asyncio.create_task(_write(target, due, seen)) for target in targets for _ in range(CONNECTIONS)]
    tasks += [asyncio.create_task(_lag(targets[0], follower, ended, seen)) for follower in lag_of]
    begun = time.perf_counter()
    try:
        for number in range(int(seconds * rate)):
            moment = begun + number / rate
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            due.put_nowait((number, moment))
        await due.join()
    finally:
        ended.set()
        for task in tasks[: len(targets) * CONNECTIONS]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    seen.writes.sort()
    seen.lags.sort()
    return seen


async def _write(target: Node, due: asyncio.Queue[tuple[int, float]], seen: Steady) -> None:
    wire = Wire(target.port)
    try:
        while True:
            number, moment = await due.get()
            try:
                status, _ = await wire.ask("PUT", f"/kv/steady/{number % 10_000}", {"value": VALUE})
            except Lost:
                status = 0
            seen.writes.append((time.perf_counter() - moment) * 1e3)
            seen.failed += status != 200
            due.task_done()
    finally:
        await wire.close()


async def _lag(leader: Node, follower: Node, ended: asyncio.Event, seen: Steady) -> None:
    """From a write's answer by the leader to the moment this follower serves it from its own tables."""
    there, here = Wire(leader.port), Wire(follower.port)
    key = f"lag/{follower.name}"
    try:
        while not ended.is_set():
            status, body = await there.ask("PUT", f"/kv/{key}", {"value": "v"})
            begun = time.perf_counter()
            if status == 200:
                headers = {"X-Konsul-Min-Index": str(body["modify_index"])}
                status, _ = await here.ask("GET", f"/kv/{key}?consistency=stale", None, headers)
            if status == 200:
                seen.lags.append((time.perf_counter() - begun) * 1e3)
            else:
                seen.failed += 1
            await asyncio.sleep(LAG_EVERY_S)
    finally:
        await there.close()
        await here.close()
