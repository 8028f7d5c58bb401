"""`konsulctl check`: see health checks, make them, tell what they say. Imports the client's side only."""

from __future__ import annotations

from typing import Annotated

import typer

from konsul.cli.command import Group, doing
from konsul.features.checks import cli_create
from konsul.features.checks import cli_views as views

check = Group("check", "See, make and report health checks.")
COMMANDS = (check,)

STATUSES = ("passing", "warning", "critical")
Id = Annotated[str, typer.Argument(metavar="ID", help="The check's id, as `check list` shows it.")]
Output = Annotated[str | None, typer.Argument(metavar="[OUTPUT]", help="Why, in words.")]


@check.action("list")
def list_(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Option("--service", metavar="NAME", help="Only of it.")] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NODE", help="Only of the node itself.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="|".join(STATUSES), help="Only of this status.")
    ] = None,
    filter: Annotated[
        str | None, typer.Option("--filter", metavar="EXPRESSION", help="Only those it holds for.")
    ] = None,
) -> None:
    """List checks, by id."""
    with doing(ctx, "listing checks") as session:
        found = session.client.checks.list(service=service, node=node, status=status, filter=filter)
        table = views.table(found)
        text = "\n".join(session.out.aligned([[*table.columns], *table.rows])) if found else "No checks found"
        session.out.show(list(found), text=text, table=table)


@check.action("get")
def get(ctx: typer.Context, id: Id) -> None:
    """Show one check."""
    with doing(ctx, "getting check") as session:
        found = session.client.checks.get(id)
        session.out.show(found, text=views.described(found, session.out))


@check.action("history")
def history(ctx: typer.Context, id: Id) -> None:
    """Show the last results of a check, and its changes of status."""
    with doing(ctx, "getting the check's history") as session:
        found = session.client.checks.history(id)
        session.out.show(found, text=views.told(found, session.out), table=views.results(found))


check.action("create")(cli_create.create)


@check.action("delete")
def delete(ctx: typer.Context, id: Id) -> None:
    """Take a check away."""
    with doing(ctx, "deleting check") as session:
        session.client.checks.delete(id)
        session.out.done(f"Successfully deleted check: {id}", {"id": id})


@check.action("pass")
def pass_(ctx: typer.Context, id: Id, output: Output = None) -> None:
    """Tell that a TTL check passes."""
    with doing(ctx, "reporting check") as session:
        session.client.checks.passing(id, output)
        session.out.done(f"Check {id} passes", {"id": id, "status": "passing"})


@check.action("warn")
def warn(ctx: typer.Context, id: Id, output: Output = None) -> None:
    """Tell that a TTL check warns."""
    with doing(ctx, "reporting check") as session:
        session.client.checks.warning(id, output)
        session.out.done(f"Check {id} warns", {"id": id, "status": "warning"})


@check.action("fail")
def fail(ctx: typer.Context, id: Id, output: Output = None) -> None:
    """Tell that a TTL check fails: its instance is given to nobody when this returns."""
    with doing(ctx, "reporting check") as session:
        session.client.checks.critical(id, output)
        session.out.done(f"Check {id} fails", {"id": id, "status": "critical"})
