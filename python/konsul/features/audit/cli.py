"""`konsulctl audit`: what was recorded on the server that is asked. Imports the client's side only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import watch
from konsul.cli.command import Group, doing
from konsul.cli.options import Form, seconds
from konsul.cli.output import Painted, Table
from konsul.errors import Invalid

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client.audit_calls import AuditQuery

audit = Group("audit", "See what was done, by whom, and what was refused.")
COMMANDS = (audit,)

Event = Mapping[str, Any]
Actor = Annotated[str | None, typer.Option("--actor", metavar="NAME", help="Who acted, by id or name.")]
ActorType = Annotated[
    str | None,
    typer.Option("--actor-type", metavar="TYPE", help="anonymous, user, api_key or service."),
]
Action = Annotated[
    str | None, typer.Option("--action", metavar="ACTION", help="Such as kv.set, or acl.* for all of a kind.")
]
Resource = Annotated[
    str | None, typer.Option("--resource", metavar="ID", help="What was touched; a last * for any ending.")
]
Result = Annotated[
    str | None, typer.Option("--result", metavar="RESULT", help="success, denied, error or unknown.")
]
SourceIp = Annotated[str | None, typer.Option("--source-ip", metavar="ADDRESS", help="The client's address.")]
RequestId = Annotated[
    str | None, typer.Option("--request-id", metavar="ID", help="As answers have it in X-Request-Id.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="A time such as 2026-01-02T03:04:05Z, or 1h for an hour ago."
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="As --since; events before it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
COLUMNS = ("time", "result", "status", "action", "resource", "actor", "source")
COLORS = {"success": "green", "denied": "yellow", "error": "red"}
PAGE = 1_000
FOLLOW_EVERY_S = 1.0


@audit.action("list")
def list_(
    ctx: typer.Context,
    actor: Actor = None,
    actor_type: ActorType = None,
    action: Action = None,
    resource: Resource = None,
    result: Result = None,
    source_ip: SourceIp = None,
    request_id: RequestId = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 100,
) -> None:
    """List events, the newest first."""
    with doing(ctx, "listing audit events") as session:
        query = _query(actor, actor_type, action, resource, result, source_ip, request_id, since, until)
        events = list(_some(session, query, limit))
        table = Table(COLUMNS, [_cells(event) for event in events])
        text = "\n".join(session.out.aligned(table.rows)) if events else "No events found"
        session.out.show(events, text=text, table=table)


@audit.action("tail")
def tail(
    ctx: typer.Context,
    actor: Actor = None,
    action: Action = None,
    resource: Resource = None,
    result: Result = None,
    since: Since = None,
    lines: Annotated[int, typer.Option("--lines", metavar="N", min=0, help="So many of the past.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last events, the newest last."""
    with doing(ctx, "reading audit events") as session:
        query = _query(actor, None, action, resource, result, None, None, since, None)
        as_json = as_json or session.out.form is Form.JSON
        first = session.client.audit.page(query, limit=max(1, min(lines, PAGE)))
        events = list(_some(session, query, lines)) if lines > PAGE or first.more else list(first.events)
        _print(session, reversed(events[:lines]), as_json)
        if follow:
            _follow(session, query, first.head, as_json)


@audit.action("export")
def export(
    ctx: typer.Context,
    actor: Actor = None,
    actor_type: ActorType = None,
    action: Action = None,
    resource: Resource = None,
    result: Result = None,
    source_ip: SourceIp = None,
    request_id: RequestId = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write events to standard output, the oldest first, one JSON object per line."""
    with doing(ctx, "exporting audit events") as session:
        query = _query(actor, actor_type, action, resource, result, source_ip, request_id, since, until, True)
        count = 0
        for event in session.client.audit.events(query):
            typer.echo(json.dumps(event, separators=(",", ":")))
            count += 1
        session.out.note(f"{count} events")


@audit.action("stats")
def stats(ctx: typer.Context) -> None:
    """Show what the server recorded, wrote and lost."""
    with doing(ctx, "getting audit stats") as session:
        document = session.client.audit.stats()
        rows: list[tuple[str, object]] = [
            ("Events:", document.get("events", "")),
            ("Recorded:", document.get("recorded", 0)),
            ("Waiting:", f"{document.get('waiting', 0)} of {document.get('buffer_size', 0)}"),
            ("Dropped:", _alarming(document.get("dropped", 0))),
            ("Refused requests:", _alarming(document.get("refused_requests", 0))),
        ]
        for name, sink in document.get("sinks", {}).items():
            told = f"{sink.get('written', 0)} written, {sink.get('errors', 0)} lost"
            failing = sink.get("failing")
            rows.append(
                (f"{name}:", Painted(f"{told}, failing: {_plain(failing)}", "red") if failing else told)
            )
        kept = document.get("store")
        if kept:
            rows.append(("Store:", f"{kept.get('size_bytes', 0)} of {kept.get('max_bytes', 0)} bytes"))
            rows.append(("Oldest:", kept.get("oldest") or "-"))
        session.out.show(document, text="\n".join(session.out.aligned(rows)))


def _query(
    actor: str | None,
    actor_type: str | None,
    action: str | None,
    resource: str | None,
    result: str | None,
    source_ip: str | None,
    request_id: str | None,
    since: str | None,
    until: str | None,
    oldest_first: bool = False,
) -> AuditQuery:
    from konsul.client.audit_calls import AuditQuery

    return AuditQuery(
        actor,
        actor_type,
        action,
        resource,
        result,
        source_ip,
        request_id,
        _moment("--since", since),
        _moment("--until", until),
        oldest_first,
    )


def _moment(flag: str, text: str | None) -> datetime | None:
    """A time, or a duration before now. Raises Invalid."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(text))
    except (Invalid, OverflowError):
        raise Invalid(
            f"{flag}: {text!r} is neither a time such as 2026-01-02T03:04:05Z nor an age as 1h"
        ) from None


def _some(session: Session, query: AuditQuery, most: int) -> Iterator[Event]:
    after: str | None = None
    while most > 0:
        page = session.client.audit.page(query, limit=min(most, PAGE), after=after)
        yield from page.events
        most -= len(page.events)
        if not page.more:
            return
        after = page.after


def _follow(session: Session, query: AuditQuery, head: str | None, as_json: bool) -> None:
    """What is recorded after `head`, until Ctrl-C. A server in trouble is told and asked again."""
    from dataclasses import replace

    onward = replace(query, oldest_first=True)
    after = head
    try:
        while True:
            more = False
            try:
                page = session.client.audit.page(onward, limit=PAGE, after=after)
                _print(session, page.events, as_json)
                after, more = page.after or after, page.more
            except watch.PASSING as error:
                session.complain("reading audit events", error)
            if not more:
                watch.pause_s(FOLLOW_EVERY_S)
    except KeyboardInterrupt:
        session.out.note("")


def _print(session: Session, events: Iterable[Event], as_json: bool) -> None:
    for event in events:
        if as_json:
            typer.echo(json.dumps(event, separators=(",", ":")))
        else:
            typer.echo("  ".join(session.out.paint(cell) for cell in _cells(event)))
    sys.stdout.flush()


def _cells(event: Event) -> list[object]:
    actor, resource = event.get("actor", {}), event.get("resource", {})
    result = str(event.get("result", ""))
    several = event.get("resources")
    touched = resource.get("id") or (f"{len(several)} of {resource.get('type')}" if several else "-")
    return [
        _plain(event.get("timestamp", "")),
        Painted(_plain(result), COLORS.get(result, "")),
        event.get("http_status", ""),
        _plain(event.get("action", "")),
        _plain(touched),
        _plain(actor.get("name") or actor.get("id") or actor.get("type", "")),
        _plain(event.get("source_ip", "")),
    ]


def _plain(text: object) -> str:
    """Text that others chose, on a terminal: what would steer it is shown as an escape."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in str(text))


def _alarming(count: int) -> object:
    return Painted(str(count), "red") if count else count
