"""`konsulctl ratelimit`: see and change the rate limits. Imports the client's side only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.options import Form, seconds
from konsul.errors import Invalid, NotFound
from konsul.features.ratelimit import cli_views as views

if TYPE_CHECKING:
    from konsul.cli.session import Session

ratelimit = Group("ratelimit", "See and change how much clients may ask.")
reset = Group("reset", "Let clients of the server asked start with full buckets.")
whitelist = Group("whitelist", "Who is let through whatever they ask.")
blacklist = Group("blacklist", "Who is kept out, for a time.")
for group in (reset, whitelist, blacklist):
    ratelimit.add_typer(group)
COMMANDS = (ratelimit,)

KINDS = ("ip", "apikey", "user")
Kind = Annotated[str, typer.Option("--type", metavar="KIND", help="ip, apikey, user or all.")]
OneKind = Annotated[str | None, typer.Option("--type", metavar="KIND", help="ip, apikey or user.")]
Id = Annotated[str | None, typer.Option("--id", metavar="ID", help="An address, or an id of --type.")]
Ip = Annotated[str | None, typer.Option("--ip", metavar="ADDRESS", help="Short for --type ip --id.")]
Key = Annotated[str | None, typer.Option("--apikey", metavar="KEY-ID", help="Short for --type apikey --id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, shown in the list.")]
Listed = Annotated[str, typer.Argument(metavar="ID", help="The address, network or id, as list shows it.")]
ADJUSTED_FOR = "1h"
BLACKLISTED_FOR = "24h"
_EVENTS_MAX = 1_000


@ratelimit.action("stats")
def stats(ctx: typer.Context) -> None:
    """Show how many clients the server asked counts, and how it answered them."""
    with doing(ctx, "getting rate limit stats") as session:
        document = session.client.ratelimit.stats(details=True)
        session.out.show(document, text=views.stats(document), table=views.stats_table(document))


@ratelimit.action("config")
def config(ctx: typer.Context) -> None:
    """Show the configuration in force."""
    with doing(ctx, "getting rate limit config") as session:
        document = session.client.ratelimit.config()
        text = "\n".join(["Rate Limit Configuration:", *views.block(views.config(document))])
        session.out.show(document, text=text)


@ratelimit.action("clients")
def clients(ctx: typer.Context, kind: Kind = "all") -> None:
    """List who has a bucket on the server asked."""
    with doing(ctx, "listing rate-limited clients") as session:
        if kind not in (*KINDS, "all"):
            raise Invalid(f"--type is {kind!r}: expected ip, apikey, user or all")
        found = session.client.ratelimit.clients(kind)
        lines = [f"Active Rate-Limited Clients: {len(found)}"]
        for one in found:
            lines += ["", *views.block(views.client(one))]
        text = "\n".join(lines) if found else "No active rate-limited clients"
        session.out.show(list(found), text=text, table=views.clients_table(found))


@ratelimit.action("client")
def client(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="An address, else an API key's or a user's id.")],
) -> None:
    """Show one client of the server asked."""
    with doing(ctx, "getting client status") as session:
        try:
            document = session.client.ratelimit.client(id)
        except NotFound:
            raise NotFound(f"client not found: {id}") from None
        text = "\n".join(views.block(views.client(document, capacity=True), ""))
        session.out.show(document, text=text, table=views.clients_table([document]))


@ratelimit.action("status")
def status(
    ctx: typer.Context, ip: Ip = None, apikey: Key = None, kind: OneKind = None, id: Id = None
) -> None:
    """Show all the server asked knows of one client, and whether it is on a list."""
    with doing(ctx, "getting client status") as session:
        kind, id = _who(ip, apikey, kind, id)
        document = session.client.ratelimit.status(kind, id)
        session.out.show(document, text="\n".join(views.block(views.status(document), "")))


@ratelimit.action("top")
def top(
    ctx: typer.Context,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="violations or requests.")] = "violations",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1_000, help="How many.")] = 10,
) -> None:
    """List the clients of the server asked that were refused most, or asked most."""
    with doing(ctx, "listing top clients") as session:
        found = session.client.ratelimit.top(by, limit)
        table = views.top_table(found)
        lines = session.out.aligned([[name.upper() for name in table.columns], *table.rows])
        text = "\n".join(lines) if found else "No clients to show"
        session.out.show(list(found), text=text, table=table)


@ratelimit.action("watch")
def watch(
    ctx: typer.Context,
    interval: Annotated[
        str, typer.Option("--interval", metavar="TIME", help="Time between two questions.")
    ] = "1s",
) -> None:
    """Show refusals of the server asked as they happen, until Ctrl-C."""
    with doing(ctx, "watching rate limits") as session:
        _follow(session, seconds(interval))


@ratelimit.action("update")
def update(
    ctx: typer.Context,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Requests per second, also a fraction.")
    ] = None,
    burst: Annotated[int | None, typer.Option("--burst", metavar="N", help="Requests at once.")] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Forget what was changed; servers go by their settings.")
    ] = False,
) -> None:
    """Change everybody's rate, burst or both, at once and in the whole cluster."""
    with doing(ctx, "updating rate limit config") as session:
        if (rate is None and burst is None) is not defaults:
            raise Invalid("at least one of --rate and --burst is needed, or --defaults alone")
        changes = session.client.ratelimit
        document = (
            changes.restore_config() if defaults else changes.update(requests_per_sec=rate, burst=burst)
        )
        lines = [document.get("message", "")]
        given = document.get("config", {})
        if "requests_per_sec" in given:
            lines.append(f"  Requests per second: {views.per_second(given['requests_per_sec'])}")
        if "burst" in given:
            lines.append(f"  Burst:               {given['burst']}")
        session.out.done("\n".join(lines), document)
        session.out.note("In force on every server, for clients it knows and for new ones.")


@ratelimit.action("adjust")
def adjust(
    ctx: typer.Context,
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="Requests per second.")],
    burst: Annotated[int, typer.Option("--burst", metavar="N", help="Requests at once.")],
    kind: OneKind = None,
    id: Id = None,
    ip: Ip = None,
    apikey: Key = None,
    duration: Annotated[
        str, typer.Option("--duration", metavar="TIME", help="How long it holds.")
    ] = ADJUSTED_FOR,
) -> None:
    """Give one client a rate of its own for a time, in the whole cluster."""
    with doing(ctx, "adjusting client limit") as session:
        kind, id = _who(ip, apikey, kind, id)
        document = session.client.ratelimit.adjust(kind, id, rate=rate, burst=burst, duration=duration)
        rows = [
            ("Type:", kind),
            ("Identifier:", id),
            ("Rate:", f"{views.plain(rate)} requests/sec"),
            ("Burst:", str(burst)),
            ("Duration:", duration),
        ]
        session.out.done("\n".join([document.get("message", ""), *views.block(rows)]), document)


@ratelimit.action("restore")
def restore(
    ctx: typer.Context, kind: OneKind = None, id: Id = None, ip: Ip = None, apikey: Key = None
) -> None:
    """End a client's own rate before its time."""
    with doing(ctx, "restoring client limit") as session:
        kind, id = _who(ip, apikey, kind, id)
        document = session.client.ratelimit.restore(kind, id)
        session.out.done(f"Successfully restored rate limit for {kind}: {id}", document)


@reset.action("ip")
def reset_ip(
    ctx: typer.Context, ip: Annotated[str, typer.Argument(metavar="IP", help="The address.")]
) -> None:
    """Let an address start with a full bucket."""
    _reset(ctx, "ip", ip)


@reset.action("apikey")
def reset_key(
    ctx: typer.Context, key: Annotated[str, typer.Argument(metavar="KEY-ID", help="The API key's id.")]
) -> None:
    """Let an API key start with a full bucket."""
    _reset(ctx, "apikey", key)


@reset.action("user")
def reset_user(
    ctx: typer.Context, user: Annotated[str, typer.Argument(metavar="USER-ID", help="The user's id.")]
) -> None:
    """Let a user start with a full bucket."""
    _reset(ctx, "user", user)


@reset.action("all")
def reset_all(ctx: typer.Context, kind: Kind = "all") -> None:
    """Let everybody start with a full bucket, or all of a kind."""
    with doing(ctx, "resetting rate limiters") as session:
        document = session.client.ratelimit.reset_all(kind)
        session.out.done(f"Successfully reset all {kind} rate limiters".replace("all all", "all"), document)


@whitelist.action("list")
def list_white(ctx: typer.Context) -> None:
    """List who is let through."""
    _entries(ctx, "whitelist")


@whitelist.action("add")
def add_white(
    ctx: typer.Context,
    kind: OneKind = None,
    id: Id = None,
    ip: Ip = None,
    apikey: Key = None,
    reason: Reason = "",
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="How long; without it for good.")
    ] = None,
) -> None:
    """Let an address, a network, an API key or a user through."""
    _add(ctx, "whitelist", (ip, apikey, kind, id), reason, duration)


@whitelist.action("remove")
def remove_white(ctx: typer.Context, id: Listed) -> None:
    """Take somebody off the whitelist."""
    _remove(ctx, "whitelist", id)


@blacklist.action("list")
def list_black(ctx: typer.Context) -> None:
    """List who is kept out."""
    _entries(ctx, "blacklist")


@blacklist.action("add")
def add_black(
    ctx: typer.Context,
    kind: OneKind = None,
    id: Id = None,
    ip: Ip = None,
    apikey: Key = None,
    reason: Reason = "",
    duration: Annotated[str, typer.Option("--duration", metavar="TIME", help="How long.")] = BLACKLISTED_FOR,
) -> None:
    """Keep an address, a network, an API key or a user out."""
    _add(ctx, "blacklist", (ip, apikey, kind, id), reason, duration)


@blacklist.action("remove")
def remove_black(ctx: typer.Context, id: Listed) -> None:
    """Take somebody off the blacklist."""
    _remove(ctx, "blacklist", id)


Given = tuple[str | None, str | None, str | None, str | None]
"""`--ip`, `--apikey`, `--type` and `--id`, as `_who` takes them."""


def _who(ip: str | None, apikey: str | None, kind: str | None, id: str | None) -> tuple[str, str]:
    """The kind and id that the flags name together. Raises Invalid for none, or for several."""
    named = [(one, value) for one, value in (("ip", ip), ("apikey", apikey)) if value]
    if id or kind:
        if not (id and kind):
            raise Invalid("--type and --id go together")
        if kind not in KINDS:
            raise Invalid(f"--type is {kind!r}: expected ip, apikey or user")
        named.append((kind, id))
    if len(named) != 1:
        raise Invalid("name one client: --type and --id, or --ip, or --apikey")
    return named[0]


def _reset(ctx: typer.Context, kind: str, id: str) -> None:
    with doing(ctx, "resetting rate limit") as session:
        document = session.client.ratelimit.reset(kind, id)
        session.out.done(f"Successfully reset rate limit for {views.KIND_NAMES[kind]}: {id}", document)


def _entries(ctx: typer.Context, name: str) -> None:
    with doing(ctx, f"getting {name}") as session:
        found = session.client.ratelimit.entries(name)
        lines = [f"{name.capitalize()} entries: {len(found)}"]
        for one in found:
            lines += ["", f"{one['identifier']} ({one['type']})", *views.block(views.entry(one))]
        text = "\n".join(lines) if found else f"No {name} entries"
        session.out.show(list(found), text=text, table=views.entries_table(found))


def _add(ctx: typer.Context, name: str, given: Given, reason: str, duration: str | None) -> None:
    with doing(ctx, f"adding to {name}") as session:
        kind, id = _who(*given)
        document = session.client.ratelimit.add(name, kind, id, reason=reason, duration=duration)
        head = f"Successfully added to {name}: {document['identifier']} ({kind})"
        session.out.done("\n".join([head, *views.block(views.entry(document))]), document)


def _remove(ctx: typer.Context, name: str, id: str) -> None:
    with doing(ctx, f"removing from {name}") as session:
        document = session.client.ratelimit.remove(name, id)
        session.out.done(f"Successfully removed from {name}: {id}", document)


def _follow(session: Session, every_s: float) -> None:
    """Writes each refusal once, as a line of text or of JSON; Ctrl-C ends it and is no failure."""
    from konsul.cli import watch as watching

    seen = 0
    try:
        while True:
            found: Sequence[dict[str, Any]] = session.client.ratelimit.events(seen, _EVENTS_MAX)
            for one in found:
                as_json = session.out.form is Form.JSON
                typer.echo(json.dumps(one, ensure_ascii=False) if as_json else views.event(one))
                seen = max(seen, one["number"])
            if len(found) < _EVENTS_MAX:
                watching.pause_s(every_s)
    except KeyboardInterrupt:
        session.out.note("")
