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
from konsul.errors import KonsulError, NoLeader
from konsul.features.catalog.leases import left_ms
from konsul.features.catalog.paging import rows
from konsul.features.catalog.tables import Instance, instance_key
from konsul.kernel.asking import Asking
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.graph import Duration, JsonObject, Long, Time

Info = strawberry.Info[Asking, None]

T = TypeVar("T")

_COLUMNS: Final = ("name", "id", "address", "port", "tags", "meta", "checks", "ttl_ms")
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
    """A check of an instance. Definitions are kept; nothing runs them in this version."""

    id: str
    service_id: str
    name: str
    type: HealthCheckType
    status: HealthCheckStatus
    output: str | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    last_checked: Time | None = strawberry.field(description="Null before the first run.", default=None)


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

    expires_at: Time
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
    checks: list[HealthCheck]
    ttl: Duration | None = strawberry.field(description="How long the lease is from each heartbeat on.")
    told: strawberry.Private[Told | None] = None

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
        graphql_type=Time, description="When its lease ends, or ended, unless a heartbeat comes."
    )
    def expires_at(self, info: Info) -> Any:
        return self._of_lease(info, self._expires_at)

    @classmethod
    async def resolve_reference(cls, info: Info, name: str) -> Service | None:
        """The entity of a federation gateway."""
        return await service_named(info.context, name)

    def _status(self, left_ms: int | None) -> ServiceStatus:
        is_gone = left_ms == 0 if self.told is None else self.told.is_gone
        return ServiceStatus.EXPIRED if is_gone else ServiceStatus.ACTIVE

    def _expires_at(self, left_ms: int | None) -> Time:
        if self.told is not None:
            return self.told.expires_at
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
        checks=[check_of(check) for check in members.get("checks") or ()],
        ttl=None if ttl_ms is None else Duration(ttl_ms),
        told=told,
    )


def service_of_row(row: Row) -> Service:
    """From a stored row."""
    members = dict(zip(_COLUMNS, (row.cells[place] for place in _PLACES), strict=True))
    checks = members["checks"]
    members["checks"] = orjson.loads(checks) if checks else ()
    return service_of(members)


async def service_named(asking: Asking, name: str) -> Service | None:
    """The service, asked together with the others of the operation; None when it has no instance."""
    found = await asking.load(load_services, name)
    return None if found is None else service_of_row(found[1])


def check_of(check: Mapping[str, Any]) -> HealthCheck:
    """From a definition as `checks.complete` stores it."""
    kinds = [kind for kind in HealthCheckType if check.get(kind.value)]
    return HealthCheck(
        id=check["id"],
        service_id=check["service_id"],
        name=check["name"],
        type=kinds[0] if kinds else HealthCheckType.TTL,
        status=HealthCheckStatus.CRITICAL,
        interval=_duration(check.get("interval")),
        timeout=_duration(check.get("timeout")),
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
