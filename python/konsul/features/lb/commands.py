"""Changing how instances are chosen: this node's strategy, and what clients report of instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.tables import Instance, instance_key
from konsul.features.lb.balancer import balancer_of
from konsul.features.lb.config import LbSettings
from konsul.features.lb.loads import CHECKS, Report
from konsul.features.lb.metrics import STRATEGY_CHANGES
from konsul.features.lb.rules import strategy_of
from konsul.features.lb.spreading import note
from konsul.features.lb.strategies import Strategy
from konsul.kernel.command import command
from konsul.kernel.context import Context

CONNECTIONS_MAX = 1_000_000_000
LATENCY_MAX_MS = 3_600_000.0
CLIENT_MAX_CHARS = 128
NOT_FOUND = "Service not found"


@dataclass(frozen=True, slots=True)
class Said:
    """What a client says of one instance; `id` None: of the one called like its service."""

    name: str
    id: str | None = None
    connections: int | None = None
    latency_ms: float | None = None


@command("lb.set_strategy", needs="admin:write", local=True)
async def set_strategy(ctx: Context, *, strategy: str) -> Strategy:
    """Makes this node choose by another strategy from now on, where neither a request nor a service's rules
    say one. Other nodes, and its next start, do not know.

    Raises:
        Invalid: there is no such strategy.
    """
    wanted = strategy_of(strategy)
    balancer = balancer_of(ctx.engine)
    if wanted is not balancer.strategy:
        STRATEGY_CHANGES.labels(balancer.strategy.value, wanted.value).inc()
        balancer.strategy = wanted
    return wanted


@command("lb.report", needs="service:write", resource="name", local=True)
async def report(ctx: Context, *, name: str, said: Said, client: str) -> None:
    """Notes how many connections a client has to an instance, and how long answers took; passes it on to the
    other nodes. Nothing enters the log.

    Raises:
        Invalid: nothing is said, or something that cannot be. NotFound: there is no such instance.
    """
    del name
    reporter = _reporter(ctx, client)
    _check(said)
    if not _take(ctx, said, reporter):
        raise NotFound(NOT_FOUND)


@command("lb.reports", needs="service:write", resource="names", local=True)
async def report_many(
    ctx: Context, *, names: Sequence[str], said: Sequence[Said], client: str
) -> list[tuple[str, str]]:
    """As `report`, of many instances at once; answers name and id of those that are not there.

    Raises:
        Invalid: none or too many, or one of them cannot be; then none is taken.
    """
    del names
    most = ctx.config.of(LbSettings).report_batch_max
    if not 1 <= len(said) <= most:
        raise Invalid(f"reports: expected 1 to {most} (KONSUL_LB_REPORT_BATCH_MAX), not {len(said)}")
    reporter = _reporter(ctx, client)
    for one in said:
        _check(one)
    return [(one.name, one.id or one.name) for one in said if not _take(ctx, one, reporter)]


def _reporter(ctx: Context, client: str) -> str:
    """Whose connections these are: of whom the caller names, else the caller's own."""
    if len(client) > CLIENT_MAX_CHARS or not client.isprintable() or client == CHECKS:
        raise Invalid(f"client: expected up to {CLIENT_MAX_CHARS} printable characters, and not {CHECKS!r}")
    own = ctx.identity.name or ctx.identity.id or ctx.client_addr
    # Under the caller's own name, so that nobody can take back what somebody else has said.
    return f"{own} {client}" if client else own


def _check(said: Said) -> None:
    if not said.name:
        raise Invalid("name: expected the name of a service")
    if said.connections is None and said.latency_ms is None:
        raise Invalid("expected connections or latency_ms")
    if said.connections is not None and said.connections > CONNECTIONS_MAX:
        raise Invalid(f"connections: expected a whole number from 0 to {CONNECTIONS_MAX}")
    if said.latency_ms is not None and not 0 <= said.latency_ms <= LATENCY_MAX_MS:
        raise Invalid(f"latency_ms: expected milliseconds from 0 to {LATENCY_MAX_MS:.0f}")


def _take(ctx: Context, said: Said, reporter: str) -> bool:
    key = instance_key(said.name, said.id)
    if not is_possible(key) or ctx.engine.get(Instance.table_id, key) is None:
        return False
    note(ctx.engine, Report(key, reporter, said.connections, said.latency_ms))
    return True
