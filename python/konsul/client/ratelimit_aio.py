"""`AsyncClient.ratelimit`: seeing and changing the rate limits. Semantics stand at `ratelimit_calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konsul.client import ratelimit_calls
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncRateLimit:
    """The rate limits: of the whole cluster where they are changed, of one node where they are looked at."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def stats(self, *, details: bool = False) -> Document:
        """How many clients have a bucket on the answering node; with `details` also how it answered them."""
        return await self._client.call(ratelimit_calls.stats(details))

    async def config(self) -> Document:
        """The configuration in force."""
        return await self._client.call(ratelimit_calls.config())

    async def clients(self, kind: str = "all") -> tuple[Document, ...]:
        """Who has a bucket on the answering node: `ip`, `apikey`, `user` or `all`."""
        return await self._client.call(ratelimit_calls.clients(kind))

    async def client(self, identifier: str) -> Document:
        """One client of the answering node; NotFound for one without a bucket."""
        return await self._client.call(ratelimit_calls.client(identifier))

    async def status(self, kind: str, identifier: str) -> Document:
        """All the answering node knows of one client; NotFound when that is nothing."""
        return await self._client.call(ratelimit_calls.status(kind, identifier))

    async def top(self, by: str = "violations", limit: int | None = None) -> tuple[Document, ...]:
        """The clients of the answering node with the most `violations` or `requests`."""
        return await self._client.call(ratelimit_calls.top(by, limit))

    async def events(self, after: int = 0, limit: int | None = None) -> tuple[Document, ...]:
        """The refusals of the answering node with a number above `after`, oldest first."""
        return await self._client.call(ratelimit_calls.events(after, limit))

    async def reset(self, kind: str, identifier: str) -> Document:
        """Make the answering node forget one client's bucket: it starts full."""
        return await self._client.call(ratelimit_calls.reset(kind, identifier))

    async def reset_all(self, kind: str = "all") -> Document:
        """Make the answering node forget every bucket, or all of a kind."""
        return await self._client.call(ratelimit_calls.reset_all(kind))

    async def update(self, *, requests_per_sec: float | None = None, burst: int | None = None) -> Document:
        """Change everybody's rate, burst or both, in the whole cluster."""
        return await self._client.call(ratelimit_calls.update(requests_per_sec, burst))

    async def restore_config(self) -> Document:
        """Forget what was changed of the configuration: every node goes by its own settings again."""
        return await self._client.call(ratelimit_calls.restore_config())

    async def adjust(
        self, kind: str, identifier: str, *, rate: float, burst: int, duration: str | None = None
    ) -> Document:
        """Give one client a rate of its own for a time (Go text), an hour if not said."""
        return await self._client.call(ratelimit_calls.adjust(kind, identifier, rate, burst, duration))

    async def restore(self, kind: str, identifier: str) -> Document:
        """End a client's own rate before its time; NotFound if it has none."""
        return await self._client.call(ratelimit_calls.restore(kind, identifier))

    async def entries(self, name: str) -> tuple[Document, ...]:
        """Who is on the `whitelist` or the `blacklist`."""
        return await self._client.call(ratelimit_calls.entries(name))

    async def add(
        self, name: str, kind: str, identifier: str, *, reason: str = "", duration: str | None = None
    ) -> Document:
        """Put an address, a network, a key or a user on a list; the blacklist needs a duration."""
        return await self._client.call(ratelimit_calls.add(name, kind, identifier, reason, duration))

    async def remove(self, name: str, identifier: str) -> Document:
        """Take somebody off a list; NotFound for one who is not on it."""
        return await self._client.call(ratelimit_calls.remove(name, identifier))
