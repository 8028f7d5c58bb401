"""What the runners remember of checks and nobody replicates: when each ran last, its last results, and how
long a TTL still counts. Asked from the nodes that know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from konsul.errors import Invalid, KonsulError
from konsul.features.catalog.tables import CheckLease
from konsul.features.checks.assignment import owner_of
from konsul.features.checks.metrics import RUNNERS
from konsul.features.checks.tables import CheckRunner
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.engine import Engine

KIND: Final = "checks"
PER_QUESTION: Final = 1_000
ASK_MS: Final = 1_000
RUNNERS_MAX: Final = 1_000
"""Nodes that share the work: who runs what is worked out of the same ones by whoever asks."""
_RAFT_ID: Final = CheckRunner.column("raft_id")
_IDS, _LEASES, _FULL = "ids", "leases", "full"


def answer(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """What this node knows: `ids` it runs, `leases` it holds as the leader. Raises Invalid."""
    ids, leases = body.get(_IDS, []), body.get(_LEASES, [])
    for asked in (ids, leases):
        if (
            not isinstance(asked, list)
            or len(asked) > PER_QUESTION
            or any(type(one) is not bytes for one in asked)
        ):
            raise Invalid(f"checks: expected up to {PER_QUESTION} ids")
    runner = RUNNERS.get(engine)
    found: dict[bytes, Any] = {}
    for check_id in ids:
        one = None if runner is None else runner.get(check_id)
        if one is None:
            continue
        last = one.results[-1].at_ms if one.results else None
        found[check_id] = [list(result) for result in one.results] if body.get(_FULL) else last
    return {_IDS: found, _LEASES: {key: engine.lease_ms(CheckLease.table_id, key) for key in leases}}


def runner_of(engine: Engine, check_id: bytes) -> tuple[bytes, int] | None:
    """The node that runs the check, and its raft id; None without any."""
    runners = {key: int(row.cells[_RAFT_ID]) for key, row in _runners(engine)}
    owner = owner_of(check_id, runners)
    return None if owner is None else (owner, runners[owner])


async def last_seen(engine: Engine, ids: Sequence[bytes]) -> dict[bytes, int]:
    """When each check ran last, in ms since 1970; without those whose runner does not say now."""
    found = await _ask_runners(engine, ids, full=False)
    return {key: at_ms for key, at_ms in found.items() if at_ms is not None}


async def results(engine: Engine, check_id: bytes) -> list[list[Any]] | None:
    """The last results of one check, oldest first; None when its runner does not say now."""
    found = await _ask_runners(engine, [check_id], full=True)
    known = found.get(check_id)
    return None if known is None else list(known)


async def leases_ms(engine: Engine, ids: Sequence[bytes]) -> dict[bytes, int]:
    """Milliseconds that each TTL check's last report still counts; without those that are not known now."""
    if engine.is_current():
        held = {key: engine.lease_ms(CheckLease.table_id, key) for key in ids}
        return {key: left for key, left in held.items() if left is not None}
    cluster = engine.cluster()
    leader = int(cluster["leader_raft_id"] or 0) if cluster.get("known_leader") else 0
    if not leader or leader == cluster.get("raft_id"):
        return {}
    answers = await asyncio.gather(*(_ask(engine, leader, {_LEASES: part}) for part in _parts(ids)))
    found: dict[bytes, int] = {}
    for one in answers:
        found |= {key: left for key, left in one.get(_LEASES, {}).items() if left is not None}
    return found


async def _ask_runners(engine: Engine, ids: Iterable[bytes], *, full: bool) -> dict[bytes, Any]:
    runners = {key: int(row.cells[_RAFT_ID]) for key, row in _runners(engine)}
    by_node: dict[int, list[bytes]] = {}
    for check_id in ids:
        owner = owner_of(check_id, runners)
        if owner is not None:
            by_node.setdefault(runners[owner], []).append(check_id)
    questions = [
        _ask(engine, raft_id, {_IDS: part, _FULL: full})
        for raft_id, asked in by_node.items()
        for part in _parts(asked)
    ]
    found: dict[bytes, Any] = {}
    for one in await asyncio.gather(*questions):
        found |= one.get(_IDS, {})
    return found


async def _ask(engine: Engine, raft_id: int, body: dict[str, Any]) -> dict[str, Any]:
    """An empty answer where none comes: a list of checks does not fail because a node has just died."""
    own = int(engine.cluster().get("raft_id") or 0)
    if raft_id == own:
        return answer(engine, body)
    try:
        return await engine.call(raft_id, KIND, body, ASK_MS)
    except KonsulError as error:
        logger().debug("a node does not say what it knows of its checks", raft_id=raft_id, why=str(error))
        return {}


def _runners(engine: Engine) -> Sequence[tuple[bytes, Any]]:
    return engine.scan(CheckRunner.table_id, limit=RUNNERS_MAX).rows


def _parts(ids: Sequence[bytes]) -> Iterable[list[bytes]]:
    for start in range(0, len(ids), PER_QUESTION):
        yield list(ids[start : start + PER_QUESTION])
