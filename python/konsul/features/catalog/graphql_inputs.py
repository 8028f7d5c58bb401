"""What mutations of the catalog take, and how it becomes what the commands take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import strawberry

from konsul.errors import Invalid
from konsul.features.catalog import bodies, rules
from konsul.features.catalog.graphql_types import HealthCheckStatus, HealthCheckType
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.graph import Duration

_GIVEN: Final = tuple(kind for kind in HealthCheckType if kind is not HealthCheckType.MAINTENANCE)


@strawberry.input
class MetadataFilter:
    """A pair that a service's metadata must hold."""

    key: str
    value: str


@strawberry.input
class MetadataInput:
    """One pair of a service's metadata."""

    key: str
    value: str


@strawberry.input
class HeaderInput:
    """A header of a check's request."""

    name: str
    value: str


@strawberry.input
class HttpCheckInput:
    """A check that asks a URL."""

    url: str
    method: str | None = strawberry.UNSET
    headers: list[HeaderInput] | None = strawberry.UNSET
    body: str | None = strawberry.UNSET
    expected_status: str | None = strawberry.UNSET
    expected_body: str | None = strawberry.UNSET
    tls_skip_verify: bool = False
    tls_server_name: str | None = strawberry.UNSET


@strawberry.input
class TcpCheckInput:
    """A check that connects."""

    address: str


@strawberry.input
class GrpcCheckInput:
    """A check that asks the health service of gRPC."""

    target: str
    use_tls: bool = strawberry.field(name="useTLS", default=False)


@strawberry.input
class UdpCheckInput:
    """A check that sends a datagram and is not refused."""

    address: str


@strawberry.input
class AliasCheckInput:
    """A check that is as healthy as a service or a node is."""

    service: str | None = strawberry.UNSET
    node: str | None = strawberry.UNSET


@strawberry.input
class HealthCheckInput:
    """A check to register: its type says which of the other members it needs."""

    name: str
    type: HealthCheckType
    id: str | None = strawberry.UNSET
    interval: Duration | None = strawberry.UNSET
    timeout: Duration | None = strawberry.UNSET
    http: HttpCheckInput | None = strawberry.UNSET
    tcp: TcpCheckInput | None = strawberry.UNSET
    grpc: GrpcCheckInput | None = strawberry.UNSET
    ttl: Duration | None = strawberry.UNSET
    udp: UdpCheckInput | None = strawberry.UNSET
    script: list[str] | None = strawberry.UNSET
    alias: AliasCheckInput | None = strawberry.UNSET
    initial_status: HealthCheckStatus | None = strawberry.UNSET
    success_before_passing: int | None = strawberry.UNSET
    failures_before_warning: int | None = strawberry.UNSET
    failures_before_critical: int | None = strawberry.UNSET
    deregister_critical_after: Duration | None = strawberry.UNSET
    notes: str | None = strawberry.UNSET


@strawberry.input
class RegisterServiceInput:
    """An instance of a service. The rules are those of `PUT /register`."""

    name: str
    address: str
    port: int
    id: str | None = strawberry.UNSET
    tags: list[str] | None = strawberry.UNSET
    metadata: list[MetadataInput] | None = strawberry.UNSET
    checks: list[HealthCheckInput] | None = strawberry.UNSET
    node: str | None = strawberry.UNSET
    zone: str | None = strawberry.UNSET
    ttl: Duration | None = strawberry.field(
        default=strawberry.UNSET, description="0s: it stays until it is deregistered."
    )
    dependencies: list[str] | None = strawberry.UNSET


def service_of(given: RegisterServiceInput) -> rules.Service:
    """What `commands.register` takes.

    Raises:
        Invalid: a metadata key is there twice, or a check cannot be one.
    """
    meta: dict[str, str] = {}
    for each in given.metadata or ():
        if each.key in meta:
            raise Invalid(f"metadata validation failed: duplicate metadata key: {each.key}")
        meta[each.key] = each.value
    return bodies.service_of(
        {
            "name": given.name,
            "id": given.id or "",
            "address": given.address,
            "port": given.port,
            "tags": list(given.tags or ()),
            "meta": meta,
            "checks": [_definition(check) for check in given.checks or ()],
            "node": given.node or "",
            "zone": given.zone or "",
            "ttl": format_duration_ms(given.ttl) if isinstance(given.ttl, int) else "",
            "dependencies": list(given.dependencies) if isinstance(given.dependencies, list) else None,
        }
    )


def pairs(filters: Sequence[MetadataFilter]) -> list[tuple[str, str]]:
    """The filters as the queries take them."""
    return [(each.key, each.value) for each in filters]


def _definition(check: HealthCheckInput) -> dict[str, Any]:
    """As a body of `PUT /register` has it."""
    found: dict[str, Any] = {"name": check.name, "id": check.id or ""}
    for member in ("interval", "timeout", "ttl", "deregister_critical_after"):
        duration_ms = getattr(check, member)
        if isinstance(duration_ms, int):
            found[member] = format_duration_ms(duration_ms)
    for member in ("success_before_passing", "failures_before_warning", "failures_before_critical", "notes"):
        if getattr(check, member) not in (None, strawberry.UNSET):
            found[member] = getattr(check, member)
    if check.initial_status:
        found["initial_status"] = check.initial_status.value
    kind = check.type.value
    if check.type is HealthCheckType.MAINTENANCE:
        raise Invalid("check validation failed: maintenance is switched on by itself")
    if not getattr(check, kind) and kind not in found:
        raise Invalid(f"check validation failed: a check of type {check.type.name} needs {kind}")
    for other in _GIVEN:
        if other is not check.type and getattr(check, other.value) not in (None, strawberry.UNSET):
            raise Invalid(f"check validation failed: a check of type {check.type.name} has no {other.value}")
    if check.http:
        headers = {header.name: header.value for header in check.http.headers or ()}
        found |= {"http": check.http.url, "method": check.http.method or "", "headers": headers}
        found["tls_skip_verify"] = check.http.tls_skip_verify
        for member in ("body", "expected_status", "expected_body", "tls_server_name"):
            found[member] = getattr(check.http, member) or ""
    if check.tcp:
        found["tcp"] = check.tcp.address
    if check.udp:
        found["udp"] = check.udp.address
    if check.script:
        found["script"] = list(check.script)
    if check.alias:
        found |= {"alias_service": check.alias.service or "", "alias_node": check.alias.node or ""}
    if check.grpc:
        found |= {"grpc": check.grpc.target, "grpc_use_tls": check.grpc.use_tls}
    return found
