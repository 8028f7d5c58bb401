"""`konsulctl dns`: how a service is called in DNS, and what a server answers. Needs no HTTP API."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, Resource, doing
from konsul.cli.options import seconds
from konsul.cli.output import Table
from konsul.errors import Forbidden, Invalid, NotFound, Timeout, Unreachable

if TYPE_CHECKING:
    from dns.message import Message

    from konsul.cli.session import Session

HOST = "localhost"
PORT = 8600
DOMAIN = "consul"
TIMEOUT_S = 5.0
EDNS_BYTES = 1_232
"""What is taken over UDP; what is longer is fetched over TCP."""


class _Types(Resource):
    """The group; a word that is no action is taken for a type of record."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            typer.echo(f"Unknown DNS query type: {args[0]}", err=True)
            ctx.exit(1)
        return super().resolve_command(ctx, args)


group = Group("dns", "Show how services are called in DNS, and ask a server.", cls=_Types)
COMMANDS = (group,)

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Name of the service.")]
Server = Annotated[str, typer.Option("--server", metavar="HOST", help="Who is asked; localhost.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=1, max=65_535, help="Its DNS port; 8600.")]
Domain = Annotated[str, typer.Option("--domain", metavar="NAME", help="The domain of the server; consul.")]
Query = Annotated[bool, typer.Option("--query", help="Ask, and show what is answered.")]
Tcp = Annotated[bool, typer.Option("--tcp", help="Over TCP at once.")]


def _add(kind: str, form: str, sentence: str) -> None:
    """An action for one type of record, which is called so. `form` of the name, of `{service}`."""

    def shown(
        ctx: typer.Context,
        service: Service,
        server: Server = HOST,
        port: Port = PORT,
        domain: Domain = DOMAIN,
        query: Query = False,
        tcp: Tcp = False,
    ) -> None:
        name = f"{form.format(service=service)}.service.{_bare(domain)}"
        _shown(ctx, name, kind, (_host(server), port), is_asked=query, tcp=tcp)

    shown.__doc__ = sentence
    group.action(kind.lower())(shown)


_add("SRV", "_{service}._tcp", "Show the name under which a service's ports and weights are.")
_add("A", "{service}", "Show the name under which a service's addresses are.")


@group.action("lookup")
def lookup(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The whole name: web.service.consul.")],
    kind: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="AAAA, SRV, TXT, ...; A, of an address PTR.")
    ] = None,
    server: Server = HOST,
    port: Port = PORT,
    tcp: Tcp = False,
) -> None:
    """Ask a server for a name, as any program does. An address is asked for its names."""
    with doing(ctx, "looking up the name") as session:
        wanted = kind or ("PTR" if _is_address(name) else "A")
        _answered(session, name, wanted.upper(), (_host(server), port), tcp=tcp)


def _shown(
    ctx: typer.Context, name: str, kind: str, server: tuple[str, int], *, is_asked: bool, tcp: bool
) -> None:
    with doing(ctx, "asking by DNS") as session:
        if is_asked:
            _answered(session, name, kind, server, tcp=tcp)
            return
        host, port = server
        dig = f"dig @{host} -p {port} {name} {kind}"
        lines = [f"DNS query for {host}:{port}", f"{kind} Record: {name}", dig]
        document = {"server": host, "port": port, "name": name, "type": kind, "command": dig}
        session.out.show(document, text="\n".join(lines))


def _answered(session: Session, name: str, kind: str, server: tuple[str, int], *, tcp: bool) -> None:
    import dns.rcode
    import dns.rdatatype

    found = _ask(name, kind, server, _timeout_s(session), tcp=tcp)
    code = found.rcode()
    if code == dns.rcode.NXDOMAIN:
        raise NotFound(f"there is no {found.question[0].name}")
    if code == dns.rcode.REFUSED:
        raise Forbidden("the server refuses to answer that name")
    if code != dns.rcode.NOERROR:
        raise Unreachable(f"the server answered {dns.rcode.to_text(code)}")
    if not found.answer:
        raise NotFound(f"{found.question[0].name} has no {kind} record")
    rows = [
        (str(records.name), records.ttl, dns.rdatatype.to_text(records.rdtype), one.to_text())
        for records in (*found.answer, *found.additional)
        for one in records
    ]
    columns = ("name", "ttl", "type", "data")
    count = sum(len(records) for records in found.answer)
    document = {
        "name": str(found.question[0].name),
        "type": kind,
        "server": server[0],
        "port": server[1],
        "answers": [dict(zip(columns, row, strict=True)) for row in rows[:count]],
        "additional": [dict(zip(columns, row, strict=True)) for row in rows[count:]],
    }
    text = "\n".join(f"{owner} {ttl} {type_} {data}" for owner, ttl, type_, data in rows)
    session.out.show(document, text=text, table=Table([one.upper() for one in columns], rows))


def _ask(name: str, kind: str, server: tuple[str, int], timeout_s: float, *, tcp: bool) -> Message:
    """The answer. Raises Invalid for what cannot be asked, Unreachable and Timeout if nothing comes."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype
    import dns.reversename

    host, port = server
    try:
        wanted = dns.rdatatype.from_text(kind)
        asked: Any = name
        if wanted == dns.rdatatype.PTR and not name.rstrip(".").endswith(".arpa"):
            asked = dns.reversename.from_address(name)
        question = dns.message.make_query(asked, wanted, use_edns=0, payload=EDNS_BYTES)
    except (dns.exception.DNSException, ValueError) as error:
        raise Invalid(f"this cannot be asked: {error}") from None
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0][4][0]
        if tcp:
            return dns.query.tcp(question, str(address), timeout_s, port)
        return dns.query.udp_with_fallback(question, str(address), timeout_s, port)[0]
    except dns.exception.Timeout:
        raise Timeout(f"{host}:{port} did not answer within {timeout_s:g} s") from None
    except (OSError, EOFError) as error:
        raise Unreachable(f"{host}:{port} cannot be asked: {error}") from None
    except dns.exception.DNSException as error:
        raise Unreachable(f"{host}:{port} did not answer in DNS: {error}") from None


def _is_address(name: str) -> bool:
    import dns.inet

    return bool(dns.inet.is_address(name))


def _bare(domain: str) -> str:
    return domain.strip(".")


def _host(server: str) -> str:
    """The host of what was given, which may be the URL that other commands take."""
    return server.partition("://")[2].partition("/")[0].rpartition(":")[0] if "://" in server else server


def _timeout_s(session: Session) -> float:
    given = session.flags.text("timeout", {})
    return seconds(given) if given else TIMEOUT_S
