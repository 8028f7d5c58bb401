"""Three nodes that see the same requests: before one the plain front, before the others the compiled one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from konsul.kernel.node import Kernel
from tests.contract.front_ways import AsgiWay, Call, DirectWay, Reply, Way, compiled, plain, start_node


class Trio:
    """The three ways and the loop they live on."""

    def __init__(
        self,
        root: str,
        behind: Callable[[Any], Any] = lambda core: core,
        guard: Callable[[Kernel], None] | None = None,
        **environ: Any,
    ) -> None:
        """`behind` puts something before each node's core, `guard` into its pipeline."""
        self.runner = asyncio.Runner()
        self.runner.run(self._start(root, behind, guard, environ))

    async def _start(
        self,
        root: str,
        behind: Callable[[Any], Any],
        guard: Callable[[Kernel], None] | None,
        environ: dict[str, str],
    ) -> None:
        names = ("plain", "asgi", "direct")
        self.kernels = [await start_node(f"{root}/{name}", environ, guard) for name in names]
        for kernel in self.kernels:
            kernel.engine.core = behind(kernel.engine.core)
        self.fronts = [compiled(kernel) for kernel in self.kernels[1:]]
        self.ways: tuple[Way, Way, Way] = (
            AsgiWay(plain(self.kernels[0])),
            AsgiWay(self.fronts[0]),
            DirectWay(self.fronts[1]),
        )

    def ask(self, call: Call) -> Reply:
        """Sends `call` all three ways, insists on equal answers, returns one."""
        return self.runner.run(self._ask(call))

    async def _ask(self, call: Call) -> Reply:
        expected, *others = [await way(call) for way in self.ways]
        for reply in others:
            assert reply.comparable() == expected.comparable(), call
        for reply in (expected, *others):
            for name, value in reply.headers:
                assert name != b"content-length" or call.method == "HEAD" or int(value) == len(reply.body)
        return expected

    def equal_tables(self) -> bool:
        return len({kernel.engine.digest() for kernel in self.kernels}) == 1

    def close(self) -> None:
        for front in self.fronts:
            front.close()
        for kernel in self.kernels:
            self.runner.run(kernel.stop(1_000))
        self.runner.close()
