"""`konsulctl service` and `konsulctl node`. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.errors import Forbidden, Invalid
from konsul.features.catalog import cli_nodes, cli_query, cli_register, cli_watch
from konsul.features.catalog import cli_views as views
from konsul.features.catalog.cli_healths import Health, Passing, health_of
from konsul.features.catalog.cli_register import Cas, Id, Name
from konsul.features.dependencies import cli_dependencies, cli_graph

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import ServiceInstance

service = Group("service", "Register and find services.")
maint = Group("maint", "Take instances out of service, and put them back.")
COMMANDS = (service, cli_nodes.node)

service.action("register")(cli_register.register)


@service.action("list")
def list_(ctx: typer.Context, passing: Passing = False, health: Health = None) -> None:
    """List every instance of every service."""
    with doing(ctx, "listing services") as session:
        views.show_services(session, session.client.services.list(health=health_of(passing, health)))


@service.action("get")
def get(
    ctx: typer.Context,
    name: Name,
    health: Annotated[bool, typer.Option("--health", help="How each of its instances is.")] = False,
) -> None:
    """Show the instance that stands for a service, or with --health how all of them are."""
    with doing(ctx, "getting service") as session:
        if health:
            found = session.client.services.instances(name)
            checks = _checks(session, name, found)
            members = {"name": name, **_counted(found), "instances": [views.detailed(one) for one in found]}
            session.out.show(
                members | {"checks": list(checks)},
                text="\n".join(_told(session.out.paint, name, found, checks)),
                table=Table((*views.COLUMNS, "health"), [_row(one) for one in found]),
            )
            return
        one = session.client.services.get(name)
        members = views.detailed(one)
        text = "\n".join(f"{member}: {views.plain(value)}" for member, value in members.items())
        session.out.show(members, text=text, table=Table((*views.COLUMNS, "health"), [_row(one)]))


@service.action("instances")
def instances(ctx: typer.Context, name: Name, passing: Passing = False, health: Health = None) -> None:
    """List the live instances of a service."""
    with doing(ctx, "getting instances") as session:
        wanted = health_of(passing, health)
        views.show_instances(session, session.client.services.instances(name, health=wanted))


service.action("query")(cli_query.query)


@service.action("deregister")
def deregister(
    ctx: typer.Context,
    name: Name,
    id: Id = None,
    cas: Cas = None,
    all: Annotated[bool, typer.Option("--all", help="Every instance of the service.")] = False,
) -> None:
    """Take an instance out; an absent one is a success."""
    with doing(ctx, "deregistering service") as session:
        if all and (id or cas is not None):
            raise Invalid("--all cannot be combined with --id or --cas")
        if all:
            session.client.services.deregister_all(name)
            session.out.done(f"Successfully deregistered service: {name}", {"name": name})
            return
        session.client.services.deregister(name, instance=id, cas=cas)
        session.out.done(f"Successfully deregistered service: {name}", {"name": name, "id": id or name})


@service.action("heartbeat")
def heartbeat(ctx: typer.Context, name: Name, id: Id = None) -> None:
    """Renew an instance's time to live."""
    with doing(ctx, "sending heartbeat") as session:
        session.client.services.heartbeat(name, instance=id)
        session.out.done(f"Successfully sent heartbeat for service: {name}", {"name": name, "id": id or name})


service.action("watch")(cli_watch.watch)
service.action("graph")(cli_graph.graph)
service.action("impact")(cli_graph.impact)
service.add_typer(cli_dependencies.dependencies)
service.add_typer(maint)

AllOfThem = Annotated[bool, typer.Option("--all", help="Every instance of the service.")]


@maint.action("enable")
def maint_enable(
    ctx: typer.Context,
    name: Name,
    id: Id = None,
    all: AllOfThem = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, shown as output.")] = "",
) -> None:
    """Take an instance out of DNS, balancing and passing-only reads, as if it were critical."""
    with doing(ctx, "enabling maintenance") as session:
        _maintain(session, name, id, all, reason)


@maint.action("disable")
def maint_disable(ctx: typer.Context, name: Name, id: Id = None, all: AllOfThem = False) -> None:
    """Put an instance back."""
    with doing(ctx, "disabling maintenance") as session:
        _maintain(session, name, id, all, None)


def _maintain(session: Session, name: str, id: str | None, all: bool, reason: str | None) -> None:
    """A reason, which may be empty: into maintenance."""
    if all and id is not None:
        raise Invalid("--all cannot be combined with --id")
    services, enable = session.client.services, reason is not None
    ids = [one.service.instance for one in services.instances(name)] if all else [id or name]
    for one in ids:
        services.maintenance(name, enable, reason=reason or "", instance=one)
    shown = "" if ids == [name] else f" ({', '.join(ids)})"
    session.out.done(
        f"Maintenance {'enabled' if enable else 'disabled'} for service: {name}{shown}",
        {"name": name, "ids": ids, "maintenance": enable},
    )


def _row(one: ServiceInstance) -> tuple[object, ...]:
    return (*views.row(one.service), views.healthy(one.health))


def _counted(found: tuple[ServiceInstance, ...]) -> dict[str, object]:
    """The health of a service is the worst of its instances'."""
    counts = {word: sum(one.health == word for one in found) for word in views.COLORS}
    worst = next((word for word in reversed(views.COLORS) if counts[word]), "")
    return {"health": worst, "counts": counts}


def _checks(session: Session, name: str, found: tuple[ServiceInstance, ...]) -> tuple[dict[str, Any], ...]:
    """The checks of a service's instances, and those of the nodes that instances which do not pass are on.

    None for who may see the service and not its checks.
    """
    nodes = {one.service.node for one in found if one.service.node and one.health != "passing"}
    checks: list[dict[str, Any]] = []
    for service, node in ((name, None), *((None, node) for node in sorted(nodes))):
        try:
            checks += session.client.checks.list(service=service, node=node)
        except Forbidden as error:
            session.out.warn(f"its checks are not shown: {error}")
    return tuple(checks)


def _told(
    paint: views.Paint, name: str, found: tuple[ServiceInstance, ...], checks: tuple[dict[str, Any], ...]
) -> Iterator[str]:
    serving = sum(one.health != "critical" for one in found)
    health = views.healthy(str(_counted(found)["health"]))
    yield f"{name}: {paint(health)} ({serving} of {len(found)} serving)"
    for one in found:
        yield f"  {views.line(one.service)} {paint(views.healthy(one.health))}"
        for check in checks:
            if check.get("service_id") == one.service.instance:
                yield f"    {views.check_line(paint, check)}"
            elif one.service.node and check.get("node") == one.service.node:
                yield f"    node {one.service.node}: {views.check_line(paint, check)}"
