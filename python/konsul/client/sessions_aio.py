"""`Client.sessions`: sessions, and locks by hand. Semantics stand at `session_calls`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from konsul.client import session_calls
from konsul.client.kv_calls import Value
from konsul.client.session_calls import Acquired, Session

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncSessions:
    """Who may hold locks. Most want `Client.lock`, which makes a session and keeps it alive."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self,
        *,
        name: str = "",
        node: str = "",
        checks: Iterable[str] = (),
        behavior: str = "release",
        lock_delay: str | None = None,
        ttl: str = "",
    ) -> Session:
        """Create a session that ends with its TTL (Go text) if it is not renewed, its node or its checks."""
        return await self._client.call(session_calls.create(name, node, checks, behavior, lock_delay, ttl))

    async def get(self, session: str) -> Session:
        """One session; NotFound when it has ended."""
        return await self._client.call(session_calls.get(session))

    async def list(self, *, node: str | None = None) -> AsyncIterator[Session]:
        """The sessions the caller may list, of one node or all, by id, fetched page by page."""
        after: str | None = None
        while True:
            call = session_calls.list_page(node, self._client.settings.page_size, after)
            page = await self._client.call(call)
            for item in page.items:
                yield item
            after = page.after
            if after is None:
                return

    async def renew(self, session: str) -> Session:
        """Give a session its whole TTL again; NotFound when it has ended."""
        return await self._client.call(session_calls.renew(session))

    async def destroy(self, session: str) -> None:
        """End a session: what it holds is released or deleted; NotFound when it has ended already."""
        await self._client.call(session_calls.destroy(session))

    async def acquire(
        self,
        key: str,
        session: str,
        value: Value | None = None,
        *,
        cas: int | None = None,
        flags: int | None = None,
    ) -> Acquired:
        """Lock a key once, without waiting, and write `value`, if given; see `Acquired.ok`."""
        return await self._client.call(session_calls.acquire(key, session, value, cas, flags))

    async def release(self, key: str, session: str, value: Value | None = None) -> bool:
        """Give a lock back and write `value`, if given; False when the session did not hold it."""
        return await self._client.call(session_calls.release(key, session, value))
