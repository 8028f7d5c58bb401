"""Sessions, and the keys that nobody may lock for a while after one was lost."""

from __future__ import annotations

from typing import Final

from konsul.features.catalog.tables import CRITICAL, Check, Node
from konsul.kernel import entry
from konsul.kernel.schema import Row, expires, key, lease, ref, table

RELEASE: Final = "release"
DELETE: Final = "delete"
BEHAVIORS: Final = (RELEASE, DELETE)


@table("sessions", id=16)
class Session(Row):
    """Somebody who may hold locks. It goes with its node, with any of its checks when that goes or becomes
    critical, and with its lease; what it holds then follows `behavior`, see `kv.tables.Entry`."""

    id: str = key()
    name: str = ""
    node: str | None = ref(Node, then=lambda: [entry.delete(Session, entry.SELF)])
    checks: list[str] = ref(
        Check,
        default=[],
        then=lambda: [entry.delete(Session, entry.SELF)],
        breaks_when=("status", CRITICAL),
    )
    behavior: str = RELEASE
    lock_delay_ms: int = 15_000
    ttl_ms: int | None = lease()
    """None: it stays until it is destroyed."""
    created_at_ms: int = 0


@table("lock_delays", id=17)
class LockDelay(Row):
    """A key that nobody may acquire yet: what a session held that was lost, under the key's own name."""

    key: str = key()
    until_ms: int | None = expires()
