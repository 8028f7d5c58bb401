"""`konsulctl query`: prepared queries. Imports the client's side only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import values
from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.cli.values import meant
from konsul.errors import Invalid
from konsul.features.catalog.cli_query import COLUMNS, line, row
from konsul.features.catalog.cli_register import pairs

if TYPE_CHECKING:
    from konsul.client.model import Document

query = Group("query", "Prepared queries: keep what to look for under a name, and execute it.")
COMMANDS = (query,)

Which = Annotated[str, typer.Argument(metavar="QUERY", help="Its id or its name.")]
File = Annotated[str | None, typer.Argument(metavar="[FILE]", help="JSON document, - for standard input.")]
Service = Annotated[str | None, typer.Option("--service", metavar="NAME", help="The service to look for.")]
Named = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the query is called.")]
Tag = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag, or !TAG for none; repeat for more.")
]
Meta = Annotated[
    list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="Metadata; repeat for more.")
]
Filter = Annotated[str | None, typer.Option("--filter", metavar="EXPR", help="Only what it holds for.")]
OnlyPassing = Annotated[bool, typer.Option("--passing", help="Only instances that pass.")]
Near = Annotated[
    str | None, typer.Option("--near", metavar="PLACE", help="Nearest first: a node, a zone, _agent or _ip.")
]
Ttl = Annotated[str | None, typer.Option("--ttl", metavar="DURATION", help="How long DNS may keep answers.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many instances.")]
Strategy = Annotated[
    str | None, typer.Option("--strategy", metavar="NAME", help="The order, as of load balancing.")
]
Prefix = Annotated[bool, typer.Option("--prefix", help="A template for all names that begin with its own.")]
Session = Annotated[str | None, typer.Option("--session", metavar="ID", help="The query goes with it.")]
Cas = Annotated[int | None, typer.Option("--cas", metavar="INDEX", help="Only if its modify_index is this.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]


@query.action("list")
def list_(ctx: typer.Context) -> None:
    """List prepared queries."""
    with doing(ctx, "listing queries") as session:
        found = session.client.queries.list()
        lines = [f"Queries ({len(found)}):", *(f"  - {_label(one)}" for one in found)]
        rows = [
            (one["id"], one.get("name", ""), one["service"]["service"], "template" in one) for one in found
        ]
        session.out.show(
            list(found),
            text="\n".join(lines) if found else "No queries found",
            table=Table(("id", "name", "service", "template"), rows),
        )


@query.action("get")
def get(ctx: typer.Context, which: Which) -> None:
    """Show a query's document."""
    with doing(ctx, "getting query") as session:
        document = session.client.queries.get(which)
        session.out.show(document, text=_json(document))


@query.action("create")
def create(
    ctx: typer.Context,
    file: File = None,
    name: Named = None,
    service: Service = None,
    tag: Tag = None,
    meta: Meta = None,
    filter: Filter = None,
    passing: OnlyPassing = False,
    near: Near = None,
    ttl: Ttl = None,
    limit: Limit = None,
    strategy: Strategy = None,
    prefix: Prefix = False,
    session_id: Session = None,
) -> None:
    """Make a query from a file or from options; prints its id."""
    with doing(ctx, "creating query") as session:
        given = _given(
            name, service, tag, meta, filter, passing, near, ttl, limit, strategy, prefix, session_id
        )
        document = _document(file, given)
        id = session.client.queries.create(document)
        session.out.done(f"Query created successfully: {id}", {"id": id, "name": document.get("name", "")})


@query.action("update")
def update(
    ctx: typer.Context,
    which: Which,
    file: File = None,
    name: Named = None,
    service: Service = None,
    tag: Tag = None,
    meta: Meta = None,
    filter: Filter = None,
    passing: OnlyPassing = False,
    near: Near = None,
    ttl: Ttl = None,
    limit: Limit = None,
    strategy: Strategy = None,
    prefix: Prefix = False,
    session_id: Session = None,
    cas: Cas = None,
) -> None:
    """Replace a query, all of it, by what a file or the options say; by options it keeps its name."""
    with doing(ctx, "updating query") as session:
        given = _given(
            name, service, tag, meta, filter, passing, near, ttl, limit, strategy, prefix, session_id
        )
        document = _document(file, given)
        if file is None and name is None:
            # Without it whoever asks for it by name, in DNS too, would find nothing all of a sudden.
            document["name"] = session.client.queries.get(which).get("name", "")
        id = session.client.queries.update(which, document, cas=cas)
        session.out.done(f"Query updated successfully: {id}", {"id": id, "name": document.get("name", "")})


@query.action("delete")
def delete(ctx: typer.Context, which: Which, cas: Cas = None, yes: Yes = False) -> None:
    """Remove a query."""
    with doing(ctx, "deleting query") as session:
        if not (yes or meant(f"Are you sure you want to delete query '{which}'?")):
            session.out.done("Deletion canceled", {"query": which, "deleted": False})
            return
        id = session.client.queries.delete(which, cas=cas)
        session.out.done(f"Query deleted successfully: {which}", {"id": id, "deleted": True})


@query.action("execute")
def execute(
    ctx: typer.Context,
    which: Which,
    near: Near = None,
    limit: Limit = None,
    strategy: Strategy = None,
    passing: OnlyPassing = False,
) -> None:
    """List the instances that a query finds, best first."""
    with doing(ctx, "executing query") as session:
        found = session.client.queries.execute(
            which, near=near, limit=limit, strategy=strategy, passing=passing
        )
        instances = found["instances"]
        session.out.show(
            found,
            text="\n".join(map(line, instances)) if instances else "No instances found",
            table=Table(COLUMNS, [row(one) for one in instances]),
        )


@query.action("explain")
def explain(ctx: typer.Context, which: Which) -> None:
    """Show what would be executed for an id or name, with a template's words filled in."""
    with doing(ctx, "explaining query") as session:
        document = session.client.queries.explain(which)
        session.out.show(document, text=_json(document))


def _label(one: Document) -> str:
    name = one.get("name") or one["id"]
    kind = " (template)" if "template" in one else ""
    return f"{name}{kind} -> {one['service']['service']}"


def _json(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def _given(
    name: str | None,
    service: str | None,
    tags: list[str] | None,
    meta: list[str] | None,
    filter: str | None,
    passing: bool,
    near: str | None,
    ttl: str | None,
    limit: int | None,
    strategy: str | None,
    prefix: bool,
    session_id: str | None,
) -> dict[str, Any]:
    """The document that the options make; empty without any."""
    sought = {
        "service": service,
        "tags": tags,
        "meta": pairs(meta or ()),
        "filter": filter,
        "only_passing": passing,
        "near": near,
    }
    document = {
        "name": name,
        "session": session_id,
        "template": {"type": "name_prefix_match"} if prefix else None,
        "service": {member: one for member, one in sought.items() if one},
        "dns": {"ttl": ttl} if ttl else None,
        "limit": limit,
        "strategy": strategy,
    }
    return {member: one for member, one in document.items() if one}


def _document(file: str | None, given: dict[str, Any]) -> dict[str, Any]:
    if (file is None) is not bool(given):
        raise Invalid("give either a FILE or options, such as --name web --service web")
    if file is None:
        return given
    try:
        document = json.loads(values.read(file))
    except (ValueError, RecursionError) as cause:
        raise Invalid(f"{file} is not valid JSON: {cause}") from cause
    if not isinstance(document, dict):
        raise Invalid(f"{file} is no query: expected a JSON object")
    return document
