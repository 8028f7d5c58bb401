"""`konsulctl tls`: an authority and certificates for the servers of a cluster. Asks no server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.errors import Invalid

tls = Group("tls", "Make and read the certificates of a cluster.")
ca = Group("ca", "The authority that signs them.")
cert = Group("cert", "Certificates for servers.")
client = Group("client", "Certificates for users.")
tls.add_typer(ca)
tls.add_typer(cert)
tls.add_typer(client)
COMMANDS = (tls,)

DAYS_MAX = 36_500
Folder = Annotated[str, typer.Option("--dir", metavar="DIR", help="Where the files go.")]


@ca.action("create")
def ca_create(
    ctx: typer.Context,
    folder: Folder = ".",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the authority is called.")
    ] = "Konsul cluster authority",
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is valid.")] = 3650,
) -> None:
    """Make an authority: konsul-ca.pem for every server, konsul-ca-key.pem for nobody but you."""
    with doing(ctx, "creating authority") as session:
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise Invalid("--name must have 1 to 64 printable characters")
        from konsul.cli import certificates

        pair = certificates.create_authority(Path(folder), name, _checked(days))
        session.out.done(_made("authority", pair), _document(pair))


@cert.action("create")
def cert_create(
    ctx: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE-ID", help="The server's KONSUL_RAFT_NODE_ID.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--san", metavar="HOST", help="A host name or IP address of it; repeat for more."),
    ] = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is valid.")] = 365,
    folder: Folder = ".",
    authority: Annotated[
        str, typer.Option("--ca", metavar="FILE", help="The authority's certificate.")
    ] = "konsul-ca.pem",
    authority_key: Annotated[
        str, typer.Option("--ca-key", metavar="FILE", help="The authority's key.")
    ] = "konsul-ca-key.pem",
) -> None:
    """Make a server's certificate and key: NODE-ID.pem and NODE-ID-key.pem.

    It carries the names server.konsul, by which servers know each other, NODE-ID and every --san, and serves
    both sides of a connection. Servers take new files without a restart, on SIGHUP.
    """
    with doing(ctx, "creating certificate") as session:
        from konsul.cli import certificates

        pair = certificates.create_certificate(
            Path(folder), node, names or [], _checked(days), Path(authority), Path(authority_key)
        )
        session.out.done(_made("certificate", pair), _document(pair))


@client.action("create")
def client_create(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER-ID", help="Who shows it.")],
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is valid.")] = 365,
    folder: Folder = ".",
    authority: Annotated[
        str, typer.Option("--ca", metavar="FILE", help="The authority's certificate.")
    ] = "konsul-ca.pem",
    authority_key: Annotated[
        str, typer.Option("--ca-key", metavar="FILE", help="The authority's key.")
    ] = "konsul-ca-key.pem",
) -> None:
    """Make a user's certificate and key: USER-ID.pem and USER-ID-key.pem.

    Servers that ask clients for certificates take it; with KONSUL_TLS_CLIENT_IDENTITY=user it stands for that
    user. It opens no door between servers.
    """
    with doing(ctx, "creating certificate") as session:
        from konsul.cli import certificates

        pair = certificates.create_client(
            Path(folder), user, _checked(days), Path(authority), Path(authority_key)
        )
        session.out.done(_made("certificate", pair), _document(pair))


@tls.action("show")
def show(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A certificate in PEM form.")],
) -> None:
    """Show what a certificate says; exit code 1 when it is not valid now."""
    with doing(ctx, "reading certificate") as session:
        from datetime import UTC, datetime

        from konsul.cli import certificates

        found = certificates.describe(Path(file))
        now = datetime.now(UTC)
        is_valid = found.since <= now < found.until
        role = "authority" if found.is_authority else "server" if found.is_for_peers else "not for peers"
        document = {
            "subject": found.subject,
            "issuer": found.issuer,
            "role": role,
            "names": found.names,
            "valid_from": found.since.isoformat(),
            "valid_until": found.until.isoformat(),
            "days_left": (found.until - now).days,
            "valid": is_valid,
            "sha256": found.fingerprint,
        }
        shown = {
            **document,
            "names": " ".join(found.names),
            "valid": session.out.mark(_yes(is_valid), is_valid),
        }
        text = "\n".join(f"{name.replace('_', ' ') + ':':<13}{value}" for name, value in shown.items())
        rows = [[name, value] for name, value in shown.items()]
        session.out.show(document, text=text, table=Table(("what", "value"), rows))
        if not is_valid:
            raise typer.Exit(1)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _checked(days: int) -> int:
    if not 1 <= days <= DAYS_MAX:
        raise Invalid(f"--days must be 1 to {DAYS_MAX}, not {days}")
    return days


def _made(what: str, pair: Any) -> str:
    until = pair.until.date().isoformat()
    return f"Successfully created {what}: {pair.cert} and {pair.key}, valid until {until}"


def _document(pair: Any) -> dict[str, str]:
    return {"cert": str(pair.cert), "key": str(pair.key), "valid_until": pair.until.isoformat()}
