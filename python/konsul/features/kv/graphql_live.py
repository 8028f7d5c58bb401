"""Subscriptions to keys."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from typing import Annotated, Any

import orjson
import strawberry

from konsul.errors import NotFound
from konsul.features.kv import watches
from konsul.features.kv.bodies import encode_value
from konsul.features.kv.graphql_types import BASE64, Info, KvChangeEvent, KvEventType
from konsul.features.kv.queries import get
from konsul.features.kv.tables import Entry
from konsul.kernel.graph import Long, Time
from konsul.kernel.graph_live import Live, subscribe
from konsul.kernel.watch_readers import Event

Since = Annotated[
    Long | None,
    strawberry.argument(
        description="First what changed above this index: the `resumeIndex` of the last event, say."
    ),
]


def _told(event: Event, resume: int) -> Iterable[KvChangeEvent]:
    found: dict[str, Any] = orjson.loads(event.payload)
    kind = KvEventType(found["type"])
    # An empty value is left out of the form, and so is the one of a deleted key.
    value = found.get("value", "") if kind is KvEventType.SET else None
    yield KvChangeEvent(
        type=kind,
        key=found["key"],
        value=value,
        old_value=found.get("old_value"),
        timestamp=Time(found["timestamp"] * 1_000),
        modify_index=Long(event.index),
        resume_index=Long(resume),
        encoding=found.get("encoding"),
        old_value_encoding=found.get("old_value_encoding"),
    )


@strawberry.type
class Subscriptions:
    """The fields of `Subscription` that the key-value store brings."""

    @strawberry.subscription(
        description="Every change of a key, of the keys with a prefix, or of those that match a pattern; "
        "the first of the three that is given counts, and without any it is every key. In index order, each "
        "once."
    )
    async def kv_changed(
        self,
        info: Info,
        key: str | None = strawberry.UNSET,
        prefix: str | None = strawberry.UNSET,
        pattern: str | None = strawberry.UNSET,
        since: Since = strawberry.UNSET,
    ) -> AsyncGenerator[KvChangeEvent, None]:
        if isinstance(key, str):
            wanted = watches.one(key)
        elif isinstance(prefix, str):
            wanted = watches.below(prefix, "kv:read")
        else:
            wanted = watches.matching(pattern if isinstance(pattern, str) else "**")
        return subscribe(info.context, wanted, _told, since)

    @strawberry.subscription(
        description="One key: first as it is now, if it is there, then every change of it."
        " With `since` what changed above that index comes first instead."
    )
    async def kv_watch_key(
        self, info: Info, key: str, since: Since = strawberry.UNSET
    ) -> AsyncGenerator[KvChangeEvent, None]:
        asking, wanted = info.context, watches.one(key)
        if isinstance(since, int):
            return subscribe(asking, wanted, _told, since)
        seen_to = 0

        def told(event: Event, resume: int) -> Iterable[KvChangeEvent]:
            # The watch was open before the key was read, so a change may be known twice.
            return () if event.index <= seen_to else _told(event, resume)

        live: Live[KvChangeEvent] = subscribe(asking, wanted, told)
        try:
            row = await asking.run(get, key=key)
        except NotFound:
            return live
        except BaseException:
            live.close()
            raise
        seen_to = row.modify_index
        value, is_base64 = encode_value(row.cells[Entry.column("value")])
        live.first(
            KvChangeEvent(
                type=KvEventType.SET,
                key=key,
                value=value,
                old_value=None,
                timestamp=Time(round(time.time() * 1_000)),
                modify_index=Long(seen_to),
                resume_index=Long(seen_to),
                encoding=BASE64 if is_base64 else None,
                old_value_encoding=None,
            )
        )
        return live
