"""Events as they come, one line each, until Ctrl-C: what `kv watch`, `service watch` and `graphql` share."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from konsul.cli.options import Form
from konsul.errors import Unreachable

if TYPE_CHECKING:
    from konsul.cli.session import Session

Line = tuple[str, dict[str, Any]]
"""An event for people, and for machines."""
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


class Transport(StrEnum):
    """How events reach a client."""

    WEBSOCKET = "websocket"
    SSE = "sse"

    @property
    def wire(self) -> Literal["websocket", "sse"]:
        """Its name in the SDK."""
        return "sse" if self is Transport.SSE else "websocket"


Way = Annotated[
    Transport, typer.Option("--transport", metavar="websocket|sse", help="How events travel; websocket.")
]
Since = Annotated[
    int | None,
    typer.Option("--since", metavar="INDEX", min=0, help="Everything after this modify index first."),
]
Initial = Annotated[bool, typer.Option("--initial", help="What is there already first.")]
Reconnect = Annotated[
    bool,
    typer.Option("--reconnect/--no-reconnect", help="Go on after a lost connection; --no-reconnect: end."),
]


def follow(
    session: Session,
    what: str,
    transport: Transport,
    events: Iterable[Any],
    lines: Callable[[Any], Iterator[Line]],
) -> None:
    """Shows the events of a watch that gives notices; Ctrl-C ends it and is no failure.

    Notices go to standard error. Raises the KonsulError that ended it.
    """
    out = session.out
    for_people = out.form not in (Form.JSON, Form.YAML)
    if for_people and not out.quiet:
        typer.echo(f"Watching {what} ({'SSE' if transport is Transport.SSE else 'WebSocket'})...")
        typer.echo("Press Ctrl+C to stop\n")
        sys.stdout.flush()
    notices = Notices(session)
    try:
        for event in events:
            if not notices.told(event):
                for text, document in lines(event):
                    emit(session, text, document)
    except KeyboardInterrupt:
        if for_people and not out.quiet:
            typer.echo("\nStopping watch..." if sys.stdout.isatty() else "Stopping watch...")
    except Unreachable:
        if notices.is_connected and for_people and not out.quiet:
            typer.echo("Connection closed by server")
            sys.stdout.flush()
        raise


class Notices:
    """Says on standard error what happens to the connection."""

    def __init__(self, session: Session) -> None:
        self._out = session.out
        self.is_connected = False
        self._was_lost = False
        self._last_reason = ""

    def told(self, event: Any) -> bool:
        """Whether it was a notice."""
        from konsul.client import Behind, Compacted, Connected, Disconnected

        match event:
            case Connected():
                self.is_connected = True
                if self._was_lost:
                    self._out.note(f"Connected to {event.address} again.")
                self._was_lost, self._last_reason = False, ""
            case Disconnected():
                self._was_lost, self.is_connected = True, False
                if event.reason != self._last_reason:  # a server that stays away is a line, not one a second
                    self._out.warn(f"{event.reason}; trying again")
                self._last_reason = event.reason
            case Behind():
                self._out.warn("events come faster than they are read; the server keeps them meanwhile")
            case Compacted():
                self._out.warn(
                    f"the server no longer knows every change up to index {event.index}: listing again"
                )
            case _:
                return False
        return True


def emit(session: Session, text: str, document: dict[str, Any]) -> None:
    """One event, at once: a line, or a line of JSON, or a document of YAML."""
    if session.out.form is Form.JSON:
        typer.echo(json.dumps(document, ensure_ascii=False))
    elif session.out.form is Form.YAML:
        session.out.show(document, text="")
        typer.echo("---")
    else:
        typer.echo(text)
    sys.stdout.flush()


def stamp(timestamp_s: float | None = None) -> str:
    """`[2026-11-21 17:00:00]`, in local time; now without a time."""
    return time.strftime("[%Y-%m-%d %H:%M:%S]", time.localtime(timestamp_s))


def on_one_line(text: str) -> str:
    """Text with its control characters as escapes: what somebody stored must not steer a terminal."""
    return text.translate(CONTROLS)
