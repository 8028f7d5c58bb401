"""`konsulctl service`. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.errors import Invalid
from konsul.features.catalog import cli_watch

if TYPE_CHECKING:
    from konsul.client import Check, Service, ServiceInstance

service = Group("service", "Register and find services.")
COMMANDS = (service,)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the service.")]
Id = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="The instance; without it the one called like the service."),
]
Cas = Annotated[
    int | None,
    typer.Option("--cas", metavar="INDEX", min=0, help="Only at this modify index; 0: only if absent."),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; repeat for more.")]
Meta = Annotated[
    list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="Metadata; repeat for more.")
]
COLUMNS = ("name", "id", "address", "port", "tags", "meta")


@service.action("register")
def register(
    ctx: typer.Context,
    name: Name,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where it listens.")],
    port: Annotated[str, typer.Argument(metavar="PORT", help="1 to 65535.")],
    id: Id = None,
    tag: Tags = None,
    meta: Meta = None,
    check_http: Annotated[
        list[str] | None, typer.Option("--check-http", metavar="URL", help="Healthy when it answers 2xx.")
    ] = None,
    check_tcp: Annotated[
        list[str] | None, typer.Option("--check-tcp", metavar="HOST:PORT", help="Healthy when it accepts.")
    ] = None,
    check_ttl: Annotated[
        list[str] | None,
        typer.Option("--check-ttl", metavar="TIME", help="Healthy while it reports in time."),
    ] = None,
    cas: Cas = None,
) -> None:
    """Register or replace an instance of a service; it stays while its heartbeats come.

    Checks are kept and shown with the service; this version does not run them.
    """
    with doing(ctx, "registering service") as session:
        from konsul.client import Service

        checks = checks_of(name, check_http or (), check_tcp or (), check_ttl or ())
        one = Service(name, address, port_of(port), id or "", tuple(tag or ()), pairs(meta or ()), checks)
        written = session.client.services.register(one, cas=cas)
        told = f"Successfully registered service: {name} at {address}:{one.port}"
        if checks:
            told += f" with {len(checks)} health check(s)"
        session.out.done(told, {"name": name, "id": one.instance, "modify_index": written.modify_index})


@service.action("list")
def list_(ctx: typer.Context) -> None:
    """List every instance of every service."""
    with doing(ctx, "listing services") as session:
        _show(session, session.client.services.list())


@service.action("get")
def get(ctx: typer.Context, name: Name) -> None:
    """Show the instance that stands for a service."""
    with doing(ctx, "getting service") as session:
        one = session.client.services.get(name)
        session.out.show(
            detailed(one),
            text="\n".join(f"{member}: {plain(value)}" for member, value in detailed(one).items()),
            table=Table(COLUMNS, [row(one.service)]),
        )


@service.action("instances")
def instances(ctx: typer.Context, name: Name) -> None:
    """List the live instances of a service."""
    with doing(ctx, "getting instances") as session:
        found = session.client.services.instances(name)
        _show(session, [one.service for one in found])


@service.action("query")
def query(ctx: typer.Context, tag: Tags = None, meta: Meta = None) -> None:
    """List the services that carry all of these tags and metadata."""
    with doing(ctx, "querying services") as session:
        _show(session, session.client.services.query(tags=tag or (), meta=pairs(meta or ())))


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


def port_of(text: str) -> int:
    """A port number. Raises Invalid for what is none; the range is the server's to check."""
    if not text.isascii() or not text.isdecimal():
        raise Invalid(f"invalid port: {text}")
    return int(text)


def pairs(arguments: Iterable[str]) -> dict[str, str]:
    """Metadata from `KEY=VALUE` arguments. Raises Invalid."""
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name:
            raise Invalid(f"metadata {argument!r} is not KEY=VALUE")
        found[name] = value
    return found


def checks_of(name: str, http: Iterable[str], tcp: Iterable[str], ttl: Iterable[str]) -> tuple[Check, ...]:
    """The checks of a registration, named and timed as konsulctl always did."""
    from konsul.client import Check

    timed = {"interval": "30s", "timeout": "10s"}
    return (
        *(Check(name=f"{name}-http-check", http=url, **timed) for url in http),
        *(Check(name=f"{name}-tcp-check", tcp=target, **timed) for target in tcp),
        *(Check(name=f"{name}-ttl-check", ttl=time) for time in ttl),
    )


def document(one: Service) -> dict[str, Any]:
    """A service for json and yaml."""
    from konsul.client.service_calls import document as members

    return members(one)


def detailed(one: ServiceInstance) -> dict[str, Any]:
    """An instance with its bookkeeping."""
    members = {**document(one.service), "create_index": one.create_index, "modify_index": one.modify_index}
    if one.expires_at:
        members["expires_at"] = one.expires_at.isoformat()
    return members


def row(one: Service) -> tuple[object, ...]:
    """A service as a table row."""
    return one.name, one.instance, one.address, one.port, ",".join(one.tags), plain(dict(one.meta))


def plain(value: Any) -> str:
    """A member on one line."""
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(plain(one) for one in value)
    return str(value)


def _show(session: Any, found: Iterable[Service]) -> None:
    services = list(found)
    lines = [f"{label(one)} - {one.address}:{one.port}" for one in services]
    if session.out.quiet:
        text = "\n".join(lines)
    else:
        text = "\n".join(["Services:", *(f"  {line}" for line in lines)]) if lines else "No services found"
    session.out.show(
        [document(one) for one in services], text=text, table=Table(COLUMNS, [row(s) for s in services])
    )


def label(one: Service) -> str:
    """Name, and the instance where it is not called like its service."""
    return one.name if one.instance == one.name else f"{one.name} ({one.instance})"
