"""Services as `konsulctl service` and `konsulctl node` show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from konsul.cli.live import on_one_line
from konsul.cli.output import Painted, Table

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import Node, Service, ServiceInstance

Paint = Callable[[object], str]
COLUMNS = ("name", "id", "address", "port", "tags", "meta")
NODE_COLUMNS = ("name", "address", "zone", "health", "meta")
OUTPUT_CHARS = 200
COLORS = {"passing": "green", "warning": "yellow", "critical": "red"}


def healthy(word: str) -> Painted:
    """A health in its colour."""
    return Painted(word or "-", COLORS.get(word, "bright_black"))


def document(one: Service) -> dict[str, Any]:
    """A service for json and yaml."""
    from konsul.client.service_calls import document as members

    return members(one)


def detailed(one: ServiceInstance) -> dict[str, Any]:
    """An instance with its bookkeeping."""
    members = document(one.service)
    if one.health:
        members["health"] = one.health
    members |= {"create_index": one.create_index, "modify_index": one.modify_index}
    if one.expires_at:
        members["expires_at"] = one.expires_at.isoformat()
    return members


def row(one: Service) -> tuple[object, ...]:
    """A service as a table row."""
    return one.name, one.instance, one.address, one.port, ",".join(one.tags), plain(dict(one.meta))


def plain(value: Any) -> str:
    """A member on one line."""
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(plain(one) for one in value)
    return str(value)


def label(one: Service) -> str:
    """Name, and the instance where it is not called like its service."""
    return one.name if one.instance == one.name else f"{one.name} ({one.instance})"


def line(one: Service) -> str:
    """A service on one line."""
    return f"{label(one)} - {endpoint(one.address, one.port)}"


def endpoint(address: str, port: int) -> str:
    """Address and port; one of IPv6 in brackets, as URLs have it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def check_line(paint: Paint, check: dict[str, Any]) -> str:
    """A check on one line, with the beginning of what it said."""
    said = on_one_line(str(check.get("output") or ""))
    shown = said if len(said) <= OUTPUT_CHARS else said[:OUTPUT_CHARS] + "..."
    return f"{check['name']} {paint(healthy(check['status']))}" + (f": {shown}" if shown else "")


def show_services(session: Session, found: Iterable[Service]) -> None:
    """A listing of services."""
    services = list(found)
    table = Table(COLUMNS, [row(one) for one in services])
    listed(session, [document(one) for one in services], [line(one) for one in services], table)


def show_instances(session: Session, found: Iterable[ServiceInstance]) -> None:
    """A listing of instances with their health, of which text tells what is not passing."""
    instances = list(found)
    lines = [
        line(one.service)
        + (f" [{session.out.paint(healthy(one.health))}]" if one.health not in ("", "passing") else "")
        for one in instances
    ]
    rows = [(*row(one.service), healthy(one.health)) for one in instances]
    documents = [document(one.service) | ({"health": one.health} if one.health else {}) for one in instances]
    listed(session, documents, lines, Table((*COLUMNS, "health"), rows))


def listed(session: Session, documents: list[Any], lines: Sequence[str], table: Table) -> None:
    """A listing in every form."""
    if session.out.quiet:
        text = "\n".join(lines)
    else:
        text = "\n".join(["Services:", *(f"  {one}" for one in lines)]) if lines else "No services found"
    session.out.show(documents, text=text, table=table)


def node_row(one: Node) -> tuple[object, ...]:
    """A node as a table row."""
    return one.name, one.address, one.zone, healthy(one.health), plain(dict(one.meta))
