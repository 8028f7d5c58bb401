"""How the node is, told whenever its services change and with every sign of life."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from konsul.features.catalog.health_counts import counts_of
from konsul.features.catalog.tables import CRITICAL
from konsul.features.watch import sources
from konsul.features.watch.framing import Framing
from konsul.features.watch.teller import Teller
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

PAUSE_S: Final = 0.1
"""Changes of services that follow each other faster are told together."""


def spec() -> Spec:
    """What wakes it: any change of any service. Only that there was one counts, so one may wait."""
    return replace(sources.services(coalesce=True), needs="health:read")


def document(kernel: Kernel) -> bytes:
    """The event. Expired services are gone; warning is not unhealthy: such a service is still given out."""
    counts = counts_of(kernel.engine)
    total, unhealthy = sum(counts.values()), counts[CRITICAL]
    is_well = kernel.ready() and not kernel.services.health()
    data = {
        "status": "healthy" if is_well else "degraded",
        "uptime": format_duration_ms(kernel.uptime_ms()),
        "services": {"total": total, "healthy": total - unhealthy, "unhealthy": unhealthy},
    }
    return orjson.dumps({"type": "health_update", "data": data, "timestamp": int(time.time())})


class HealthTeller(Teller):
    """Tells how the node is instead of what changed."""

    def __init__(self, kernel: Kernel, framing: Framing) -> None:
        super().__init__(kernel.lines, framing)
        self._kernel = kernel
        self._timer: asyncio.TimerHandle | None = None
        self._is_owed = False
        """It was not told because the client did not read."""

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        """See `konsul.kernel.watching.Sink`."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._tell)
        return self._has_room

    def behind(self, index: int) -> None:
        """Nothing was missed: what counts is how it is now."""
        self.event(index, b"", b"")

    def compacted(self, index: int) -> None:
        """As `behind`."""
        self.event(index, b"", b"")

    def drained(self) -> None:
        """See `LineUser`."""
        super().drained()
        if self._is_owed:
            self.now()

    def beat(self) -> None:
        """See `LineUser`."""
        self._tell()
        super().beat()

    def closed(self, reason: str) -> None:
        """See `LineUser`."""
        if self._timer is not None:
            self._timer.cancel()
        super().closed(reason)

    def now(self) -> None:
        """Tells it; to a client that does not read, once it has read."""
        # No change was decided upon: whether the client may still be told is asked here.
        if self._watch is not None and not self._watch.still():
            return
        self._is_owed = not self._has_room
        if self._has_room:
            self._texts.append(self._framing.change(0, document(self._kernel), is_last=True))
            self._soon()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.now()

    def _position(self) -> int | None:
        """What is told has no past: there is nothing to go on from."""
        return None
