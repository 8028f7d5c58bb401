"""When API keys were last used: kept in memory, written now and then, so that using a key stays a read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from konsul.engine import Engine
from konsul.errors import Conflict, KonsulError
from konsul.features.auth.tables import ApiKeyRow, ApiKeyUseRow
from konsul.kernel import entry

APART_S: Final = 60.0
"""A key's last use is written at most so often, by all nodes together."""
BATCH: Final = 500
"""Most keys written at a time; the others wait for the next."""
_AT_ONCE: Final = 50
_TIMEOUT_MS: Final = 2_000
_LAST_USED = ApiKeyUseRow.column("last_used_at_ms")


class Uses:
    """The uses of one node that are not written yet."""

    def __init__(self) -> None:
        self._waiting: dict[str, float] = {}

    async def flush(self, engine: Engine, used: Mapping[str, float], now_s: float) -> int:
        """Adds `used` (key id -> Unix time in s) and writes what is due; returns how many were written."""
        self._waiting.update(used)
        due = [key_id for key_id in self._waiting if self._is_due(engine, key_id, now_s)][:BATCH]
        written = 0
        for first in range(0, len(due), _AT_ONCE):
            some = due[first : first + _AT_ONCE]
            done = await asyncio.gather(*(self._write(engine, key_id) for key_id in some))
            written += done.count(True)
            if None in done:
                # There is no leader for now: the others would wait for it one after the other.
                break
        return written

    def _is_due(self, engine: Engine, key_id: str, now_s: float) -> bool:
        try:
            row = engine.get(ApiKeyUseRow.table_id, key_id.encode())
        except KonsulError:
            return False
        return row is None or now_s - row.cells[_LAST_USED] / 1_000 >= APART_S

    async def _write(self, engine: Engine, key_id: str) -> bool | None:
        """True if it was written, False if it need not be, None if it could not."""
        used_s = self._waiting[key_id]
        used_ms = round(used_s * 1_000)
        # Never back in time, and nothing of a key that was deleted meanwhile.
        guards = [
            entry.exists(ApiKeyRow, key_id),
            entry.le(ApiKeyUseRow, key_id, "last_used_at_ms", used_ms),
        ]
        case = entry.case(guards, [entry.put(ApiKeyUseRow, key_id, [key_id, used_ms])])
        written = True
        try:
            await engine.commit(entry.encode([case]), _TIMEOUT_MS)
        except Conflict:
            written = False
        except KonsulError:
            return None
        if self._waiting.get(key_id) == used_s:
            del self._waiting[key_id]
        return written
