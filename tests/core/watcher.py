"""Watches of an engine, and everything they saw."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack
import orjson

from konsul.engine import Engine, Form, Watched
from tests.core.node import KV, NAME, SERVICES, TAGS, VALUE
from tests.waiting import until_async

EVENT, BEHIND, COMPACTED = 0, 1, 2
CLUSTER = 0xFFFE
KV_FORM = Form(
    KV,
    ("set", "set", "delete", "lapse", ""),
    [("key", -1, 0), ("value", VALUE, 3)],
    [("old_value", VALUE, 2)],
)
SERVICE_FORM = Form(
    SERVICES,
    ("register", "update", "deregister", "expired", "heartbeat"),
    [("key", -1, 0), ("name", NAME, 0), ("tags", TAGS, 1)],
    wrap="service",
)
FORMS = {KV: KV_FORM, SERVICES: SERVICE_FORM, CLUSTER: None}


class Told(NamedTuple):
    """One thing a watch was told."""

    kind: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    key: str
    payload: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The payload, read."""
        found: dict[str, Any] = orjson.loads(self.payload)
        return found


class Watcher:
    """Takes what the watches of one engine saw."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.told: dict[int, list[Told]] = {}
        engine.on_watched = self._take

    def _take(self, seen: list[Watched]) -> None:
        for watch, kind, index, key, payload in seen:
            self.told[watch].append(Told(kind, index, key.decode(), payload))

    def open(self, pattern: str, table: int = KV, since: int | None = None, **more: Any) -> int:
        """Opens a watch."""
        spec = {
            "table": table,
            "separator": ord("/" if table == KV else " "),
            "pattern": pattern,
            "where": [],
            "renewals": False,
            "coalesce": False,
            "buffer": 100,
        } | more
        watch = self.engine.watch(FORMS[table], msgpack.packb(spec), since)
        self.told[watch] = []
        return watch

    def events(self, watch: int) -> list[tuple[int, str]]:
        """Index and key of the changes it was told."""
        return [(told.index, told.key) for told in self.told[watch] if told.kind == EVENT]

    def words(self, watch: int) -> list[tuple[str, str]]:
        """Type and key of the changes it was told."""
        return [(told.json["type"], told.key) for told in self.told[watch] if told.kind == EVENT]

    def kinds(self, watch: int) -> list[int]:
        """What kinds of things it was told."""
        return [told.kind for told in self.told[watch]]

    async def until(self, watch: int, count: int) -> list[Told]:
        """All it was told, once that is `count` things."""
        told = self.told[watch]
        await until_async(lambda: len(told) >= count, f"{count} things told, not {len(told)}")
        return told

    async def settled(self, *watches: int) -> None:
        """Returns when nothing that happened so far waits to be told: each has a position at the tables'."""
        index = self.engine.status()["index"]
        position = self.engine.core.watch_position
        await until_async(lambda: all((position(watch) or 0) >= index for watch in watches), "positions")
