"""`konsulctl service register`, and what a registration is made of. Imports the client's side only."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import doing
from konsul.errors import Invalid
from konsul.features.catalog.cli_views import endpoint

if TYPE_CHECKING:
    from konsul.client import Check

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
DEFAULT_INTERVAL = "30s"
DEFAULT_TIMEOUT = "10s"


Texts = list[str] | None


def _each(spelling: str, metavar: str, help: str) -> Any:
    """A flag that may be given several times."""
    return typer.Option(spelling, metavar=metavar, help=help)


Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="Where it listens.")]
Port = Annotated[str, typer.Argument(metavar="PORT", help="1 to 65535.")]
Node = Annotated[
    str, typer.Option("--node", metavar="NODE", help="The machine it is on, whose health it shares.")
]
Zone = Annotated[
    str, typer.Option("--zone", metavar="ZONE", help="Where it is; without it where its node is.")
]
Ttl = Annotated[
    str, typer.Option("--ttl", metavar="TIME", help="How long it stays without a heartbeat; 0: for good.")
]
Needs = Annotated[Texts, _each("--depends-on", "SERVICE", "All that the service needs; repeat for more.")]
Http = Annotated[Texts, _each("--check-http", "URL", "Healthy when it answers 2xx.")]
Tcp = Annotated[Texts, _each("--check-tcp", "HOST:PORT", "Healthy when it accepts.")]
Udp = Annotated[Texts, _each("--check-udp", "HOST:PORT", "Healthy unless it refuses packets.")]
Grpc = Annotated[Texts, _each("--check-grpc", "HOST:PORT[/SERVICE]", "gRPC's health protocol.")]
Script = Annotated[Texts, _each("--check-script", "COMMAND", "A program of the servers' script directory.")]
Alias = Annotated[Texts, _each("--check-alias", "SERVICE|node:NODE", "As healthy as that is.")]
TtlCheck = Annotated[Texts, _each("--check-ttl", "TIME", "Healthy while it reports in time.")]
Interval = Annotated[
    str, typer.Option("--check-interval", metavar="TIME", help="Between two runs of a check; 30s.")
]
Timeout = Annotated[str, typer.Option("--check-timeout", metavar="TIME", help="What a run may take; 10s.")]
GoesAfter = Annotated[
    str,
    typer.Option("--deregister-after", metavar="TIME", help="Critical for so long, the instance goes."),
]


def register(
    ctx: typer.Context,
    name: Name,
    address: Address,
    port: Port,
    id: Id = None,
    tag: Tags = None,
    meta: Meta = None,
    node: Node = "",
    zone: Zone = "",
    ttl: Ttl = "",
    depends_on: Needs = None,
    check_http: Http = None,
    check_tcp: Tcp = None,
    check_udp: Udp = None,
    check_grpc: Grpc = None,
    check_script: Script = None,
    check_alias: Alias = None,
    check_ttl: TtlCheck = None,
    check_interval: Interval = DEFAULT_INTERVAL,
    check_timeout: Timeout = DEFAULT_TIMEOUT,
    deregister_after: GoesAfter = "",
    cas: Cas = None,
) -> None:
    """Register or replace an instance of a service; it stays while its heartbeats come.

    A check that somebody has to run is critical until it first succeeds.
    """
    with doing(ctx, "registering service") as session:
        from konsul.client import Service

        told = {
            "http": check_http,
            "tcp": check_tcp,
            "udp": check_udp,
            "grpc": check_grpc,
            "script": check_script,
            "alias": check_alias,
            "ttl": check_ttl,
        }
        checks = [
            check_of(name, kind, target, check_interval, check_timeout, deregister_after)
            for kind, targets in told.items()
            for target in targets or ()
        ]
        _timed(checks, check_interval, check_timeout, deregister_after)
        one = Service(
            name,
            address,
            port_of(port),
            id or "",
            tuple(tag or ()),
            pairs(meta or ()),
            numbered(checks),
            node,
            zone,
            ttl,
            None if depends_on is None else tuple(depends_on),
        )
        written = session.client.services.register(one, cas=cas)
        said = f"Successfully registered service: {name} at {endpoint(address, one.port)}"
        if checks:
            said += f" with {len(checks)} health check(s)"
        session.out.done(said, {"name": name, "id": one.instance, "modify_index": written.modify_index})


def _timed(checks: Iterable[Check], interval: str, timeout: str, deregister_after: str) -> None:
    """Raises Invalid for what is said of checks that are not there: it would do nothing, in silence."""
    flags = {
        "--check-interval": interval != DEFAULT_INTERVAL,
        "--check-timeout": timeout != DEFAULT_TIMEOUT,
        "--deregister-after": bool(deregister_after),
    }
    given = [flag for flag, is_given in flags.items() if is_given]
    if given and not list(checks):
        raise Invalid(f"{given[0]} needs a check, such as --check-tcp")


def check_of(name: str, kind: str, target: str, interval: str, timeout: str, deregister_after: str) -> Check:
    """A check named and timed as konsulctl always did. Raises Invalid for a command that cannot be split."""
    from konsul.client import Check

    bare = Check(name=f"{name}-{kind}-check", deregister_critical_after=deregister_after)
    if kind == "ttl":
        return replace(bare, ttl=target)
    timed = replace(bare, interval=interval, timeout=timeout)
    if kind == "script":
        try:
            return replace(timed, script=tuple(shlex.split(target)))
        except ValueError as error:
            raise Invalid(f"--check-script {target!r}: {error}") from None
    if kind == "alias":
        # It looks into tables and sends nothing: there is no run to be timed.
        node = target.removeprefix("node:")
        return replace(bare, alias_service=target) if node == target else replace(bare, alias_node=node)
    targets: dict[str, Any] = {kind: target}
    return replace(timed, **targets)


def numbered(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks, told apart where two would have the same name."""
    seen: dict[str, int] = {}
    found: list[Check] = []
    for one in checks:
        times = seen[one.name] = seen.get(one.name, 0) + 1
        found.append(one if times == 1 else replace(one, name=f"{one.name}-{times}"))
    return tuple(found)


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
