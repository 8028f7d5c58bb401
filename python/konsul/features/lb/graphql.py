"""Load balancing in the GraphQL schema: one field, answered by the same selection as `/lb/service`."""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
import strawberry

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.graphql_types import Info, Service, service_of_row
from konsul.features.catalog.paging import instance
from konsul.features.lb.asked import Wishes
from konsul.features.lb.queries import select
from konsul.features.lb.rules import strategy_of, warned_of
from konsul.kernel.graph import Parts


@strawberry.type
class Queries:
    """The fields of `Query` that load balancing brings."""

    @strawberry.field(
        description="An instance that serves: with the tag, else of the service of that name; null if there "
        "is none. What is not said is as the service's rules say, else as the node does. `warning`: keep or "
        "drop."
    )
    async def load_balance(
        self,
        info: Info,
        service: str,
        strategy: str | None = strawberry.UNSET,
        session: str | None = strawberry.UNSET,
        client_ip: str | None = strawberry.UNSET,
        region: str | None = strawberry.UNSET,
        zone: str | None = strawberry.UNSET,
        rule: str | None = strawberry.UNSET,
        warning: str | None = strawberry.UNSET,
    ) -> Service | None:
        asking = info.context
        wishes = Wishes(
            strategy=strategy_of(_text(strategy)) if _text(strategy) else None,
            session=_text(session),
            client_ip=_address(_text(client_ip)),
            region=_text(region),
            zone=_text(zone),
            rule=_text(rule),
            warning=warned_of(_text(warning) or None),
        )
        try:
            chosen = await asking.read(select, kind="service", service=service, wishes=wishes)
            members = orjson.loads(chosen.services[0])
            _, row = await asking.run(instance, name=members["name"], id=members.get("id"))
        except NotFound:
            return None
        return service_of_row(row)


def _text(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise Invalid("clientIp: expected an IP address") from None


parts = Parts(queries=(Queries,))
