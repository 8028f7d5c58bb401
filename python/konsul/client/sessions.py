"""`Client.sessions`: sessions, and locks by hand. Semantics stand at `session_calls`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from konsul.client import session_calls
from konsul.client.kv_calls import Value
from konsul.client.session_calls import Acquired, Session

if TYPE_CHECKING:
    from konsul.client.sync import Client


class Sessions:
    """Who may hold locks. Most want `Client.lock`, which makes a session and keeps it alive."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
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
        return self._client.call(session_calls.create(name, node, checks, behavior, lock_delay, ttl))

    def get(self, session: str) -> Session:
        """One session; NotFound when it has ended."""
        return self._client.call(session_calls.get(session))

    def list(self, *, node: str | None = None) -> Iterator[Session]:
        """The sessions the caller may list, of one node or all, by id, fetched page by page."""
        after: str | None = None
        while True:
            call = session_calls.list_page(node, self._client.settings.page_size, after)
            page = self._client.call(call)
            yield from page.items
            after = page.after
            if after is None:
                return

    def renew(self, session: str) -> Session:
        """Give a session its whole TTL again; NotFound when it has ended."""
        return self._client.call(session_calls.renew(session))

    def destroy(self, session: str) -> None:
        """End a session: what it holds is released or deleted; NotFound when it has ended already."""
        self._client.call(session_calls.destroy(session))

    def acquire(
        self,
        key: str,
        session: str,
        value: Value | None = None,
        *,
        cas: int | None = None,
        flags: int | None = None,
    ) -> Acquired:
        """Lock a key once, without waiting, and write `value`, if given; see `Acquired.ok`."""
        return self._client.call(session_calls.acquire(key, session, value, cas, flags))

    def release(self, key: str, session: str, value: Value | None = None) -> bool:
        """Give a lock back and write `value`, if given; False when the session did not hold it."""
        return self._client.call(session_calls.release(key, session, value))
