"""`konsulctl health`. Imports the client's side only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.output import Table

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import Health

health = Group("health", "Ask a server how it is.")
COMMANDS = (health,)


@health.action("status")
def status(ctx: typer.Context) -> None:
    """Show the whole report; exit code 1 when the server is not healthy."""
    with doing(ctx, "getting health") as session:
        _show(session, session.client.health())


@health.action("live")
def live(ctx: typer.Context) -> None:
    """Ask whether the process serves; exit code 1 when not."""
    with doing(ctx, "getting liveness") as session:
        _show(session, session.client.live())


@health.action("ready")
def ready(ctx: typer.Context) -> None:
    """Ask whether the node can do its work; exit code 1 when not."""
    with doing(ctx, "getting readiness") as session:
        _show(session, session.client.ready())


def flat(members: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A report as lines: nested members get dotted names."""
    lines: list[tuple[str, str]] = []
    for name, value in members.items():
        if isinstance(value, dict):
            lines += flat(value, f"{prefix}{name}.")
        else:
            lines.append((prefix + name, str(value)))
    return lines


def _show(session: Session, report: Health) -> None:
    lines = flat(dict(report.document))
    shown = [(name, session.out.mark(text, report.ok) if name == "status" else text) for name, text in lines]
    text = report.status if session.out.quiet else "\n".join(f"{name}: {value}" for name, value in shown)
    session.out.show(dict(report.document), text=text, table=Table(("name", "value"), lines))
    if not report.ok:
        raise typer.Exit(1)
