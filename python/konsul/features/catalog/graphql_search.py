"""Searches of services in the GraphQL schema: filter, place, health, order and pages."""

from __future__ import annotations

import strawberry

from konsul.features.catalog.graphql_inputs import MetadataFilter, pairs
from konsul.features.catalog.graphql_types import Info, Service, service_of_row
from konsul.features.catalog.search import Asked
from konsul.features.catalog.search_parameters import wanted
from konsul.features.catalog.search_queries import Which, search_page
from konsul.kernel.graph import in_turns


@strawberry.type
class ServicePage:
    """Instances that a search found, and where to go on."""

    services: list[Service]
    after: str | None = strawberry.field(description="Behind this page; null at the end.")


@strawberry.type
class Searches:
    """The field of `Query` that searches."""

    @strawberry.field(
        description="Instances that the filter expression and all else hold for. `health`: passing, serving, "
        "any, warning or critical; `sort`: name, id, address, port, health, node, zone or modify_index."
    )
    async def search_services(
        self,
        info: Info,
        filter: str | None = strawberry.UNSET,
        name: str | None = strawberry.UNSET,
        tags: list[str] | None = strawberry.UNSET,
        metadata: list[MetadataFilter] | None = strawberry.UNSET,
        node: str | None = strawberry.UNSET,
        zone: str | None = strawberry.UNSET,
        health: str | None = strawberry.UNSET,
        sort: str | None = strawberry.UNSET,
        descending: bool = False,
        limit: int | None = strawberry.UNSET,
        after: str | None = strawberry.UNSET,
    ) -> ServicePage:
        asking = info.context
        _, most = asking.window(limit, None)
        which = Which(
            name=name or None,
            tags=tags or (),
            metadata=pairs(metadata or []),
            node=node or None,
            zone=zone or None,
            health=wanted(health or None, None),
        )
        # An empty filter is one that somebody forgot to write: it is refused, not left out.
        asked = Asked(
            filter=filter if isinstance(filter, str) else None,
            sort=sort or None,
            order="desc" if descending else None,
            limit=max(1, most),
            after=after or None,
        )
        found = await asking.read(search_page, which=which, asked=asked)
        return ServicePage(services=in_turns(found.rows, service_of_row), after=found.after)
