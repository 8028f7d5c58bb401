"""`AsyncClient.audit`: what was recorded. Semantics and errors stand at `audit_calls`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from konsul.client import audit_calls
from konsul.client.audit import PAGE
from konsul.client.audit_calls import EVERYTHING, AuditPage, AuditQuery
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncAudit:
    """The audit log of the node that answers."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def page(
        self, query: AuditQuery = EVERYTHING, *, limit: int | None = None, after: str | None = None
    ) -> AuditPage:
        """One page of events, at most 1,000; `after` goes on where a page ended."""
        return await self._client.call(audit_calls.events(query, limit, after))

    async def events(self, query: AuditQuery = EVERYTHING) -> AsyncIterator[Document]:
        """Every event there is, page by page."""
        after: str | None = None
        while True:
            page = await self.page(query, limit=PAGE, after=after)
            for event in page.events:
                yield event
            if not page.more:
                return
            after = page.after

    async def stats(self) -> Document:
        """What the node recorded, wrote and lost, and what it keeps."""
        return await self._client.call(audit_calls.stats())
