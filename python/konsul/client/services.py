"""`Client.services`: the catalog. Semantics stand at `service_calls`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from konsul.client import query_calls, service_calls, watch_calls
from konsul.client.changes import ServiceEvent
from konsul.client.model import BatchResult, BatchServices, Service, ServiceInstance, Written
from konsul.client.pursuit import OnCompacted, Transport, Wishes
from konsul.client.request import Progress, quiet
from konsul.client.watch import Watch

if TYPE_CHECKING:
    from konsul.client.sync import Client


class Services:
    """The catalog; `Client.services`. Semantics and errors stand at the functions of `service_calls`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def register(self, service: Service, *, cas: int | None = None) -> Written:
        """Register or replace one instance."""
        return self._client.call(service_calls.register(service, cas))

    def deregister(self, name: str, *, instance: str | None = None, cas: int | None = None) -> Written:
        """Take one instance out."""
        return self._client.call(service_calls.deregister(name, instance, cas))

    def deregister_all(self, name: str) -> None:
        """Take every instance of a service out."""
        self._client.call(service_calls.deregister_all(name))

    def heartbeat(self, name: str, *, instance: str | None = None) -> None:
        """Renew one instance's lease; NotFound when it is not registered."""
        self._client.call(service_calls.heartbeat(name, instance))

    def get(self, name: str, *, consistency: str | None = None) -> ServiceInstance:
        """The instance that stands for the service; NotFound when there is none."""
        return self._client.call(service_calls.get(name, consistency))

    def instances(
        self, name: str, *, health: str | None = None, consistency: str | None = None
    ) -> tuple[ServiceInstance, ...]:
        """Every live instance, or those that are `passing` or `serving`; NotFound when none is there."""
        return self._client.call(service_calls.instances(name, consistency, health))

    def list(self, *, health: str | None = None, consistency: str | None = None) -> tuple[Service, ...]:
        """Every live instance of every service, or those that are `passing` or `serving`."""
        return self._client.call(service_calls.list_(consistency, health))

    def maintenance(
        self, name: str, enable: bool = True, *, reason: str = "", instance: str | None = None
    ) -> None:
        """Take an instance out of service until it is put back with `enable` False; without `instance` the
        one called like its service."""
        self._client.call(service_calls.maintenance(name, enable, reason, instance))

    def query(
        self,
        *,
        tags: Iterable[str] = (),
        meta: Mapping[str, str] | None = None,
        consistency: str | None = None,
    ) -> tuple[Service, ...]:
        """Services with all of these tags and metadata."""
        return self._client.call(service_calls.query(tags, meta or {}, consistency))

    def search(
        self,
        *,
        filter: str | None = None,
        name: str | None = None,
        tags: Iterable[str] = (),
        meta: Mapping[str, str] | None = None,
        node: str | None = None,
        zone: str | None = None,
        health: str | None = None,
        sort: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: str | None = None,
        consistency: str | None = None,
    ) -> query_calls.ServicePage:
        """Services with their health that the filter expression and all else hold for, a thousand per
        request; see `query_calls.Search`."""
        asked = query_calls.search_of(
            tags,
            meta,
            filter=filter,
            name=name,
            node=node,
            zone=zone,
            health=health,
            sort=sort,
            descending=descending,
            limit=limit,
            after=after,
            consistency=consistency,
        )
        return self._client.flow(query_calls.search(asked))

    def get_many(self, names: Iterable[str], *, consistency: str | None = None) -> BatchServices:
        """Any number of services, a hundred per request."""
        return self._client.flow(service_calls.get_many(names, consistency))

    def register_many(self, services: Iterable[Service], progress: Progress = quiet) -> BatchResult:
        """Register any number of services, a hundred per request; `failed` names those refused."""
        return self._client.flow(service_calls.register_many(services, progress))

    def deregister_many(self, names: Iterable[str]) -> BatchResult:
        """Take any number of services out, a hundred per request."""
        return self._client.flow(service_calls.deregister_many(names))

    def watch(
        self,
        service: str | None = None,
        *,
        tags: Iterable[str] = (),
        heartbeats: bool = False,
        passing: bool = False,
        since: int | None = None,
        initial: bool = False,
        transport: Transport = "sse",
        reconnect: bool = True,
        notices: bool = False,
        on_compacted: OnCompacted = "relist",
    ) -> Watch[ServiceEvent]:
        """Changes of instances: of services whose name matches the pattern `service`, with all of `tags`.

        `heartbeats`: also those that reach the server asked. `passing`: only instances that are, and one that
        stops being so is told as gone. Everything else is as for keys: see `KV.watch`.
        """
        plan = watch_calls.services_plan(service, tuple(tags), heartbeats, passing)
        wishes = Wishes(since, initial, transport, reconnect, notices, on_compacted)
        return self._client._watch(plan, wishes)
