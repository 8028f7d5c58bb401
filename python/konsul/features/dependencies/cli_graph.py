"""`konsulctl service graph` and `impact`. Imports the client's side only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import doing
from konsul.cli.output import Table
from konsul.errors import Invalid
from konsul.features.catalog.cli_views import healthy

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import DependencyGraph, GraphNode

UNICODE = ("├── ", "└── ", "│   ", "    ", " …")
ASCII = ("|-- ", "`-- ", "|   ", "    ", " ...")
"""A branch, the last one, what leads past to later ones, nothing, and: shown before."""

Step = tuple[str, str, str]
"""What stands before a service, its name, and what follows it."""


def graph(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="This service and all it needs; all without it.")
    ] = None,
    dot: Annotated[bool, typer.Option("--dot", help="In Graphviz's language.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --output json.")] = False,
    plain: Annotated[bool, typer.Option("--ascii", help="Draw without Unicode.")] = False,
) -> None:
    """Show which service needs which, as a tree with their health."""
    with doing(ctx, "getting dependency graph") as session:
        if dot and as_json:
            raise Invalid("--dot and --json exclude each other")
        if dot:
            typer.echo(session.client.dependencies.dot(name), nl=False)
            return
        found = session.client.dependencies.graph(name)
        signs = ASCII if plain or not _draws() else UNICODE
        rows = [(one, other) for one, other in found.edges]
        text = "\n".join(drawn(session, found, name, signs)) or "No dependencies declared"
        if as_json:
            typer.echo(_json(document(found)))
            return
        session.out.show(document(found), text=text, table=Table(("service", "needs"), rows))


def impact(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the service.")]
) -> None:
    """Show what a failure of a service would reach, and what it depends on itself."""
    with doing(ctx, "getting impact") as session:
        found = session.client.dependencies.impact(name)
        out = session.out
        lines = [f"{name}: {out.paint(healthy(found.service.health))} ({_counts(found.service)})"]
        for title, nodes in (("Depend on it", found.dependents), ("It depends on", found.dependencies)):
            lines.append(f"{title}:" if nodes else f"{title}: none")
            rows = [(f"  {one.name}", healthy(one.health), _counts(one), _steps(one.depth)) for one in nodes]
            lines += out.aligned(rows) if rows else []
        sides = (("dependent", found.dependents), ("dependency", found.dependencies))
        table = Table(
            ("side", "service", "health", "instances", "steps"),
            [
                (side, one.name, healthy(one.health), _counts(one), one.depth)
                for side, nodes in sides
                for one in nodes
            ],
        )
        out.show(
            {
                **node(found.service),
                "dependents": [node(one) for one in found.dependents],
                "dependencies": [node(one) for one in found.dependencies],
            },
            text="\n".join(lines),
            table=table,
        )


def drawn(session: Session, found: DependencyGraph, root: str | None, signs: Sequence[str]) -> Iterator[str]:
    """The graph as trees, one for each service that nothing needs, or for `root`."""
    nodes = {one.name: one for one in found.nodes}
    needs: dict[str, list[str]] = {}
    for one, other in found.edges:
        needs.setdefault(one, []).append(other)
    needed = {other for _, other in found.edges}
    roots = [name for name in nodes if name not in needed] if root is None else [root]
    for before, name, after in trees(roots, needs, signs):
        yield f"{before}{name} {session.out.paint(healthy(nodes[name].health))}{after}"


def trees(roots: Sequence[str], needs: Mapping[str, Sequence[str]], signs: Sequence[str]) -> Iterator[Step]:
    """Depth first. What a service needs is drawn below its first mention only: a graph of a hundred services
    can have more ways through it than anybody could read. Without recursion, for chains may be long."""
    branch, last, past, nothing, again = signs
    drawn: set[str] = set()
    waiting: list[tuple[str, str, str]] = [("", "", name) for name in reversed(roots)]
    while waiting:
        before, sign, name = waiting.pop()
        below = needs.get(name, ())
        is_again = name in drawn and bool(below)
        yield before + sign, name, again if is_again else ""
        if is_again:
            continue
        drawn.add(name)
        lead = before + ("" if not sign else nothing if sign == last else past)
        for number, one in enumerate(reversed(below)):
            waiting.append((lead, branch if number else last, one))


def node(one: GraphNode) -> dict[str, Any]:
    """A service in a graph, for json and yaml."""
    counts = {"passing": one.passing, "warning": one.warning, "critical": one.critical}
    return {"name": one.name, "health": one.health, "instances": counts, "depth": one.depth}


def document(found: DependencyGraph) -> dict[str, Any]:
    """The graph for json and yaml, as the server words it."""
    return {
        "nodes": [node(one) for one in found.nodes],
        "edges": [{"from": one, "to": other} for one, other in found.edges],
        "order": list(found.order),
    }


def _json(members: dict[str, Any]) -> str:
    import json

    return json.dumps(members, ensure_ascii=False, indent=2)


def _counts(one: GraphNode) -> str:
    total = one.passing + one.warning + one.critical
    return f"{total - one.critical} of {total} serving" if total else "no instances"


def _steps(depth: int) -> str:
    return "directly" if depth == 1 else f"over {depth} steps"


def _draws() -> bool:
    """Whether standard output takes Unicode."""
    return (sys.stdout.encoding or "").lower().startswith("utf")
