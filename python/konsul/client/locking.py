"""What `Client.lock`, `semaphore` and `election` make of their arguments; the same for both clients."""

from __future__ import annotations

from collections.abc import Iterable

from konsul.client.holding import seconds
from konsul.client.live_session import SessionWishes
from konsul.errors import Invalid

TTL = "15s"


def wishes(
    ttl: str,
    name: str = "",
    *,
    node: str = "",
    checks: Iterable[str] = (),
    behavior: str = "release",
    lock_delay: str | None = None,
) -> SessionWishes:
    """How the session of a lock is made. Raises Invalid for a duration that is none, or a TTL of 0."""
    ttl_s = seconds(ttl)
    if ttl_s <= 0:
        raise Invalid("a lock needs a ttl over zero: without one it would outlive its holder")
    return SessionWishes(
        ttl=ttl,
        ttl_s=ttl_s,
        name=name,
        node=node,
        checks=tuple(checks),
        behavior=behavior,
        lock_delay=lock_delay,
    )


def wait_s(wait: str | None) -> float | None:
    """How long to wait, None for ever. Raises Invalid for a duration that is none."""
    return None if wait is None else seconds(wait)
