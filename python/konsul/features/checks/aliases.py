"""Alias checks: as healthy as another service, or another node, by the tables of this node."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from konsul.engine import Engine
from konsul.features.catalog.healths import worst
from konsul.features.catalog.tables import CRITICAL, PASSING, SEPARATOR, WARNING, Check, Instance, Node
from konsul.features.checks.definition import Definition
from konsul.features.checks.outcome import Outcome, outcome

_NAME: Final = Instance.column("name")
_HEALTH: Final = Instance.column("health")
_INSTANCES_MAX: Final = 64
"""Instances of a service that are looked into, of those in a status that is not passing."""
_STEPS_MAX: Final = 64
"""Services and nodes that one look goes through; beyond it what is stored counts."""


class _Found(NamedTuple):
    """How something is. `is_round`: it stands, over aliases, for something that was looked at before."""

    status: str
    is_round: bool = False


class Aliases:
    """Looks up what an alias stands for.

    Aliases may stand for each other in a circle. There what is stored would keep itself alive: each was
    critical because the other is. So in a circle only what other checks say counts.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, check: Definition) -> Outcome:
        """The worst of the instances of a service, or of the node; critical when there is none."""
        if check.alias_node:
            if self._node_row(check.alias_node) is None:
                return outcome(CRITICAL, f"there is no node {check.alias_node}")
            health = self._node(check.alias_node, set()).status
            return outcome(health, f"node {check.alias_node} is {health}")
        if not self._is_there(check.alias_service):
            return outcome(CRITICAL, f"there is no service {check.alias_service}")
        found, sick = self._service(check.alias_service, set())
        why = f": instance {sick.decode().partition(SEPARATOR)[2]}" if sick else ""
        return outcome(found.status, f"service {check.alias_service} is {found.status}{why}")

    def _is_there(self, service: str) -> bool:
        return bool(self._engine.scan(Instance.table_id, where=[(_NAME, service.encode())], limit=1).rows)

    def _node_row(self, name: str) -> Node | None:
        row = self._engine.get(Node.table_id, name.encode())
        return None if row is None else Node.stored(name.encode(), row.cells)

    def _service(self, name: str, seen: set[str]) -> tuple[_Found, bytes | None]:
        """A service, and the instance that makes it so, if any; `seen`: what was looked at before."""
        seen.add(f"service {name}")
        found, which = _Found(PASSING), None
        for status in (CRITICAL, WARNING):
            where = [(_NAME, name.encode()), (_HEALTH, status.encode())]
            for key, row in self._engine.scan(Instance.table_id, where=where, limit=_INSTANCES_MAX).rows:
                one = Instance.stored(key, row.cells)
                said = self._owner(one.health, one.check_ids, one.node, seen)
                if worst([found.status, said.status]) != found.status:
                    which = key
                found = _worse(found, said)
        return found, which

    def _node(self, name: str, seen: set[str]) -> _Found:
        seen.add(f"node {name}")
        node = self._node_row(name)
        return _Found(PASSING) if node is None else self._owner(node.health, node.check_ids, None, seen)

    def _owner(self, health: str, check_ids: list[str] | None, node: str | None, seen: set[str]) -> _Found:
        """Whoever has these checks and runs on that node: as stored, unless that goes round in a circle."""
        if health == PASSING or len(seen) > _STEPS_MAX:
            return _Found(health)
        found = _Found(PASSING)
        for check_id in check_ids or ():
            row = self._engine.get(Check.table_id, check_id.encode())
            if row is not None:
                found = _worse(found, self._check(Check.stored(check_id.encode(), row.cells), seen))
        if node is not None:
            is_again = f"node {node}" in seen
            found = _worse(found, _Found(PASSING, is_round=True) if is_again else self._node(node, seen))
        return found if found.is_round else _Found(health)

    def _check(self, check: Check, seen: set[str]) -> _Found:
        if check.type != "alias" or check.status == PASSING:
            return _Found(check.status)
        members = orjson.loads(check.definition or b"{}")
        service, node = members.get("alias_service"), members.get("alias_node")
        if (f"node {node}" if node else f"service {service}") in seen:
            return _Found(PASSING, is_round=True)
        if node:
            is_there, behind = self._node_row(node) is not None, self._node(node, seen)
        else:
            is_there, behind = self._is_there(service), self._service(service, seen)[0]
        return behind if is_there and behind.is_round else _Found(check.status)


def _worse(one: _Found, other: _Found) -> _Found:
    return _Found(worst([one.status, other.status]), one.is_round or other.is_round)
