"""`konsulctl node`: the machines that instances are on. Imports the client's side only."""

from __future__ import annotations

from typing import Annotated

import typer

from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.errors import NotFound
from konsul.features.catalog import cli_views as views
from konsul.features.catalog.cli_register import Meta, pairs

node = Group("node", "See and change the machines that instances are on.")
maint = Group("maint", "Take everything on a node out of service, and put it back.")

Named = Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")]


@node.action("list")
def list_(
    ctx: typer.Context,
    filter: Annotated[
        str | None, typer.Option("--filter", metavar="EXPRESSION", help="Such as 'Zone == \"a\"'.")
    ] = None,
) -> None:
    """List the nodes."""
    with doing(ctx, "listing nodes") as session:
        found = session.client.nodes.list(filter=filter)
        rows = [views.node_row(one) for one in found]
        aligned = session.out.aligned([[name.upper() for name in views.NODE_COLUMNS], *rows])
        text = "\n".join(aligned) if found else "No nodes found"
        session.out.show(
            [dict(one.document) for one in found], text=text, table=Table(views.NODE_COLUMNS, rows)
        )


@node.action("get")
def get(ctx: typer.Context, name: Named) -> None:
    """Show a node with its instances and checks."""
    with doing(ctx, "getting node") as session:
        try:
            one = session.client.nodes.get(name)
        except NotFound:
            raise NotFound(f"node not found: {name}") from None
        members = dict(one.document)
        text = "\n".join(f"{member}: {views.plain(value)}" for member, value in members.items())
        session.out.show(members, text=text, table=Table(views.NODE_COLUMNS, [views.node_row(one)]))


@node.action("set")
def set_(
    ctx: typer.Context,
    name: Named,
    address: Annotated[str, typer.Option("--address", metavar="ADDRESS", help="Where it is.")] = "",
    zone: Annotated[
        str, typer.Option("--zone", metavar="ZONE", help="What instances have that name none.")
    ] = "",
    meta: Meta = None,
) -> None:
    """Make a node, or replace what is known of it; its instances and checks stay."""
    with doing(ctx, "setting node") as session:
        session.client.nodes.set(name, address=address, zone=zone, meta=pairs(meta or ()))
        session.out.done(f"Successfully set node: {name}", {"name": name})


@node.action("delete")
def delete(ctx: typer.Context, name: Named) -> None:
    """Remove a node with its instances and checks."""
    with doing(ctx, "deleting node") as session:
        try:
            session.client.nodes.delete(name)
        except NotFound:
            raise NotFound(f"node not found: {name}") from None
        session.out.done(f"Successfully deleted node: {name}", {"name": name})


@maint.action("enable")
def enable(
    ctx: typer.Context,
    name: Named,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, shown as output.")] = "",
) -> None:
    """Make every instance on a node critical until maintenance is over."""
    with doing(ctx, "enabling maintenance") as session:
        session.client.nodes.maintenance(name, True, reason=reason)
        document = {"name": name, "maintenance": True, "reason": reason}
        session.out.done(f"Maintenance enabled for node: {name}", document)


@maint.action("disable")
def disable(ctx: typer.Context, name: Named) -> None:
    """Put a node back."""
    with doing(ctx, "disabling maintenance") as session:
        session.client.nodes.maintenance(name, False)
        session.out.done(f"Maintenance disabled for node: {name}", {"name": name, "maintenance": False})


node.add_typer(maint)
