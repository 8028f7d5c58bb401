"""`Client.audit`: what was recorded. Semantics and errors stand at `audit_calls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from konsul.client import audit_calls
from konsul.client.audit_calls import EVERYTHING, AuditPage, AuditQuery
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.sync import Client

PAGE = 1_000


class Audit:
    """The audit log of the node that answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def page(
        self, query: AuditQuery = EVERYTHING, *, limit: int | None = None, after: str | None = None
    ) -> AuditPage:
        """One page of events, at most 1,000; `after` goes on where a page ended."""
        return self._client.call(audit_calls.events(query, limit, after))

    def events(self, query: AuditQuery = EVERYTHING) -> Iterator[Document]:
        """Every event there is, page by page."""
        after: str | None = None
        while True:
            page = self.page(query, limit=PAGE, after=after)
            yield from page.events
            if not page.more:
                return
            after = page.after

    def stats(self) -> Document:
        """What the node recorded, wrote and lost, and what it keeps."""
        return self._client.call(audit_calls.stats())
