"""`konsulctl service dependencies`: declare what a service needs. Imports the client's side only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, doing

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import Dependencies

dependencies = Group("dependencies", "See and declare what services need.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the service.")]
Needed = Annotated[list[str], typer.Argument(metavar="SERVICE...", help="What it needs.")]
Gone = Annotated[
    list[str] | None, typer.Argument(metavar="[SERVICE...]", help="Only these; without them all.")
]


@dependencies.action("get")
def get(ctx: typer.Context, name: Name) -> None:
    """Show what a service needs, and what needs it."""
    with doing(ctx, "getting dependencies") as session:
        found = session.client.dependencies.get(name)
        lines = [
            f"Needs: {_names(found.dependencies)}",
            f"Needed by: {_names(found.dependents)}",
        ]
        session.out.show(_document(found), text="\n".join(lines))


@dependencies.action("add")
def add(ctx: typer.Context, name: Name, needed: Needed) -> None:
    """Declare that a service needs these too; a cycle is refused and named."""
    with doing(ctx, "declaring dependencies") as session:
        _done(session, session.client.dependencies.add(name, needed))


@dependencies.action("set")
def set_(ctx: typer.Context, name: Name, needed: Needed) -> None:
    """Declare all that a service needs, in place of what was declared."""
    with doing(ctx, "declaring dependencies") as session:
        _done(session, session.client.dependencies.replace(name, needed))


@dependencies.action("remove")
def remove(ctx: typer.Context, name: Name, needed: Gone = None) -> None:
    """Take back some of what was declared, or all of it."""
    with doing(ctx, "removing dependencies") as session:
        _done(session, session.client.dependencies.remove(name, needed or ()))


def _done(session: Session, found: Dependencies) -> None:
    document = {"service": found.service, "dependencies": list(found.dependencies)}
    session.out.done(f"{found.service} needs: {_names(found.dependencies)}", document)


def _document(found: Dependencies) -> dict[str, Any]:
    return {
        "service": found.service,
        "dependencies": list(found.dependencies),
        "dependents": list(found.dependents),
    }


def _names(found: tuple[str, ...]) -> str:
    return ", ".join(found) or "nothing"
