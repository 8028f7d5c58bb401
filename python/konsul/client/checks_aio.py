"""`AsyncClient.checks`: health checks of services and nodes. Semantics stand at `check_calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from konsul.client import check_calls
from konsul.client.model import Check, Document

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncChecks:
    """Health checks: seeing them, making them, telling what a TTL check says."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(
        self,
        *,
        service: str | None = None,
        node: str | None = None,
        status: str | None = None,
        filter: str | None = None,
        consistency: str | None = None,
    ) -> tuple[Document, ...]:
        """Checks by id: of a service, of a node itself, of a status, that a filter accepts."""
        return await self._client.flow(check_calls.list_(service, node, status, filter, consistency))

    async def get(self, check_id: str, *, consistency: str | None = None) -> Document:
        """One check with its last results and changes of status; NotFound for none."""
        return await self._client.call(check_calls.get(check_id, consistency))

    async def history(self, check_id: str, *, consistency: str | None = None) -> Document:
        """The last ten results of a check and its changes of status; NotFound for none."""
        return await self._client.call(check_calls.history(check_id, consistency))

    async def create(self, check: Check, *, service: str = "", instance: str = "", node: str = "") -> str:
        """Add a check to an instance of a service or to a node, or define that one anew; its id."""
        return await self._client.call(check_calls.create(check, service, instance, node))

    async def define(self, check_id: str, check: Check) -> None:
        """Give a check another definition; with the one it has it keeps its status."""
        await self._client.call(check_calls.define(check_id, check))

    async def delete(self, check_id: str) -> None:
        """Take a check away; NotFound when there is none."""
        await self._client.call(check_calls.delete(check_id))

    async def renew(self, check_id: str) -> None:
        """Tell that a TTL check passes."""
        await self._client.call(check_calls.renew(check_id))

    async def passing(self, check_id: str, output: str | None = None) -> None:
        """Tell that a TTL check passes, in these words."""
        await self._client.call(check_calls.passing(check_id, output))

    async def warning(self, check_id: str, output: str | None = None) -> None:
        """Tell that a TTL check warns."""
        await self._client.call(check_calls.warning(check_id, output))

    async def critical(self, check_id: str, output: str | None = None) -> None:
        """Tell that a TTL check fails: when it returns, nobody is given its instance any more."""
        await self._client.call(check_calls.critical(check_id, output))
