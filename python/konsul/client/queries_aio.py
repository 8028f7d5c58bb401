"""`AsyncClient.queries`: prepared queries. Semantics and errors stand at `query_calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from konsul.client import query_calls
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncQueries:
    """Prepared queries: keeping and executing them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self, *, consistency: str | None = None) -> tuple[Document, ...]:
        """Every query, by name."""
        return await self._client.call(query_calls.list_(consistency))

    async def get(self, which: str, *, consistency: str | None = None) -> Document:
        """One by its id or name; NotFound for none."""
        return await self._client.call(query_calls.get(which, consistency))

    async def create(self, document: Mapping[str, Any]) -> str:
        """Make a query; its id. Conflict if its name is taken."""
        return await self._client.call(query_calls.create(document))

    async def update(self, which: str, document: Mapping[str, Any], *, cas: int | None = None) -> str:
        """Replace a query, all of it; its id. NotFound for none."""
        return await self._client.call(query_calls.update(which, document, cas))

    async def delete(self, which: str, *, cas: int | None = None) -> str:
        """Remove a query; its id. NotFound for none."""
        return await self._client.call(query_calls.delete(which, cas))

    async def execute(
        self,
        which: str,
        *,
        near: str | None = None,
        limit: int | None = None,
        strategy: str | None = None,
        passing: bool = False,
        consistency: str | None = None,
    ) -> Document:
        """What an id, a name, or a name that a template answers for, finds: `instances`, best first."""
        return await self._client.call(
            query_calls.execute(which, near, limit, strategy, passing, consistency)
        )

    async def explain(self, which: str) -> Document:
        """What would be executed for an id or name."""
        return await self._client.call(query_calls.explain(which))
