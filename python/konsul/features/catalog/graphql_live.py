"""Subscriptions to services and to the definitions of their checks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
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
    check_of,
    service_of,
)
from konsul.features.catalog.rules import check_name
from konsul.features.catalog.tables import OMIT_EMPTY, VERBATIM, Instance
from konsul.features.catalog.watches import instances
from konsul.kernel.asking import Asking
from konsul.kernel.graph import Long, Time
from konsul.kernel.graph_live import Live, subscribe
from konsul.kernel.watch_readers import Event
from konsul.kernel.watch_spec import Spec, literal

_CHECKS: Final = Instance.column("checks")
_ROW: Final = [
    (name, Instance.column(name), OMIT_EMPTY)
    for name in ("name", "id", "address", "port", "tags", "meta", "ttl_ms")
]
_ROW.append(("checks", _CHECKS, OMIT_EMPTY | VERBATIM))

_CHANGES: Final = Form(
    Instance.table_id,
    kinds=("register", "register", "deregister", "expired", "heartbeat"),
    row=_ROW,
    wrap="service",
)
_HEALTH: Final = Form(
    Instance.table_id, kinds=("register", "", "deregister", "expired", ""), row=_ROW, wrap="service"
)
"""A service that is registered again stays as healthy as it was."""
_DEFINITIONS: Final = Form(
    Instance.table_id,
    kinds=("register", "register", "", "", ""),
    row=[("checks", _CHECKS, OMIT_EMPTY | VERBATIM)],
    old=[("old_checks", _CHECKS, OMIT_EMPTY | VERBATIM)],
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
    left_ms = 0 if is_gone else found["service"].get("ttl_ms", 0)
    yield ServiceChangeEvent(
        type=kind,
        service=service_of(found["service"], Told(Time(at + left_ms), is_gone)),
        timestamp=at,
        modify_index=Long(event.index),
        resume_index=Long(resume),
    )


def _told_checks(event: Event, resume: int) -> Iterable[HealthCheck]:
    del resume
    found: dict[str, Any] = orjson.loads(event.payload)
    before = {check["id"]: check for check in found.get("old_checks", ())}
    return [check_of(check) for check in found.get("checks", ()) if before.get(check["id"]) != check]


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
        description="An instance becomes healthy when it is registered, and stops being so when it is "
        "deregistered or expires: only that, neither heartbeats nor new data."
    )
    async def service_health_changed(
        self, info: Info, name: str | None = strawberry.UNSET, since: Since = strawberry.UNSET
    ) -> AsyncGenerator[ServiceChangeEvent, None]:
        return subscribe(info.context, _spec(_HEALTH, name), _told, since)

    @strawberry.subscription(
        description="Every check that is new or has changed, of one service or of all. "
        "Checks end with their instance, which `serviceHealthChanged` tells."
    )
    async def health_check_changed(
        self, info: Info, service: str | None = strawberry.UNSET, since: Since = strawberry.UNSET
    ) -> AsyncGenerator[HealthCheck, None]:
        return subscribe(info.context, _spec(_DEFINITIONS, service), _told_checks, since)
