"""Checks in the GraphQL schema: reading them, telling what a TTL check says. The type is the catalog's."""

from __future__ import annotations

from typing import Final

import strawberry

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.graphql_types import HealthCheck, HealthCheckStatus, Info, check_of_row
from konsul.features.catalog.search import Asked
from konsul.features.catalog.status import CHECK_NOT_FOUND
from konsul.features.catalog.tables import SEPARATOR
from konsul.features.checks import commands, queries
from konsul.kernel.graph import Parts, in_turns

_ONE_OF: Final = "give id or serviceId"


@strawberry.type
class Queries:
    """The fields of `Query` that checks bring."""

    @strawberry.field(
        description="The check of an id; or with `serviceId` the first check by id of the instance with that "
        "id, which without one of its own is its service's name. Null when there is none."
    )
    async def health_check(
        self,
        info: Info,
        id: str | None = strawberry.UNSET,
        service_id: str | None = strawberry.UNSET,
    ) -> HealthCheck | None:
        asking = info.context
        if bool(id) == bool(service_id):
            raise Invalid(_ONE_OF)
        if id:
            row = await asking.read(queries.stored_check, id=id)
        else:
            named = f'ServiceID == "{_quoted(service_id or "")}"'
            page = await asking.read(
                queries.check_rows, which=queries.WhichChecks(), asked=Asked(filter=named, limit=1)
            )
            row = next(iter(page.rows), None)
        return None if row is None else check_of_row(row)

    @strawberry.field(
        description="Checks by id: of a service, of a node itself, of a status, that a filter expression "
        "accepts. Without a limit as many as a list may have."
    )
    async def health_checks(
        self,
        info: Info,
        service: str | None = strawberry.UNSET,
        node: str | None = strawberry.UNSET,
        status: HealthCheckStatus | None = strawberry.UNSET,
        filter: str | None = strawberry.UNSET,
        limit: int | None = strawberry.UNSET,
    ) -> list[HealthCheck]:
        asking = info.context
        _, most = asking.window(limit, None)
        if most == 0:
            return []
        which = queries.WhichChecks(
            service=service or None, node=node or None, status=status.value if status else None
        )
        asked = Asked(filter=filter if isinstance(filter, str) else None, limit=most)
        page = await asking.read(queries.check_rows, which=which, asked=asked)
        return in_turns(page.rows, check_of_row)


@strawberry.type
class Mutations:
    """The fields of `Mutation` that checks bring."""

    @strawberry.mutation(
        description="Tells what a TTL check says, which counts for its TTL. `serviceId`: the instance's id, "
        "which has to be the check's. Answers the check as it is then."
    )
    async def update_service_check(
        self,
        info: Info,
        service_id: str,
        check_id: str,
        status: HealthCheckStatus,
        output: str | None = strawberry.UNSET,
    ) -> HealthCheck:
        asking = info.context
        scope = await commands.scope_of(asking.context, check_id)
        await asking.write(
            commands.update,
            id=check_id,
            scope=scope,
            status=status.value,
            output=output if isinstance(output, str) else None,
            service_id=service_id,
        )
        row = await asking.read(queries.stored_check, id=check_id)
        if row is None:
            raise NotFound(CHECK_NOT_FOUND)
        return check_of_row(row)


def _quoted(text: str) -> str:
    """A text inside a filter's quotes. Raises Invalid for what no id can hold."""
    if '"' in text or "\\" in text or SEPARATOR in text:
        raise Invalid("no instance can have that id")
    return text


parts = Parts(queries=(Queries,), mutations=(Mutations,))
