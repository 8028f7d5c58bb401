"""Subscriptions to services and to the definitions of their checks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Annotated, Any, Final

import orjson
import strawberry

from konsul.engine import Form
from konsul.features.catalog.graphql_types import (
    HealthCheck,
    Info,
    ServiceChangeEvent,
    ServiceEventType,
    Told,
    check_of_members,
    service_of,
)
from konsul.features.catalog.healths import conditions
from konsul.features.catalog.rules import check_name
from konsul.features.catalog.tables import KEY, OMIT_EMPTY, PASSING, VERBATIM, Check, Instance
from konsul.features.catalog.watches import instances
from konsul.kernel.asking import Asking
from konsul.kernel.graph import Long, Time
from konsul.kernel.graph_live import Live, subscribe
from konsul.kernel.watch_readers import Event
from konsul.kernel.watch_spec import Spec, literal

_ROW: Final = [
    (name, Instance.column(name), OMIT_EMPTY)
    for name in ("name", "id", "address", "port", "tags", "meta", "ttl_ms", "node", "zone", "health")
]
_ROW.append(("checks", Instance.column("checks"), OMIT_EMPTY | VERBATIM))

_CHANGES: Final = Form(
    Instance.table_id,
    kinds=("register", "register", "deregister", "expired", "heartbeat"),
    row=_ROW,
    wrap="service",
)
_HEALTH: Final = Form(
    Instance.table_id,
    kinds=("register", "", "deregister", "expired", ""),
    row=_ROW,
    wrap="service",
    only=(Instance.column("health"), [PASSING.encode()]),
)
"""Of what passes: it is there while it does, and new data of it is not told."""
_STATED: Final = Form(
    Check.table_id,
    kinds=("set", "set", "", "", ""),
    row=[
        ("id", KEY, 0),
        *(
            (column.name, place, OMIT_EMPTY | VERBATIM if column.kind == "json" else OMIT_EMPTY)
            for place, column in enumerate(Check.columns)
            if column.name in ("instance", "name", "type", "definition", "status", "output", "changed_at_ms")
        ),
    ],
)

_GONE: Final = (ServiceEventType.DEREGISTERED, ServiceEventType.EXPIRED)

Since = Annotated[
    Long | None,
    strawberry.argument(
        description="First what changed above this index: the `resumeIndex` of the last event, say."
    ),
]
Heartbeats = Annotated[
    bool,
    strawberry.argument(description="Also heartbeats, as far as this node hears them: the leader's all."),
]


def _told(event: Event, resume: int) -> Iterable[ServiceChangeEvent]:
    found: dict[str, Any] = orjson.loads(event.payload)
    kind = ServiceEventType(found["type"])
    at = Time(found["timestamp"] * 1_000)
    is_gone = kind in _GONE
    # Registered or renewed, its lease began anew.
    ttl_ms = 0 if is_gone else found["service"].get("ttl_ms")
    ends_at = None if ttl_ms is None else Time(at + ttl_ms)
    yield ServiceChangeEvent(
        type=kind,
        service=service_of(found["service"], Told(ends_at, is_gone)),
        timestamp=at,
        modify_index=Long(event.index),
        resume_index=Long(resume),
    )


def _told_checks(event: Event, resume: int) -> Iterable[HealthCheck]:
    del resume
    return [check_of_members(orjson.loads(event.payload))]


def _spec(form: Form, name: str | None, *, renewals: bool = False) -> Spec:
    if not isinstance(name, str):
        return instances(None, form=form, renewals=renewals)
    check_name(name)
    return instances(literal(name), form=form, renewals=renewals)


def _changes(
    asking: Asking, name: str | None, since: int | None, heartbeats: bool
) -> Live[ServiceChangeEvent]:
    return subscribe(asking, _spec(_CHANGES, name, renewals=heartbeats), _told, since)


@strawberry.type
class Subscriptions:
    """The fields of `Subscription` that the catalog brings."""

    @strawberry.subscription(description="Every change of one service's instances; without a name of all.")
    async def service_changed(
        self,
        info: Info,
        name: str | None = strawberry.UNSET,
        since: Since = strawberry.UNSET,
        heartbeats: Heartbeats = True,
    ) -> AsyncGenerator[ServiceChangeEvent, None]:
        return _changes(info.context, name, since, heartbeats)

    @strawberry.subscription(description="Every change of every service's instances.")
    async def all_services_changed(
        self, info: Info, since: Since = strawberry.UNSET, heartbeats: Heartbeats = False
    ) -> AsyncGenerator[ServiceChangeEvent, None]:
        return _changes(info.context, None, since, heartbeats)

    @strawberry.subscription(
        description="An instance becomes healthy when it is registered or begins to pass, and stops being so "
        "when it no longer passes, is deregistered or expires: only that, neither heartbeats nor new data."
    )
    async def service_health_changed(
        self, info: Info, name: str | None = strawberry.UNSET, since: Since = strawberry.UNSET
    ) -> AsyncGenerator[ServiceChangeEvent, None]:
        spec = replace(_spec(_HEALTH, name), where=conditions(PASSING)[0])
        return subscribe(info.context, spec, _told, since)

    @strawberry.subscription(
        description="Every check that is new, says something else or is defined anew, of one service or of "
        "all services and nodes. Checks end with whoever they are checks of, which is told of them."
    )
    async def health_check_changed(
        self, info: Info, service: str | None = strawberry.UNSET, since: Since = strawberry.UNSET
    ) -> AsyncGenerator[HealthCheck, None]:
        where: tuple[tuple[int, bytes], ...] = ()
        if isinstance(service, str):
            check_name(service)
            where = ((Check.column("service"), service.encode()),)
        spec = Spec(_STATED, Check.table_id, "**", "health:read", where=where)
        return subscribe(info.context, spec, _told_checks, since)
