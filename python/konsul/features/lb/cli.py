"""`konsulctl lb`: choose instances, and say how they are chosen. Imports the client's side only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.cli.values import value
from konsul.errors import Invalid
from konsul.features.catalog.cli_register import pairs
from konsul.features.catalog.cli_views import line
from konsul.features.lb import cli_views as views

if TYPE_CHECKING:
    from konsul.client import BalancingRules

lb = Group("lb", "Choose one instance of many, and say how it is chosen.")
rules = Group("rules", "How the instances of a service are chosen, on every server.")
lb.add_typer(rules)
COMMANDS = (lb,)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A tag, else the name of a service.")]
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Name of the service, or a tag.")]
Cas = Annotated[
    int | None,
    typer.Option("--cas", metavar="INDEX", min=0, help="Only at this modify index; 0: only if absent."),
]
Strategy = Annotated[str | None, typer.Option("--strategy", metavar="NAME", help="How to choose.")]


@lb.action("select")
def select(
    ctx: typer.Context,
    name: Name,
    strategy: Strategy = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="KEY", help="Stays on its instance, and its side.")
    ] = None,
    client_ip: Annotated[
        str | None, typer.Option("--client-ip", metavar="ADDRESS", help="Whose address counts.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="REGION", help="For latency-based.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", metavar="ZONE", help="The client's, for zone-aware.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="NAME", help="Only instances of this rule.")
    ] = None,
    passing: Annotated[bool, typer.Option("--passing", help="None with a warning.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Several, best first.")
    ] = None,
) -> None:
    """Show the instance that the server chooses."""
    with doing(ctx, "selecting an instance") as session_:
        found = session_.client.lb.select(
            name,
            strategy=strategy,
            session=session,
            client_ip=client_ip,
            region=region,
            zone=zone,
            rule=rule,
            warning="drop" if passing else None,
            limit=limit,
        )
        session_.out.show(
            views.selected(found),
            text="\n".join(line(one) for one in found.services),
            table=Table(views.COLUMNS, [views.row(one) for one in found.services]),
        )


@lb.action("strategy")
def strategy(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The new one; without it the one there is.")
    ] = None,
) -> None:
    """Show or change the strategy of the server asked, where neither request nor rules say one."""
    with doing(ctx, "setting the strategy" if name else "getting the strategy") as session:
        balancing = session.client.lb
        if name is None:
            found = balancing.strategy()
            session.out.show({"strategy": found}, text=found)
            return
        found = balancing.set_strategy(name)
        session.out.done(f"Strategy of the server asked: {found}", {"strategy": found})


@rules.action("list")
def list_rules(ctx: typer.Context) -> None:
    """List the services that have rules."""
    with doing(ctx, "listing rules") as session:
        found = session.client.lb.list_rules()
        text = "\n".join(views.rules_line(one) for one in found) if found else "No rules found"
        session.out.show([views.rules(one) for one in found], text=text, table=views.rules_table(found))


@rules.action("get")
def get_rules(ctx: typer.Context, service: Service) -> None:
    """Show the rules of a service."""
    with doing(ctx, "getting rules") as session:
        one = session.client.lb.rules(service)
        session.out.show(views.rules(one), text=json.dumps(dict(one.rules), indent=2))


@rules.action("set")
def set_rules(
    ctx: typer.Context,
    service: Service,
    document: Annotated[
        str | None,
        typer.Argument(metavar="[JSON]", help="The rules; @FILE reads them from a file, - from input."),
    ] = None,
    strategy: Strategy = None,
    warning: Annotated[
        str | None, typer.Option("--warning", metavar="keep|drop", help="Instances with a warning.")
    ] = None,
    load_factor: Annotated[
        float | None,
        typer.Option("--load-factor", metavar="F", help="Bound of ring-hash: 1.25 is a quarter over mean."),
    ] = None,
    prefer_zone: Annotated[
        bool, typer.Option("--prefer-zone", help="The client's zone first, with every strategy.")
    ] = False,
    cas: Cas = None,
) -> None:
    """Replace the rules of a service, by a document or by options."""
    with doing(ctx, "setting rules") as session:
        options: dict[str, Any] = {
            "strategy": strategy,
            "warning": warning,
            "load_factor": load_factor,
            "zone": {"prefer": True} if prefer_zone else None,
        }
        given = {name: value for name, value in options.items() if value is not None}
        if (document is None) is not bool(given):
            raise Invalid("give a document, or at least one option: --strategy, --warning, ...")
        one = session.client.lb.set_rules(service, given or _document(document or ""), cas=cas)
        _told(session, f"Successfully set rules: {service}", one)


@rules.action("delete")
def delete_rules(ctx: typer.Context, service: Service, cas: Cas = None) -> None:
    """Take the rules of a service away."""
    with doing(ctx, "deleting rules") as session:
        session.client.lb.delete_rules(service, cas=cas)
        session.out.done(f"Successfully deleted rules: {service}", {"service": service})


@lb.action("canary")
def canary(
    ctx: typer.Context,
    service: Service,
    percent: Annotated[float, typer.Argument(metavar="PERCENT", help="Share of requests; 0 to 100.")],
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag of the canaries; repeat for more.")
    ] = None,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="Metadata of the canaries.")
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the rule.")] = "canary",
) -> None:
    """Send a share of the requests to some instances; replaces the service's named rules."""
    with doing(ctx, "setting the canary") as session:
        rule = {"name": name, "percent": percent, "tags": list(tag or ()), "meta": pairs(meta or ())}
        split = session.client.lb.set_split(service, {"rules": [rule]})
        session.out.done(
            f"Successfully set {name} of {service}: {percent:g} % of the requests",
            {"service": service, "split": split},
        )


@lb.action("switch")
def switch(
    ctx: typer.Context,
    service: Service,
    active: Annotated[str, typer.Argument(metavar="RULE", help="Name of the rule, such as green.")],
) -> None:
    """Send every request to the instances of one named rule, from now on."""
    with doing(ctx, "switching") as session:
        index = session.client.lb.activate(service, active)
        session.out.done(
            f"Successfully switched {service} to {active}",
            {"service": service, "active": active, "modify_index": index},
        )


@lb.action("report")
def report(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Name of the service.")],
    id: Annotated[
        str, typer.Option("--id", metavar="ID", help="The instance; else the one called like the service.")
    ] = "",
    connections: Annotated[
        int | None, typer.Option("--connections", metavar="N", min=0, help="Open connections to it.")
    ] = None,
    latency: Annotated[
        float | None, typer.Option("--latency-ms", metavar="MS", min=0, help="How long answers take.")
    ] = None,
    client: Annotated[
        str, typer.Option("--client", metavar="NAME", help="Whose connections; else this machine's.")
    ] = "",
) -> None:
    """Report connections to an instance, or how fast it answers."""
    with doing(ctx, "reporting") as session:
        session.client.lb.report(
            service, instance=id, connections=connections, latency_ms=latency, client=client
        )
        session.out.done(f"Successfully reported on {service}", {"service": service, "id": id or service})


@lb.action("loads")
def loads(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Name of the service.")],
) -> None:
    """Show what the server asked knows of the load of each instance."""
    with doing(ctx, "getting loads") as session:
        found = session.client.lb.loads(service)
        table = views.loads_table(found)
        lines = session.out.aligned([[name.upper() for name in table.columns], *table.rows])
        session.out.show([views.load(one) for one in found], text="\n".join(lines), table=table)


def _document(argument: str) -> Any:
    try:
        return json.loads(value(argument, None))
    except ValueError as error:
        raise Invalid(f"the rules are not JSON: {error}") from None


def _told(session: Any, text: str, one: BalancingRules) -> None:
    document = {"service": one.service, "rules": dict(one.rules), "modify_index": one.modify_index}
    session.out.done(text, document)
