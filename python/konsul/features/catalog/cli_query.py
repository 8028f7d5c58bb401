"""`konsulctl service query`: by tag, metadata, place, health and filter. Imports the client's side only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import doing
from konsul.cli.output import Table
from konsul.features.catalog import cli_views as views
from konsul.features.catalog.cli_healths import Passing, health_of
from konsul.features.catalog.cli_register import Meta, Tags, pairs

if TYPE_CHECKING:
    from konsul.client.model import Document

SORTS = ("name", "id", "address", "port", "health", "node", "zone", "modify_index")
HEALTHS = ("passing", "serving", "any", "warning", "critical")
COLUMNS = ("name", "id", "address", "port", "tags", "node", "zone", "health")

Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="EXPR", help="Only what it holds for, such as 'Port == 80 and v1 in Tags'."
    ),
]
Named = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only instances of this service.")]
Node = Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only what is on this node.")]
Zone = Annotated[str | None, typer.Option("--zone", metavar="ZONE", help="Only what is in this zone.")]
Health = Annotated[
    str | None,
    typer.Option("--health", metavar="|".join(HEALTHS), help="Only such instances; serving: not critical."),
]
Sort = Annotated[str | None, typer.Option("--sort", metavar="FIELD", help=f"By {', '.join(SORTS)}.")]
Descending = Annotated[bool, typer.Option("--desc", help="The greatest first.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]
After = Annotated[
    str | None, typer.Option("--after", metavar="TEXT", help="Go on where a search that was cut short says.")
]


def query(
    ctx: typer.Context,
    tag: Tags = None,
    meta: Meta = None,
    filter: Filter = None,
    name: Named = None,
    node: Node = None,
    zone: Zone = None,
    health: Health = None,
    passing: Passing = False,
    sort: Sort = None,
    desc: Descending = False,
    limit: Limit = None,
    after: After = None,
) -> None:
    """List the services that carry all of these tags and metadata, and that all else holds for."""
    with doing(ctx, "querying services") as session:
        wanted = health_of(passing, health, HEALTHS)
        more = (filter, name, node, zone, wanted, sort, limit, after)
        if all(one is None for one in more) and not desc:
            found = session.client.services.query(tags=tag or (), meta=pairs(meta or ()))
            views.show_services(session, found)
            return
        page = session.client.services.search(
            filter=filter,
            name=name,
            tags=tag or (),
            meta=pairs(meta or ()),
            node=node,
            zone=zone,
            health=wanted,
            sort=sort,
            descending=desc,
            limit=limit,
            after=after,
        )
        table = Table(COLUMNS, [row(one) for one in page.services])
        views.listed(session, list(page.services), [line(one) for one in page.services], table)
        if page.after:
            session.out.note(f"There are more: go on with --after {page.after}")


def row(one: Document) -> tuple[object, ...]:
    """An instance as a table row."""
    return (
        one["name"],
        one.get("id", one["name"]),
        one["address"],
        one["port"],
        ",".join(one.get("tags", ())),
        one.get("node", ""),
        one.get("zone", ""),
        views.healthy(str(one.get("health", ""))),
    )


def line(one: Document) -> str:
    """An instance on one line, with its health unless it passes."""
    id: Any = one.get("id", one["name"])
    label = one["name"] if id == one["name"] else f"{one['name']} ({id})"
    health = one.get("health", "passing")
    where = views.endpoint(one["address"], one["port"])
    return f"{label} - {where}" + ("" if health == "passing" else f" [{health}]")
