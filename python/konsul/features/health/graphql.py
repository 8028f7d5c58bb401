"""`health` as GraphQL shows it."""

from __future__ import annotations

import time

import strawberry

from konsul.features.health.report import health
from konsul.kernel.asking import Asking
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.graph import Parts, Time


@strawberry.type
class ServiceStats:
    """How many service instances there are. One whose lease ends is deleted then, so none waits expired."""

    total: int
    active: int
    expired: int


@strawberry.type(name="KVStats")
class KvStats:
    """How many keys there are."""

    total_keys: int


@strawberry.type
class SystemHealth:
    """How the node is."""

    status: str = strawberry.field(description="`healthy`, or `degraded` while it should get no traffic.")
    version: str
    uptime: str = strawberry.field(description="Whole seconds, as a duration.")
    timestamp: Time
    services: ServiceStats
    kv_store: KvStats


@strawberry.type
class Queries:
    """The fields of `Query` that health brings."""

    @strawberry.field(description="How this node is. Public.")
    async def health(self, info: strawberry.Info[Asking, None]) -> SystemHealth:
        kernel = info.context.kernel
        report = health(kernel)
        counts = report["services"]
        return SystemHealth(
            status=report["status"],
            version=report["version"],
            uptime=format_duration_ms(kernel.uptime_ms() // 1_000 * 1_000),
            timestamp=Time(round(time.time() * 1_000)),
            services=ServiceStats(total=counts["total"], active=counts["active"], expired=counts["expired"]),
            kv_store=KvStats(total_keys=report["kv_store"]["total_keys"]),
        )


parts = Parts(queries=(Queries,))
