"""How long instances still live: leases are the leader's, so any other node asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from konsul.engine import Caller, Engine
from konsul.errors import Invalid, KonsulError
from konsul.features.catalog.tables import Instance
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.context import Context

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

KIND: Final = "leases"
PER_QUESTION: Final = 500
ASK_MS: Final = 1_000


async def left_ms(ctx: Context, keys: Sequence[bytes]) -> list[int | None]:
    """Milliseconds left of each instance's lease, in order; 0 for one that has just ended.

    None where it cannot be known now: a read of services does not fail because the leader is slow to answer.
    """
    engine = ctx.engine
    if engine.is_current():
        return [engine.lease_ms(Instance.table_id, key) or 0 for key in keys]
    cluster = engine.status().get("cluster") or {}
    leader_id = cluster["leader_raft_id"] if cluster.get("known_leader") else 0
    found: list[int | None] = []
    try:
        while leader_id and leader_id != cluster["raft_id"] and len(found) < len(keys):
            part = keys[len(found) : len(found) + PER_QUESTION]
            answer = await engine.call(leader_id, KIND, {"keys": list(part)}, ASK_MS)
            found += answer["left_ms"]
    except KonsulError:
        # The leader has gone or is busy: what it said so far stays.
        pass
    return found + [None] * (len(keys) - len(found))


class Leases:
    """Answers the other nodes' questions about leases."""

    name: ClassVar[str] = "leases"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._engine: Engine = kernel.engine
        self._enabled = kernel.config.of(ClusterSettings).enabled

    async def start(self) -> None:
        """Answers from now on."""
        if self._enabled:
            self._engine.handlers.add(KIND, self._answer)

    async def stop(self) -> None:
        """Answers no more."""
        if self._enabled:
            del self._engine.handlers[KIND]

    def health(self) -> str | None:
        """Nothing can be wrong."""
        return None

    async def _answer(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        del caller
        keys = body.get("keys")
        if not isinstance(keys, list) or len(keys) > PER_QUESTION:
            raise Invalid(f"leases: expected up to {PER_QUESTION} keys")
        if any(type(key) is not bytes for key in keys):
            raise Invalid("leases: a key is bytes")
        return {"left_ms": [self._engine.lease_ms(Instance.table_id, key) for key in keys]}
