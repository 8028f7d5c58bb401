"""`konsulctl kv watch`. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import live, values
from konsul.cli.command import doing

if TYPE_CHECKING:
    from konsul.client import KeyValue, KvChange, Relisted


def watch(
    ctx: typer.Context,
    pattern: Annotated[
        str, typer.Argument(metavar="KEY|PATTERN", help="A key; * is one level of names, ** all of them.")
    ],
    transport: live.Way = live.Transport.WEBSOCKET,
    since: live.Since = None,
    initial: live.Initial = False,
    coalesce: Annotated[
        bool, typer.Option("--coalesce", help="When behind, only the newest change of a key.")
    ] = False,
    reconnect: live.Reconnect = True,
) -> None:
    """Show every change of a key, or of the keys that match, until Ctrl-C."""
    with doing(ctx, "watching keys") as session:
        from konsul.client import pattern as patterns

        exact = patterns.is_exact(pattern)
        events = session.client.kv.watch(
            pattern,
            since=since,
            # Of a single key the value it has is told first, as the server does of its own accord.
            initial=initial or (exact and since is None),
            coalesce=coalesce,
            transport=transport.wire,
            reconnect=reconnect,
            notices=True,
        )
        with events:
            live.follow(session, pattern, transport, events, lines)


def lines(event: Any) -> Iterator[live.Line]:
    """An event as lines: a change is one, a listing one per key."""
    if hasattr(event, "rows"):
        yield from _listed(event)
    else:
        yield _text(event), document(event)


def document(change: KvChange) -> dict[str, Any]:
    """A change for json and yaml, as the server words it."""
    members: dict[str, Any] = {"type": change.type, "key": change.key}
    if change.value is not None:
        members |= values.text_or_base64(change.value)
    if change.old_value is not None:
        old = values.text_or_base64(change.old_value)
        members |= {
            f"old_{name}" if name == "value" else "old_value_encoding": one for name, one in old.items()
        }
    return members | {"timestamp": change.timestamp, "modify_index": change.modify_index}


def _text(change: KvChange) -> str:
    stamp, key = live.stamp(change.timestamp), live.on_one_line(change.key)
    if change.type == "delete":
        return f"{stamp} DELETE {key} (was: {_shown(change.old_value)})"
    if change.old_value is None:
        return f"{stamp} CREATE {key}: {_shown(change.value)}"
    return f"{stamp} UPDATE {key}: {_shown(change.old_value)} -> {_shown(change.value)}"


def _listed(listing: Relisted[KeyValue]) -> Iterator[live.Line]:
    """What is there, key by key; after a gap headed by a line, for keys that are not named are gone."""
    word = "CREATE" if listing.reason == "initial" else "CURRENT"
    if listing.reason != "initial":
        text = f"{live.stamp()} RELISTED at index {listing.index}: {len(listing.rows)} keys match"
        yield text, {"type": "relisted", "count": len(listing.rows), "modify_index": listing.index}
    for row in listing.rows:
        members = {"type": "current", "key": row.key, **values.text_or_base64(row.value)}
        text = f"{live.stamp()} {word} {live.on_one_line(row.key)}: {_shown(row.value)}"
        yield text, members | {"modify_index": row.modify_index}


def _shown(value: bytes | None) -> str:
    return live.on_one_line(values.text_or_base64(value or b"")["value"])
