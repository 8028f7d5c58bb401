"""`AsyncClient.lock`, `semaphore` and `election`. What does it is loaded by who asks for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from konsul.client.kv_calls import Value
from konsul.client.request import Call
from konsul.client.settings import Settings

if TYPE_CHECKING:
    from konsul.client.locks_aio import AsyncElection, AsyncLock, AsyncSemaphore


class AsyncTakesLocks:
    """The part of a client that holds locks. Each lock has connections of its own, in a hurry to renew."""

    settings: Settings
    call: Callable[[Call[Any]], Coroutine[Any, Any, Any]]

    def lock(
        self,
        path: str,
        *,
        value: Value | None = None,
        ttl: str = "15s",
        wait: str | None = None,
        name: str = "",
        node: str = "",
        checks: Iterable[str] = (),
        lock_delay: str | None = None,
    ) -> AsyncLock:
        """A lock on the key `path`, taken by `with`, which gives what is held: its `lock_index` is the
        fencing token, and `lost` says when it is lost; then the block should end, and does so with Conflict.

        It is believed for a `ttl` after the last renewal that was answered, and renewed three times in it.
        `wait`: how long to wait for it, `0s` not at all; else for ever. Durations are Go text. `name`,
        `node`, `checks` and `lock_delay` are the session's behind it; `value` is written to the key.
        """
        from konsul.client import locking
        from konsul.client.locks_aio import AsyncLock

        wishes = locking.wishes(ttl, name, node=node, checks=checks, lock_delay=lock_delay)
        return AsyncLock(self.settings, path, wishes, locking.wait_s(wait), value)

    def semaphore(
        self,
        path: str,
        limit: int,
        *,
        ttl: str = "15s",
        wait: str | None = None,
        name: str = "",
        node: str = "",
        checks: Iterable[str] = (),
    ) -> AsyncSemaphore:
        """One of `limit` slots under the prefix `path`, taken by `with`; everything else is as for `lock`.
        Who dies frees his slot within the TTL; there is no lock-delay."""
        from konsul.client import locking
        from konsul.client.locks_aio import AsyncSemaphore

        wishes = locking.wishes(ttl, name, node=node, checks=checks, behavior="delete")
        return AsyncSemaphore(self.settings, path, limit, wishes, locking.wait_s(wait))

    def election(
        self,
        path: str,
        *,
        value: Value | None = None,
        ttl: str = "15s",
        name: str = "",
        node: str = "",
        checks: Iterable[str] = (),
        lock_delay: str | None = None,
    ) -> AsyncElection:
        """An election on the key `path`: stand with `campaign`, step down with `resign`, look with `leader`
        and `observe`. `value` tells the others who this candidate is."""
        from konsul.client import locking
        from konsul.client.locks_aio import AsyncElection, AsyncLock

        wishes = locking.wishes(ttl, name, node=node, checks=checks, lock_delay=lock_delay)

        def campaign(wait_s: float | None) -> AsyncLock:
            return AsyncLock(self.settings, path, wishes, wait_s, value)

        return AsyncElection(self.call, campaign, path)
