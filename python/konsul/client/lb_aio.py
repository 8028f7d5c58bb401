"""`AsyncClient.lb`: instances chosen by the server, and how. Semantics stand at `lb_calls`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from konsul.client import lb_calls
from konsul.client.lb_calls import BalancingRules, InstanceLoad, LoadReport, Selected
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncBalancing:
    """Load balancing: one instance at a time, rules of services, reports."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def select(
        self,
        name: str,
        *,
        strategy: str | None = None,
        session: str | None = None,
        region: str | None = None,
        zone: str | None = None,
        client_ip: str | None = None,
        rule: str | None = None,
        warning: str | None = None,
        load_factor: float | None = None,
        limit: int | None = None,
        consistency: str | None = None,
    ) -> Selected:
        """An instance with the tag `name`, else of the service of that name; NotFound when none serves.

        What is not said is as the service's rules say, else as the server asked does.
        """
        params = lb_calls.wishes(
            strategy, session, region, zone, client_ip, rule, warning, load_factor, limit, consistency
        )
        return await self._client.call(lb_calls.select(name, params))

    async def find(
        self,
        *,
        tags: Iterable[str] = (),
        meta: Mapping[str, str] | None = None,
        strategy: str | None = None,
        session: str | None = None,
        region: str | None = None,
        zone: str | None = None,
        client_ip: str | None = None,
        rule: str | None = None,
        warning: str | None = None,
        load_factor: float | None = None,
        limit: int | None = None,
        consistency: str | None = None,
    ) -> Selected:
        """An instance that carries all of these tags and metadata; NotFound when none serves."""
        params = lb_calls.wishes(
            strategy, session, region, zone, client_ip, rule, warning, load_factor, limit, consistency
        )
        return await self._client.call(lb_calls.find(tags, meta or {}, params))

    async def strategy(self) -> str:
        """The strategy of the server asked."""
        return await self._client.call(lb_calls.strategy())

    async def set_strategy(self, name: str) -> str:
        """Change the strategy of the server asked, until it stops."""
        return await self._client.call(lb_calls.set_strategy(name))

    async def rules(self, service: str) -> BalancingRules:
        """The rules of a service, or of a tag; NotFound without some."""
        return await self._client.call(lb_calls.rules(service))

    async def list_rules(self) -> tuple[BalancingRules, ...]:
        """The rules of every service that has some and may be listed, by name."""
        return await self._client.call(lb_calls.list_rules())

    async def set_rules(
        self, service: str, document: Mapping[str, Any], *, cas: int | None = None
    ) -> BalancingRules:
        """Replace the rules of a service, on every server; with `cas` only at that modify_index."""
        return await self._client.call(lb_calls.set_rules(service, document, cas))

    async def delete_rules(self, service: str, *, cas: int | None = None) -> None:
        """Take the rules of a service away; NotFound when there are none."""
        await self._client.call(lb_calls.delete_rules(service, cas))

    async def activate(self, service: str, active: str) -> int:
        """Give every request to the service's rule of that name: the switch from blue to green."""
        return await self._client.call(lb_calls.activate(service, active))

    async def split(self, service: str) -> Document:
        """The named rules of a service; NotFound without rules."""
        return await self._client.call(lb_calls.split(service))

    async def set_split(self, service: str, document: Mapping[str, Any]) -> Document:
        """Replace the named rules of a service, and leave the rest of what its rules say."""
        return await self._client.call(lb_calls.set_split(service, document))

    async def delete_split(self, service: str) -> None:
        """Take the named rules of a service away; NotFound when there are none."""
        await self._client.call(lb_calls.delete_split(service))

    async def report(
        self,
        name: str,
        *,
        instance: str = "",
        connections: int | None = None,
        latency_ms: float | None = None,
        client: str = "",
    ) -> None:
        """Say how many connections `client` (this one, if empty) has to an instance, and how fast it answers.

        Connections count for `KONSUL_LB_REPORT_TTL`: report again before, also if they are the same.
        """
        one = LoadReport(name, instance, connections, latency_ms)
        await self._client.call(lb_calls.report(one, client))

    async def report_many(
        self, reports: Iterable[LoadReport], *, client: str = ""
    ) -> tuple[tuple[str, str], ...]:
        """Report on many instances at once; name and id of those that are not there."""
        return await self._client.call(lb_calls.report_many(reports, client))

    async def loads(self, name: str) -> tuple[InstanceLoad, ...]:
        """What the server asked knows of the load of each instance of a service."""
        return await self._client.call(lb_calls.loads(name))
