"""`Client.ratelimit`: seeing and changing the rate limits. Semantics stand at `ratelimit_calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konsul.client import ratelimit_calls
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.sync import Client


class RateLimit:
    """The rate limits: of the whole cluster where they are changed, of one node where they are looked at."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def stats(self, *, details: bool = False) -> Document:
        """How many clients have a bucket on the answering node; with `details` also how it answered them."""
        return self._client.call(ratelimit_calls.stats(details))

    def config(self) -> Document:
        """The configuration in force."""
        return self._client.call(ratelimit_calls.config())

    def clients(self, kind: str = "all") -> tuple[Document, ...]:
        """Who has a bucket on the answering node: `ip`, `apikey`, `user` or `all`."""
        return self._client.call(ratelimit_calls.clients(kind))

    def client(self, identifier: str) -> Document:
        """One client of the answering node; NotFound for one without a bucket."""
        return self._client.call(ratelimit_calls.client(identifier))

    def status(self, kind: str, identifier: str) -> Document:
        """All the answering node knows of one client; NotFound when that is nothing."""
        return self._client.call(ratelimit_calls.status(kind, identifier))

    def top(self, by: str = "violations", limit: int | None = None) -> tuple[Document, ...]:
        """The clients of the answering node with the most `violations` or `requests`."""
        return self._client.call(ratelimit_calls.top(by, limit))

    def events(self, after: int = 0, limit: int | None = None) -> tuple[Document, ...]:
        """The refusals of the answering node with a number above `after`, oldest first."""
        return self._client.call(ratelimit_calls.events(after, limit))

    def reset(self, kind: str, identifier: str) -> Document:
        """Make the answering node forget one client's bucket: it starts full."""
        return self._client.call(ratelimit_calls.reset(kind, identifier))

    def reset_all(self, kind: str = "all") -> Document:
        """Make the answering node forget every bucket, or all of a kind."""
        return self._client.call(ratelimit_calls.reset_all(kind))

    def update(self, *, requests_per_sec: float | None = None, burst: int | None = None) -> Document:
        """Change everybody's rate, burst or both, in the whole cluster."""
        return self._client.call(ratelimit_calls.update(requests_per_sec, burst))

    def restore_config(self) -> Document:
        """Forget what was changed of the configuration: every node goes by its own settings again."""
        return self._client.call(ratelimit_calls.restore_config())

    def adjust(
        self, kind: str, identifier: str, *, rate: float, burst: int, duration: str | None = None
    ) -> Document:
        """Give one client a rate of its own for a time (Go text), an hour if not said."""
        return self._client.call(ratelimit_calls.adjust(kind, identifier, rate, burst, duration))

    def restore(self, kind: str, identifier: str) -> Document:
        """End a client's own rate before its time; NotFound if it has none."""
        return self._client.call(ratelimit_calls.restore(kind, identifier))

    def entries(self, name: str) -> tuple[Document, ...]:
        """Who is on the `whitelist` or the `blacklist`."""
        return self._client.call(ratelimit_calls.entries(name))

    def add(
        self, name: str, kind: str, identifier: str, *, reason: str = "", duration: str | None = None
    ) -> Document:
        """Put an address, a network, a key or a user on a list; the blacklist needs a duration."""
        return self._client.call(ratelimit_calls.add(name, kind, identifier, reason, duration))

    def remove(self, name: str, identifier: str) -> Document:
        """Take somebody off a list; NotFound for one who is not on it."""
        return self._client.call(ratelimit_calls.remove(name, identifier))
