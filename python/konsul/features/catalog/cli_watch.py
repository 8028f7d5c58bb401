"""`konsulctl service watch`. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import live
from konsul.cli.command import doing
from konsul.features.catalog import cli_views as views

if TYPE_CHECKING:
    from konsul.client import Service


def watch(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|PATTERN]", help="Of this service only; every one without it."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Only with this tag; repeat for more.")
    ] = None,
    passing: Annotated[
        bool, typer.Option("--passing", help="Only passing instances: one that stops to be so goes.")
    ] = False,
    heartbeats: Annotated[
        bool, typer.Option("--heartbeats", help="Also heartbeats that reach the server asked.")
    ] = False,
    transport: live.Way = live.Transport.WEBSOCKET,
    since: live.Since = None,
    initial: live.Initial = False,
    reconnect: live.Reconnect = True,
) -> None:
    """Show every instance that comes, changes or goes, until Ctrl-C."""
    with doing(ctx, "watching services") as session:
        events = session.client.services.watch(
            name,
            tags=tag or (),
            heartbeats=heartbeats,
            passing=passing,
            since=since,
            initial=initial,
            transport=transport.wire,
            reconnect=reconnect,
            notices=True,
        )
        with events:
            live.follow(session, name or "services", transport, events, lines)


def lines(event: Any) -> Iterator[live.Line]:
    """An event as lines: a change is one, a listing one per instance."""
    from konsul.client.service_calls import document

    if not hasattr(event, "rows"):
        text = f"{live.stamp(event.timestamp)} {event.type.upper()} {_shown(event.service)}"
        members = {"type": event.type, "service": document(event.service), "timestamp": event.timestamp}
        yield text, members | {"modify_index": event.modify_index}
        return
    count = len(event.rows)
    if event.reason != "initial":
        text = f"{live.stamp()} RELISTED at index {event.index}: {count} instances match"
        yield text, {"type": "relisted", "count": count, "modify_index": event.index}
    for one in event.rows:
        yield f"{live.stamp()} CURRENT {_shown(one)}", {"type": "current", "service": document(one)}


def _shown(one: Service) -> str:
    name = one.name if one.instance == one.name else f"{one.name} ({one.instance})"
    return live.on_one_line(f"{name} - {views.endpoint(one.address, one.port)}")
