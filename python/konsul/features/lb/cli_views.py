"""What `konsulctl lb` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from konsul.cli.output import Table

if TYPE_CHECKING:
    from konsul.client import BalancingRules, InstanceLoad, Selected, Service

COLUMNS = ("name", "id", "address", "port", "tags")
LOAD_COLUMNS = ("id", "connections", "clients", "assigned", "latency_ms", "age_ms")


def row(one: Service) -> tuple[object, ...]:
    """An instance as a table row."""
    return one.name, one.instance, one.address, one.port, ",".join(one.tags)


def selected(found: Selected) -> dict[str, Any]:
    """A selection for json and yaml."""
    from konsul.client.service_calls import document

    members: dict[str, Any] = {"services": [document(one) for one in found.services]}
    members["strategy"] = found.strategy
    return members | ({"rule": found.rule} if found.rule else {})


def rules(one: BalancingRules) -> dict[str, Any]:
    """The rules of a service for json and yaml."""
    return {
        "service": one.service,
        "rules": dict(one.rules),
        "modify_index": one.modify_index,
        "set_by": one.set_by,
        "set_at": one.set_at,
    }


def rules_line(one: BalancingRules) -> str:
    """The rules of a service on one line."""
    return f"{one.service}: {_summary(one)}"


def rules_table(found: Sequence[BalancingRules]) -> Table:
    """One row per service with rules."""
    return Table(
        ("service", "rules", "modify_index"),
        [(one.service, _summary(one), one.modify_index) for one in found],
    )


def load(one: InstanceLoad) -> dict[str, Any]:
    """What is known of an instance, for json and yaml."""
    return {name: getattr(one, name) for name in LOAD_COLUMNS}


def loads_table(found: Sequence[InstanceLoad]) -> Table:
    """One row per instance."""
    rows = [[_cell(getattr(one, name)) for name in LOAD_COLUMNS] for one in found]
    return Table(LOAD_COLUMNS, rows)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _summary(one: BalancingRules) -> str:
    said = one.rules
    words = [str(said["strategy"])] if "strategy" in said else []
    words += [f"warning={said['warning']}"] if "warning" in said else []
    words += ["zone first"] if said.get("zone", {}).get("prefer") else []
    for rule in said.get("rules", ()):
        mark = "*" if rule["name"] == said.get("active") else ""
        share = f" {rule['percent']:g}%" if "percent" in rule else ""
        words.append(f"{rule['name']}{mark}{share}")
    return ", ".join(words) or "nothing"
