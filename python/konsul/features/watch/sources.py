"""What can be watched: the specification of each kind of watch, and what is told before any change."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from konsul.engine import Row
from konsul.errors import Invalid
from konsul.features.catalog.queries import filters
from konsul.features.catalog.watches import as_healthy, instances
from konsul.features.kv.bodies import encode_value
from konsul.features.kv.tables import Entry
from konsul.features.kv.watches import matching
from konsul.features.watch.asked import check_pattern
from konsul.kernel.context import Context
from konsul.kernel.watching import CLUSTER, Spec

EVERYTHING: Final = "**"
_OF_THE_MOMENT: Final = frozenset(("connected", "match_index", "progress", "last_contact_ms"))
"""What is known of a member only now, and is no change when it is another."""
_NAME_PATTERN: Final = re.compile(r"[^\s\0]{1,256}")
_BAD_SERVICE: Final = "Invalid service parameter: expected a name or a pattern of names, without spaces"
_BAD_TAG: Final = "Invalid tag parameter: no service can have this tag"


def keys(pattern: str, *, coalesce: bool = False) -> Spec:
    """Keys that match. Raises Invalid."""
    check_pattern(pattern)
    return matching(pattern, coalesce=coalesce)


def services(
    name: str = "",
    tags: Sequence[str] = (),
    *,
    health: str | None = None,
    heartbeats: bool = False,
    coalesce: bool = False,
) -> Spec:
    """Instances of services whose name matches, with every tag, before or after the change; with a `health`
    only those that are as healthy, which come and go as they get and cease to be so.

    Raises:
        Invalid: a name or a tag that cannot be.
    """
    name = name or "*"
    if not _NAME_PATTERN.fullmatch(name):
        raise Invalid(_BAD_SERVICE)
    where = filters(tags, ())
    if where is None:
        raise Invalid(_BAD_TAG)
    spec = instances(name, where=where, renewals=heartbeats, coalesce=coalesce)
    return spec if health is None else as_healthy(spec, health)


def cluster() -> Spec:
    """Who leads, and who is a member."""
    return Spec(None, CLUSTER, EVERYTHING, "admin:read", coalesce=True)


def value_now(context: Context, pattern: str) -> tuple[int, bytes] | None:
    """Index and text of an exact key that exists, told as if it were set now."""
    row = context.engine.get(Entry.table_id, pattern.encode())
    return None if row is None else (row.modify_index, _value_text(pattern, row))


def _value_text(key: str, row: Row) -> bytes:
    value = bytes(row.cells[Entry.column("value")])
    told: dict[str, Any] = {"type": "set", "key": key}
    if value:
        told["value"], is_base64 = encode_value(value)
        if is_base64:
            told["encoding"] = "base64"
    told |= {"timestamp": int(time.time()), "modify_index": row.modify_index}
    return orjson.dumps(told)


def cluster_now(context: Context) -> tuple[bytes, bytes]:
    """Who leads now and who is a member, as the changes tell it."""
    found: Mapping[str, Any] = context.engine.cluster()
    members = [
        {name: value for name, value in one.items() if name not in _OF_THE_MOMENT} for one in found["members"]
    ]
    leader_id = found["leader_raft_id"] if found["known_leader"] else 0
    names = [one["node_id"] for one in members if leader_id and one["raft_id"] == leader_id]
    term = context.engine.status()["term"]
    leader = {"type": "leader", "leader": names[0] if names else None, "raft_id": leader_id, "term": term}
    return orjson.dumps(leader), orjson.dumps({"type": "members", "members": members})
