"""Leader kills: how soon a write succeeds again, and how long one client goes without one."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence

from tests.chaos.wire import Lost, NotSent, Wire
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.waiting import until_async

GIVE_UP_S = 30.0
ANSWER_S = 5.0


def first_writes(cluster: Cluster, kills: int) -> list[float]:
    """The ms from each SIGKILL of the leader to the first write the others acknowledge, in order of size."""
    took = []
    for number in range(kills):
        leader = cluster.until_leader()
        others = [node for node in cluster.nodes.values() if node is not leader]
        took.append(asyncio.run(_kill_and_write(leader, others, number)) * 1e3)
        leader.launch()
        cluster.until_ready()
        cluster.until_alike()
        if number % 10 == 9:
            print(f"{number + 1} kills, longest so far {max(took):.0f} ms", file=sys.stderr)
    return sorted(took)


async def _kill_and_write(leader: Node, others: Sequence[Node], number: int) -> float:
    wires = [Wire(node.port, ANSWER_S) for node in others]
    try:
        for wire in wires:
            await wire.ask("GET", "/health/live")
        begun = time.perf_counter()
        leader.kill()
        writers = [asyncio.create_task(_until_written(wire, f"kill/{number}")) for wire in wires]
        done, left = await asyncio.wait(writers, timeout=GIVE_UP_S, return_when=asyncio.FIRST_COMPLETED)
        took = time.perf_counter() - begun
        for task in left:
            task.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        if not done:
            raise RuntimeError(f"no write succeeded within {GIVE_UP_S} s of kill {number}")
        return took
    finally:
        for wire in wires:
            await wire.close()


async def _until_written(wire: Wire, key: str) -> None:
    while True:
        try:
            status, _ = await wire.ask("PUT", f"/kv/{key}", {"value": "v"})
        except Lost:
            continue
        if status == 200:
            return
        await asyncio.sleep(0.001)


def gaps(cluster: Cluster, kills: int) -> list[float]:
    """The longest time around each kill in which one client that never stops got no write through, in ms."""
    return sorted(asyncio.run(_gaps(cluster, kills)))


async def _gaps(cluster: Cluster, kills: int) -> list[float]:
    acknowledged: list[float] = []
    ended = asyncio.Event()
    writer = asyncio.create_task(_write_on(list(cluster.nodes.values()), acknowledged, ended))
    longest = []
    try:
        for _ in range(kills):
            leader = await asyncio.to_thread(cluster.until_leader)
            await _count(acknowledged, len(acknowledged) + 20)
            before = len(acknowledged) - 1
            leader.kill()
            await _count(acknowledged, len(acknowledged) + 50)
            moments = acknowledged[before:]
            longest.append(max(b - a for a, b in itertools.pairwise(moments)) * 1e3)
            leader.launch()
            await asyncio.to_thread(cluster.until_ready)
            await asyncio.to_thread(cluster.until_alike)
    finally:
        ended.set()
        await writer
    return longest


async def _count(acknowledged: list[float], wanted: int) -> None:
    await until_async(lambda: len(acknowledged) >= wanted, "acknowledged writes", GIVE_UP_S)


async def _write_on(nodes: Sequence[Node], acknowledged: list[float], ended: asyncio.Event) -> None:
    """One client: stays with a node while it answers, else goes to the next."""
    wires = [Wire(node.port, 1.0) for node in nodes]
    at, number = 0, 0
    try:
        while not ended.is_set():
            number += 1
            try:
                status, _ = await wires[at].ask("PUT", f"/kv/gap/{number % 100}", {"value": str(number)})
            except NotSent:
                status = 0
                await asyncio.sleep(0.002)
            except Lost:
                status = 0
            if status == 200:
                acknowledged.append(time.perf_counter())
            else:
                at = (at + 1) % len(wires)
    finally:
        for wire in wires:
            await wire.close()
