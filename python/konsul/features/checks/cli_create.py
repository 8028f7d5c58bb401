"""`konsulctl check create`. Imports the client's side only."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final

import typer

from konsul.cli.command import doing
from konsul.errors import Invalid
from konsul.features.catalog.cli_register import DEFAULT_INTERVAL, DEFAULT_TIMEOUT, check_of

KINDS: Final = ("http", "tcp", "udp", "grpc", "script", "alias", "ttl")
ONE_OF: Final = "give one of " + ", ".join(f"--{kind}" for kind in KINDS)


def _text(spelling: str, metavar: str, help: str) -> Any:
    return typer.Option(spelling, metavar=metavar, help=help)


def _number(spelling: str, help: str) -> Any:
    return typer.Option(spelling, metavar="N", min=1, max=100, help=help)


Service = Annotated[str, _text("--service", "NAME", "The service it is of.")]
Instance = Annotated[str, _text("--instance", "ID", "The instance; else the one called like the service.")]
Node = Annotated[str, _text("--node", "NODE", "The node it is of, in place of a service.")]
Id = Annotated[str, _text("--id", "ID", "Its id; without one it is derived from its name.")]
Name = Annotated[str, _text("--name", "NAME", "What people call it.")]
Http = Annotated[str, _text("--http", "URL", "Passing when it answers 2xx.")]
Tcp = Annotated[str, _text("--tcp", "HOST:PORT", "Passing when it accepts.")]
Udp = Annotated[str, _text("--udp", "HOST:PORT", "Passing unless it refuses packets.")]
Grpc = Annotated[str, _text("--grpc", "HOST:PORT[/SERVICE]", "gRPC's health protocol.")]
Script = Annotated[str, _text("--script", "COMMAND", "A program of the servers' script directory.")]
Alias = Annotated[str, _text("--alias", "SERVICE|node:NODE", "As healthy as that is.")]
Ttl = Annotated[str, _text("--ttl", "TIME", "Passing while it is told so in time.")]
Interval = Annotated[str, _text("--interval", "TIME", "Between two runs.")]
Timeout = Annotated[str, _text("--timeout", "TIME", "What a run may take.")]
Method = Annotated[str, _text("--method", "METHOD", "Of HTTP; GET.")]
Header = Annotated[list[str] | None, _text("--header", "NAME:VALUE", "Sent along; repeat for more.")]
Body = Annotated[str, _text("--body", "TEXT", "Sent along.")]
ExpectStatus = Annotated[str, _text("--expect-status", "RANGES", "Such as 200-299,301.")]
ExpectBody = Annotated[str, _text("--expect-body", "PATTERN", "RE2; found in what is answered.")]
GrpcTls = Annotated[bool, typer.Option("--grpc-tls", help="gRPC over TLS.")]
SkipVerify = Annotated[bool, typer.Option("--skip-verify", help="Take any certificate.")]
TlsName = Annotated[str, _text("--tls-name", "NAME", "Whom the certificate has to name.")]
Successes = Annotated[int, _number("--successes", "So many in a row before it passes.")]
Failures = Annotated[int, _number("--failures", "So many in a row before it is critical.")]
Initial = Annotated[str, _text("--initial", "STATUS", "Until the first run; critical if not said.")]
GoesAfter = Annotated[
    str, _text("--deregister-after", "TIME", "Critical for so long, the instance is deregistered.")
]
Notes = Annotated[str, _text("--notes", "TEXT", "For people.")]


def create(
    ctx: typer.Context,
    service: Service = "",
    instance: Instance = "",
    node: Node = "",
    id: Id = "",
    name: Name = "",
    http: Http = "",
    tcp: Tcp = "",
    udp: Udp = "",
    grpc: Grpc = "",
    script: Script = "",
    alias: Alias = "",
    ttl: Ttl = "",
    interval: Interval = DEFAULT_INTERVAL,
    timeout: Timeout = DEFAULT_TIMEOUT,
    method: Method = "",
    header: Header = None,
    body: Body = "",
    expect_status: ExpectStatus = "",
    expect_body: ExpectBody = "",
    grpc_tls: GrpcTls = False,
    skip_verify: SkipVerify = False,
    tls_name: TlsName = "",
    successes: Successes = 1,
    failures: Failures = 1,
    initial: Initial = "",
    deregister_after: GoesAfter = "",
    notes: Notes = "",
) -> None:
    """Add a check to a service or a node, or define the one of that id anew.

    Give one of --http, --tcp, --udp, --grpc, --script, --alias and --ttl.
    """
    with doing(ctx, "creating check") as session:
        targets = zip(KINDS, (http, tcp, udp, grpc, script, alias, ttl), strict=True)
        given = [(kind, target) for kind, target in targets if target]
        if len(given) != 1:
            raise Invalid(ONE_OF)
        if bool(service) == bool(node):
            raise Invalid("give --service or --node")
        bare = check_of(service or node, *given[0], interval, timeout, deregister_after)
        one = replace(
            bare,
            id=id,
            name=name or bare.name,
            method=method,
            headers=headers_of(header or []),
            body=body,
            expected_status=expect_status,
            expected_body=expect_body,
            grpc_use_tls=grpc_tls,
            tls_skip_verify=skip_verify,
            tls_server_name=tls_name,
            success_before_passing=successes if successes > 1 else 0,
            failures_before_critical=failures if failures > 1 else 0,
            initial_status=initial,
            notes=notes,
        )
        made = session.client.checks.create(one, service=service, instance=instance, node=node)
        session.out.done(f"Successfully created check: {made}", {"id": made})


def headers_of(arguments: list[str]) -> dict[str, str]:
    """Headers from `NAME:VALUE`. Raises Invalid."""
    found: dict[str, str] = {}
    for argument in arguments:
        name, colon, value = argument.partition(":")
        if not colon or not name:
            raise Invalid(f"--header {argument!r} is not NAME:VALUE")
        found[name] = value.strip()
    return found
