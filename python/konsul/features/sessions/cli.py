"""`konsulctl session`, `konsulctl lock` and `konsulctl semaphore`. Imports the client's side only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, Single, doing
from konsul.cli.output import Table
from konsul.features.sessions.cli_locks import lock, semaphore

if TYPE_CHECKING:
    from konsul.client import Session

session = Group("session", "See, make and end the sessions that hold locks.")
COMMANDS = (session, Single("lock", lock), Single("semaphore", semaphore))

Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]
_COLUMNS = ("id", "name", "node", "ttl", "behavior")


@session.action("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What people call it.")] = "",
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="It ends so long after its last renewal.")
    ] = "",
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="It ends with this node.")] = "",
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="ID", help="It ends when this check fails; repeatable."),
    ] = None,
    behavior: Annotated[
        str, typer.Option("--behavior", metavar="release|delete", help="What becomes of its keys.")
    ] = "release",
    lock_delay: Annotated[
        str | None,
        typer.Option("--lock-delay", metavar="TIME", help="Nobody gets its keys for so long after it."),
    ] = None,
) -> None:
    """Create a session and print its id."""
    with doing(ctx, "creating session") as run:
        made = run.client.sessions.create(
            name=name, ttl=ttl, node=node, checks=check or (), behavior=behavior, lock_delay=lock_delay
        )
        run.out.show(dict(made.document), text=made.id)


@session.action("list")
def list_(
    ctx: typer.Context,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only this node's.")] = None,
) -> None:
    """List sessions."""
    with doing(ctx, "listing sessions") as run:
        found = list(run.client.sessions.list(node=node))
        rows = [_cells(one) for one in found]
        lines = run.out.aligned([[name.upper() for name in _COLUMNS], *rows]) if rows else ["No sessions"]
        documents = [dict(one.document) for one in found]
        run.out.show(documents, text="\n".join(lines), table=Table(_COLUMNS, rows))


@session.action("get")
def get(ctx: typer.Context, id: Id) -> None:
    """Show one session."""
    with doing(ctx, "getting session") as run:
        found = run.client.sessions.get(id)
        run.out.show(dict(found.document), text=_text(found))


@session.action("renew")
def renew(ctx: typer.Context, id: Id) -> None:
    """Give a session its whole TTL again."""
    with doing(ctx, "renewing session") as run:
        renewed = run.client.sessions.renew(id)
        run.out.done(f"Renewed {id} for {renewed.ttl or 'ever'}", dict(renewed.document))


@session.action("destroy")
def destroy(ctx: typer.Context, id: Id) -> None:
    """End a session: what it holds is released or deleted."""
    with doing(ctx, "destroying session") as run:
        run.client.sessions.destroy(id)
        run.out.done(f"Destroyed {id}", {"id": id})


def _cells(one: Session) -> list[object]:
    return [one.id, one.name or "-", one.node or "-", one.ttl or "-", one.behavior]


def _text(one: Session) -> str:
    document: dict[str, Any] = dict(one.document)
    names = ("id", "name", "node", "checks", "behavior", "lock_delay", "ttl", "created_at")
    shown = {name: document[name] for name in names if name in document}
    width = max(len(name) for name in shown) + 2
    return "\n".join(
        f"{name.replace('_', ' ').capitalize() + ':':<{width}}"
        f"{', '.join(value) if isinstance(value, list) else value}"
        for name, value in shown.items()
    )
