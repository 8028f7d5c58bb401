"""Services as GraphQL shows them."""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
import strawberry

from konsul.engine import Row
from konsul.errors import KonsulError, NoLeader, NotFound
from konsul.features.catalog.check_definitions import type_of
from konsul.features.catalog.leases import left_ms
from konsul.features.catalog.paging import instance, rows
from konsul.features.catalog.plans import Plan
from konsul.features.catalog.tables import CRITICAL, PASSING, Check, Instance, instance_key, split_key
from konsul.features.checks.seen import last_seen
from konsul.kernel.asking import Asking
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.graph import Duration, JsonObject, Long, Time

Info = strawberry.Info[Asking, None]

T = TypeVar("T")

_COLUMNS: Final = (
    *("name", "id", "address", "port", "tags", "meta", "checks", "ttl_ms"),
    *("node", "zone", "health", "check_ids"),
)
_PLACES: Final = tuple(Instance.column(name) for name in _COLUMNS)


@strawberry.enum
class ServiceStatus(enum.Enum):
    """Whether a service's lease holds."""

    ACTIVE = "active"
    EXPIRED = "expired"


@strawberry.enum
class HealthCheckType(enum.Enum):
    """How a check looks."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"
    TTL = "ttl"
    UDP = "udp"
    SCRIPT = "script"
    ALIAS = "alias"
    MAINTENANCE = "maintenance"


@strawberry.enum
class HealthCheckStatus(enum.Enum):
    """What a check said last. One that has not run yet is critical."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"


@strawberry.type
class MetadataEntry:
    """One pair of a service's metadata."""

    key: str
    value: str


@strawberry.type
class HealthCheck:
    """A check of an instance or of a node."""

    id: str
    service_id: str
    name: str
    type: HealthCheckType
    status: HealthCheckStatus
    output: str | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    changed_at_ms: strawberry.Private[int] = 0
    owner: strawberry.Private[str] = ""

    @strawberry.field(
        description="When it ran or was told last, as far as the node that runs it says; else when its "
        "status changed. Null before the first run."
    )
    async def last_checked(self, info: Info) -> Time | None:
        is_run = self.type not in (HealthCheckType.TTL, HealthCheckType.MAINTENANCE)
        found = await info.context.load(load_last_runs, self.id) if is_run else None
        if found is None and self.output is not None:
            found = self.changed_at_ms or None
        return None if found is None else Time(found)

    @strawberry.field(description="The instance it is a check of; null of a node's.")
    async def service(self, info: Info) -> Service | None:
        if not self.owner:
            return None
        asking, name = info.context, split_key(self.owner)[0]
        try:
            return service_of_row((await asking.read(instance, name=name, id=self.service_id))[1])
        except NotFound:
            return None


async def load_last_runs(asking: Asking, ids: Sequence[str]) -> Sequence[int | BaseException | None]:
    """When each check ran last, in ms since 1970; None where no runner says."""
    found = await last_seen(asking.context.engine, [one.encode() for one in ids])
    return [found.get(one.encode()) for one in ids]


async def load_leases(asking: Asking, keys: Sequence[bytes]) -> Sequence[int | BaseException | None]:
    """Milliseconds left of each instance's lease; None where the leader does not say now."""
    return await left_ms(asking.context, keys)


async def load_services(
    asking: Asking, names: Sequence[str]
) -> Sequence[tuple[bytes, Row] | BaseException | None]:
    """The instance that stands for each service; an error is that of its name alone."""
    try:
        return await asking.run(rows, names=names)
    except KonsulError as error:
        if len(names) == 1:
            return [error]
    found: list[tuple[bytes, Row] | BaseException | None] = []
    for name in names:
        try:
            found.append((await asking.run(rows, names=[name]))[0])
        except KonsulError as error:
            found.append(error)
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """What an event knows of its service's lease, whatever has become of it since."""

    expires_at: Time | None
    """None: it had no lease."""
    is_gone: bool


@strawberry.federation.type(keys=["name"])
class Service:
    """An instance of a service, alive as long as its lease."""

    name: str
    id: str = strawberry.field(description="The instance's id; without one of its own, the service's name.")
    address: str
    port: int
    tags: list[str]
    meta: JsonObject = strawberry.field(description="The metadata as one object.")
    ttl: Duration | None = strawberry.field(
        description="How long the lease is from each heartbeat on; null: it stays until it is deregistered."
    )
    node: str | None = strawberry.field(description="The node it said it runs on.")
    zone: str | None
    health: HealthCheckStatus = strawberry.field(description="The worst of its checks and of its node.")
    definitions: strawberry.Private[Sequence[Mapping[str, Any]]] = ()
    check_ids: strawberry.Private[Sequence[str]] = ()
    told: strawberry.Private[Told | None] = None

    @strawberry.field(description="Its checks as they are now, wherever they came from.")
    def checks(self, info: Info) -> list[HealthCheck]:
        if self.told is not None:
            return [check_of(definition) for definition in self.definitions]
        plan = Plan(info.context.context.engine)
        found = [plan.check(check_id) for check_id in self.check_ids]
        return [check_of_row(check) for check in found if check is not None]

    @strawberry.field(description="The metadata as a list, by key.")
    def metadata(self) -> list[MetadataEntry]:
        return [MetadataEntry(key=key, value=value) for key, value in sorted(self.meta.items())]

    # The leader has the lease at hand, and an answer without a coroutine costs a tenth.
    @strawberry.field(
        graphql_type=ServiceStatus,
        description="EXPIRED only of one that is told of as it goes: what expires is deleted.",
    )
    def status(self, info: Info) -> Any:
        return self._of_lease(info, self._status)

    @strawberry.field(
        graphql_type=Time | None,
        description="When its lease ends, or ended, unless a heartbeat comes; null for one that has none.",
    )
    def expires_at(self, info: Info) -> Any:
        return self._of_lease(info, self._expires_at)

    @classmethod
    async def resolve_reference(cls, info: Info, name: str) -> Service | None:
        """The entity of a federation gateway."""
        return await service_named(info.context, name)

    def _status(self, left_ms: int | None) -> ServiceStatus:
        is_gone = self.ttl is not None and left_ms == 0 if self.told is None else self.told.is_gone
        return ServiceStatus.EXPIRED if is_gone else ServiceStatus.ACTIVE

    def _expires_at(self, left_ms: int | None) -> Time | None:
        if self.told is not None:
            return self.told.expires_at
        if self.ttl is None:
            return None
        if left_ms is None:
            raise NoLeader(f"the leader does not say now when the lease of {self.name} ends: try again")
        return Time(round(time.time() * 1_000) + left_ms)

    def _of_lease(self, info: Info, tell: Callable[[int | None], T]) -> T | Awaitable[T]:
        engine, key = info.context.context.engine, instance_key(self.name, self.id)
        if self.told is not None:
            return tell(None)
        if engine.is_current():
            return tell(engine.lease_ms(Instance.table_id, key) or 0)
        return self._asked_for(info, key, tell)

    async def _asked_for(self, info: Info, key: bytes, tell: Callable[[int | None], T]) -> T:
        """Leases are the leader's: another node asks it, for many at once."""
        return tell(await info.context.load(load_leases, key))


def service_of(members: Mapping[str, Any], told: Told | None = None) -> Service:
    """From the members of a service's JSON form; what is empty may be missing."""
    name = members["name"]
    ttl_ms = members.get("ttl_ms")
    return Service(
        name=name,
        id=members.get("id") or name,
        address=members.get("address") or "",
        port=members.get("port") or 0,
        tags=list(members.get("tags") or ()),
        meta=JsonObject(dict(members.get("meta") or {})),
        ttl=None if ttl_ms is None else Duration(ttl_ms),
        node=members.get("node"),
        zone=members.get("zone") or None,
        health=HealthCheckStatus(members.get("health") or PASSING),
        definitions=members.get("checks") or (),
        check_ids=members.get("check_ids") or (),
        told=told,
    )


def service_of_row(row: Row) -> Service:
    """From a stored row."""
    cells = [*row.cells, *(column.default for column in Instance.columns[len(row.cells) :])]
    members = dict(zip(_COLUMNS, (cells[place] for place in _PLACES), strict=True))
    checks = members["checks"]
    members["checks"] = orjson.loads(checks) if checks else ()
    return service_of(members)


async def service_named(asking: Asking, name: str) -> Service | None:
    """The service, asked together with the others of the operation; None when it has no instance."""
    found = await asking.load(load_services, name)
    return None if found is None else service_of_row(found[1])


def check_of(check: Mapping[str, Any]) -> HealthCheck:
    """From a definition as `checks.complete` stores it, before anything was said of it."""
    return HealthCheck(
        id=check["id"],
        service_id=check["service_id"],
        name=check["name"],
        type=HealthCheckType(type_of(check)),
        status=HealthCheckStatus(check.get("initial_status") or CRITICAL),
        interval=_duration(check.get("interval")),
        timeout=_duration(check.get("timeout")),
    )


def check_of_row(check: Check) -> HealthCheck:
    """From a stored check; of a node's the service id is empty."""
    definition = orjson.loads(check.definition or b"{}")
    names = ("id", "instance", "name", "type", "status", "output", "changed_at_ms")
    return check_of_members({name: getattr(check, name) for name in names} | {"definition": definition})


def check_of_members(members: Mapping[str, Any]) -> HealthCheck:
    """From the cells of a stored check by name; what is empty may be missing."""
    definition = members.get("definition") or {}
    return HealthCheck(
        id=members["id"],
        service_id=split_key(members.get("instance") or "")[1],
        name=members.get("name") or "",
        type=HealthCheckType(members["type"]),
        status=HealthCheckStatus(members["status"]),
        output=members.get("output") or None,
        interval=_duration(definition.get("interval")),
        timeout=_duration(definition.get("timeout")),
        changed_at_ms=members.get("changed_at_ms") or 0,
        owner=members.get("instance") or "",
    )


def _duration(text: str | None) -> Duration | None:
    return Duration(parse_duration_ms(text)) if text else None


@strawberry.enum
class ServiceEventType(enum.Enum):
    """What happened to an instance."""

    REGISTERED = "register"
    DEREGISTERED = "deregister"
    HEARTBEAT = "heartbeat"
    EXPIRED = "expired"


@strawberry.type
class ServiceChangeEvent:
    """A change of one instance."""

    type: ServiceEventType
    service: Service = strawberry.field(
        description="As it is after the change; one that has gone, as it was."
    )
    timestamp: Time
    modify_index: Long = strawberry.field(description="The index of the change.")
    resume_index: Long = strawberry.field(
        description="What to give as `since` to go on after this event: below `modifyIndex` while there are "
        "further changes of the same entry."
    )
