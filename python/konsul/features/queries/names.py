"""What prepared queries answer in DNS: `<query>.query`, by name, by template or by id.

Who may know is asked by the door, from `Answer.shows`; here everything is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from konsul.engine import Form
from konsul.errors import Invalid, NotFound
from konsul.features.catalog.names import weight_of
from konsul.features.catalog.tables import Instance
from konsul.features.queries.executing import distance_of, execute, place_of
from konsul.features.queries.finding import Ready, ready
from konsul.features.queries.queries import least
from konsul.features.queries.tables import PreparedQuery
from konsul.kernel.context import Context
from konsul.kernel.names import Answer, Question, Resolver, Target
from konsul.kernel.pipeline import INSIDE
from konsul.kernel.watch_spec import Spec

_KEY: Final = -1
_ALL: Final = (PreparedQuery.table_id, b"")
_QUERIES: Final = Spec(
    Form(PreparedQuery.table_id, kinds=("set", "set", "gone", "gone", ""), row=[("id", _KEY, 0)]),
    PreparedQuery.table_id,
    "**",
    "query:read",
    coalesce=True,
)


async def query(ctx: Context, labels: tuple[str, ...], question: Question) -> Answer:
    """The instances that the query finds, without those that are critical. With `near` the nearest have the
    lowest priority number in SRV records."""
    asked = ".".join(labels)
    try:
        found = ready(ctx, asked)
        inside = replace(ctx, identity=INSIDE)
        candidates = await execute(inside, found, passing=question.passing)
        near = found.prepared.sought.near
        place = await place_of(inside, near, candidates) if near else None
    except (NotFound, Invalid):
        return Answer(exists=False, shows=(("query:read", asked),), reads=frozenset({_ALL}))
    most = least(found.prepared.limit, question.most)
    targets = [
        Target(
            one.address,
            one.port,
            weight_of(one),
            priority=1 if place is None else 1 + distance_of(one, place),
            name=one.name,
            meta=one.meta,
        )
        for one in candidates[:most]
    ]
    scope = found.name or found.stored.id
    shows = (("query:read", scope), ("service:read", found.prepared.sought.service))
    return Answer(targets, ttl_s=found.prepared.ttl_s, shows=shows, reads=_reads(found))


def _reads(found: Ready) -> frozenset[tuple[int, bytes]] | None:
    """What an answer depends on; None where that is who asks, chance, or more than its service."""
    prepared, sought = found.prepared, found.prepared.sought
    if prepared.limit is not None or prepared.strategy is not None:
        return None
    if sought.near or sought.node_meta or sought.ignore_check_ids:
        return None
    return frozenset({_ALL, (Instance.table_id, sought.service.lower().encode())})


NAMES: Final = {"query": Resolver(query, (_QUERIES,))}
"""By label: what prepared queries answer to."""
