"""Faults for a cluster of real processes: each is done, lasts a while, and is undone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from tests.cluster.harness.cluster import Cluster, members
from tests.cluster.harness.links import Links
from tests.cluster.harness.node import Node
from tests.cluster.harness.wall_clocks import WallClock

LASTS_S = (0.2, 4.0)
QUIET_S = (0.1, 2.5)
JUMPS_S = (-86_400, -3_600, -5, 5, 3_600, 86_400)


class Nemesis:
    """Draws faults from `rng` until it is told to end. `done` counts them by name."""

    def __init__(
        self,
        cluster: Cluster,
        rng: random.Random,
        problems: list[str],
        clocks: Mapping[str, WallClock] | None = None,
    ) -> None:
        assert cluster.links is not None
        self._cluster = cluster
        self._links: Links = cluster.links
        self._rng = rng
        self._problems = problems
        self._clocks = dict(clocks or {})
        self.done: Counter[str] = Counter()

    async def work(self, ended: asyncio.Event) -> None:
        """One fault after another, sometimes a second while the first lasts; ends with all undone."""
        faults = self._faults()
        try:
            while not ended.is_set():
                first, second = self._rng.sample(sorted(faults), 2)
                await self._suffer(faults[first], first)
                if self._rng.random() < 0.25:
                    await self._suffer(faults[second], second)
                await self._wait(ended, LASTS_S)
                await asyncio.to_thread(self._undo)
                await self._wait(ended, QUIET_S)
        finally:
            await asyncio.to_thread(self._undo)

    def _faults(self) -> dict[str, Callable[[], None]]:
        faults: dict[str, Callable[[], None]] = {
            "kill the leader": lambda: self._leader().kill(),
            "kill a follower": lambda: self._follower().kill(),
            "kill all": self._kill_all,
            "stop gracefully": lambda: self._stop(self._any()),
            "pause the leader": lambda: self._leader().pause(),
            "pause a follower": lambda: self._follower().pause(),
            "pause all": self._pause_all,
            "isolate the leader": lambda: self._isolate(self._leader()),
            "isolate a node": lambda: self._isolate(self._any()),
            "nobody hears the leader": self._mute_leader,
            "the leader hears nobody": self._deafen_leader,
            "one way between two": self._one_way,
            "a ring of one-way cuts": self._ring,
            "slow links": self._slow,
            "a narrow link": self._narrow,
            "break connections": self._reset,
            "wipe a follower": self._wipe,
            "transfer the leadership": self._transfer,
            "take a snapshot": self._snapshot,
        }
        if self._clocks:
            faults["wall clocks jump"] = self._jump
        return faults

    async def _suffer(self, fault: Callable[[], None], name: str) -> None:
        self.done[name] += 1
        await asyncio.to_thread(fault)

    async def _wait(self, ended: asyncio.Event, bounds: tuple[float, float]) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), self._rng.uniform(*bounds))

    def _undo(self) -> None:
        self._links.heal()
        for node in self._cluster.nodes.values():
            node.resume()
            if not node.running():
                if not node.felled:
                    self._problems.append(f"{node.name} ended by itself with {node.exit_status()}")
                node.launch()

    def _running(self) -> list[Node]:
        return [node for node in self._cluster.nodes.values() if node.running()]

    def _any(self) -> Node:
        return self._rng.choice(self._running() or list(self._cluster.nodes.values()))

    def _leader(self) -> Node:
        return self._cluster.leader() or self._any()

    def _follower(self) -> Node:
        leader = self._cluster.leader()
        others = [node for node in self._running() if node is not leader]
        return self._rng.choice(others or self._running() or list(self._cluster.nodes.values()))

    def _names(self, besides: Node) -> list[str]:
        return [name for name in self._cluster.nodes if name != besides.name]

    def _kill_all(self) -> None:
        for node in self._cluster.nodes.values():
            node.kill()

    def _pause_all(self) -> None:
        for node in self._running():
            node.pause()

    def _stop(self, node: Node) -> None:
        if node.running():
            node.resume()
            node.stop()
            node.kill()

    def _isolate(self, node: Node) -> None:
        self._links.part([node.name], self._names(node))

    def _mute_leader(self) -> None:
        leader = self._leader()
        for name in self._names(leader):
            self._links.cut(leader.name, name)

    def _deafen_leader(self) -> None:
        leader = self._leader()
        for name in self._names(leader):
            self._links.cut(name, leader.name)

    def _one_way(self) -> None:
        self._links.cut(*self._rng.sample(sorted(self._cluster.nodes), 2))

    def _ring(self) -> None:
        names = self._rng.sample(sorted(self._cluster.nodes), len(self._cluster.nodes))
        for one, other in zip(names, [*names[1:], names[0]], strict=True):
            self._links.cut(one, other)

    def _slow(self) -> None:
        for one in self._cluster.nodes:
            for other in self._cluster.nodes:
                if one != other:
                    self._links.slow(one, other, delay_s=self._rng.uniform(0.0, 0.3))

    def _narrow(self) -> None:
        one, other = self._rng.sample(sorted(self._cluster.nodes), 2)
        self._links.slow(one, other, bytes_per_s=self._rng.choice((2_000, 20_000, 200_000)))

    def _reset(self) -> None:
        names = sorted(self._cluster.nodes)
        for number, one in enumerate(names):
            for other in names[number + 1 :]:
                self._links.reset(one, other)

    def _wipe(self) -> None:
        """Only of a follower of a whole cluster: two empty disks at once lose data by right."""
        leader = self._cluster.leader()
        if leader is None or members(leader) != set(self._cluster.nodes):
            return
        if any(not node.running() or node.paused for node in self._cluster.nodes.values()):
            return
        follower = self._rng.choice(self._names(leader))
        node = self._cluster.nodes[follower]
        node.kill()
        node.wipe()
        node.launch()

    def _transfer(self) -> None:
        self._any().asked("POST", "/cluster/transfer-leader", {})

    def _snapshot(self) -> None:
        self._any().asked("POST", "/cluster/snapshot")

    def _jump(self) -> None:
        for clock in self._clocks.values():
            clock.jump(self._rng.choice(JUMPS_S))
