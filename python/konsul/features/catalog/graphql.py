"""The catalog in the GraphQL schema: its queries and mutations, and what the feature brings in all."""

from __future__ import annotations

import orjson
import strawberry

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.commands import deregister, heartbeat, register
from konsul.features.catalog.graphql_inputs import MetadataFilter, RegisterServiceInput, pairs, service_of
from konsul.features.catalog.graphql_live import Subscriptions
from konsul.features.catalog.graphql_search import Searches
from konsul.features.catalog.graphql_types import (
    Info,
    Service,
    service_named,
    service_of_row,
)
from konsul.features.catalog.graphql_types import service_of as shown
from konsul.features.catalog.paging import Page, count, instance, instances_page, page
from konsul.features.catalog.queries import QueryType
from konsul.features.catalog.tables import Instance, instance_key
from konsul.kernel.asking import Asking
from konsul.kernel.graph import Parts, in_turns
from konsul.kernel.settings import ServiceSettings


@strawberry.type
class Queries:
    """The fields of `Query` that the catalog brings."""

    @strawberry.field(
        description="The instance called like its service, else the first passing one by id; null when there "
        "is none."
    )
    async def service(self, info: Info, name: str) -> Service | None:
        return await service_named(info.context, name)

    @strawberry.field(
        description="Every instance of every service, by name and id; with a tag those that have it, with "
        "`healthy: true` those that pass. Without a limit all, and an error when one list cannot hold them."
    )
    async def services(
        self,
        info: Info,
        limit: int | None = strawberry.UNSET,
        offset: int | None = strawberry.UNSET,
        tag: str | None = strawberry.UNSET,
        healthy: bool | None = strawberry.UNSET,
    ) -> list[Service]:
        asking = info.context
        start, most = asking.window(limit, offset)
        tags = [tag] if isinstance(tag, str) else []
        found = await asking.read(page, tags=tags, passing=healthy is True, offset=start, limit=most)
        return _list(asking, found, limit)

    @strawberry.field(description="Every instance of one service, by id; none when there is no such service.")
    async def service_instances(
        self,
        info: Info,
        name: str,
        limit: int | None = strawberry.UNSET,
        offset: int | None = strawberry.UNSET,
    ) -> list[Service]:
        asking = info.context
        start, most = asking.window(limit, offset)
        found = await asking.read(instances_page, name=name, offset=start, limit=most)
        return _list(asking, found, limit)

    @strawberry.field(description="How many instances are active.")
    async def services_count(self, info: Info) -> int:
        return await info.context.read(count)

    @strawberry.field(description="Instances that have every tag, by name and id; none for no tag.")
    async def services_by_tags(
        self,
        info: Info,
        tags: list[str],
        limit: int | None = strawberry.UNSET,
        offset: int | None = strawberry.UNSET,
    ) -> list[Service]:
        return await _found(info.context, "tags", tags, [], limit, offset)

    @strawberry.field(
        description="Instances that have every metadata pair, by name and id; none for no pair."
    )
    async def services_by_metadata(
        self,
        info: Info,
        filters: list[MetadataFilter],
        limit: int | None = strawberry.UNSET,
        offset: int | None = strawberry.UNSET,
    ) -> list[Service]:
        return await _found(info.context, "metadata", [], filters, limit, offset)

    @strawberry.field(
        description="Instances that have every tag and metadata pair; none when nothing is given."
    )
    async def services_by_query(
        self,
        info: Info,
        tags: list[str] | None = strawberry.UNSET,
        metadata: list[MetadataFilter] | None = strawberry.UNSET,
        limit: int | None = strawberry.UNSET,
        offset: int | None = strawberry.UNSET,
    ) -> list[Service]:
        return await _found(info.context, "combined", tags or [], metadata or [], limit, offset)


@strawberry.type
class Mutations:
    """The fields of `Mutation` that the catalog brings."""

    @strawberry.mutation(
        description="Registers an instance, replacing the one with its id. Its lease begins."
    )
    async def register_service(self, info: Info, input: RegisterServiceInput) -> Service:
        asking = info.context
        try:
            service = service_of(input)
            await asking.write(register, name=service.name, service=service)
        except Invalid as error:
            raise Invalid(f"failed to register service: {error}") from None
        checks = [] if service.checks is None else orjson.loads(service.checks)
        settings = asking.context.config.of(ServiceSettings)
        row = asking.context.engine.get(Instance.table_id, instance_key(service.name, service.id))
        if row is not None:
            return service_of_row(row)
        # Gone again already: as it was registered.
        return shown(
            {
                "name": service.name,
                "id": service.id,
                "address": service.address,
                "port": service.port,
                "tags": service.tags,
                "meta": service.meta,
                "checks": checks,
                "ttl_ms": settings.ttl_ms if service.ttl_ms is None else service.ttl_ms or None,
            }
        )

    @strawberry.mutation(
        description="Removes an instance, without `id` the one called like its service. "
        "True when it was there."
    )
    async def deregister_service(self, info: Info, name: str, id: str | None = strawberry.UNSET) -> bool:
        try:
            await info.context.write(deregister, name=name, id=id or None, existing=True)
        except NotFound:
            return False
        return True

    @strawberry.mutation(
        description="Renews the lease of an instance, without `id` of the one called like its service."
    )
    async def update_heartbeat(self, info: Info, name: str, id: str | None = strawberry.UNSET) -> Service:
        asking = info.context
        try:
            # First: whoever may not read it is refused before anything has happened.
            _, row = await asking.read(instance, name=name, id=id or None)
            await asking.write(heartbeat, name=name, id=id or None)
        except NotFound:
            raise NotFound(f"service not found: {name}") from None
        return service_of_row(row)


async def _found(
    asking: Asking,
    kind: QueryType,
    tags: list[str],
    metadata: list[MetadataFilter],
    limit: int | None,
    offset: int | None,
) -> list[Service]:
    start, most = asking.window(limit, offset)
    if not tags and not metadata:
        return []
    wanted = pairs(metadata)
    found = await asking.read(page, kind=kind, tags=tags, metadata=wanted, offset=start, limit=most)
    return _list(asking, found, limit)


def _list(asking: Asking, found: Page, limit: int | None) -> list[Service]:
    """Raises Invalid for a list that was not to be cut and had to be: its client would not know."""
    if found.more and not isinstance(limit, int):
        raise Invalid(f"more than {asking.page_max} services: ask for pages with limit and offset")
    return in_turns(found.rows, lambda one: service_of_row(one[1]))


parts = Parts(queries=(Queries, Searches), mutations=(Mutations,), subscriptions=(Subscriptions,))
