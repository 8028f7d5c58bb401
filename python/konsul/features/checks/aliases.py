"""Alias checks: as healthy as another service, or another node, by the tables of this node."""

from __future__ import annotations

from typing import Final

from konsul.engine import Engine
from konsul.features.catalog.tables import CRITICAL, STATUSES, Instance, Node
from konsul.features.checks.definition import Definition
from konsul.features.checks.outcome import Outcome, outcome

_NAME: Final = Instance.column("name")
_HEALTH: Final = Instance.column("health")
_NODE_HEALTH: Final = Node.column("health")


class Aliases:
    """Looks up what an alias stands for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, check: Definition) -> Outcome:
        """The worst of the instances of a service, or of the node; critical when there is none."""
        if check.alias_node:
            row = self._engine.get(Node.table_id, check.alias_node.encode())
            if row is None:
                return outcome(CRITICAL, f"there is no node {check.alias_node}")
            health = str(row.cells[_NODE_HEALTH])
            return outcome(health, f"node {check.alias_node} is {health}")
        for status in reversed(STATUSES):
            where = [(_NAME, check.alias_service.encode()), (_HEALTH, status.encode())]
            page = self._engine.scan(Instance.table_id, where=where, limit=1)
            if page.rows:
                which = page.rows[0][0].decode()
                return outcome(status, f"service {check.alias_service} is {status} ({which})")
        return outcome(CRITICAL, f"there is no service {check.alias_service}")
