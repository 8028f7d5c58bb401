"""The one table of the key-value store."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form, Shape
from konsul.kernel.schema import Row, expires, key, table


@table("kv", id=1)
class Entry(Row):
    """A key with its value. Any bytes are a value; flags belong to the client and mean nothing here."""

    key: str = key()
    value: bytes = b""
    flags: int = 0
    expires_at_ms: int | None = expires()


KEY: Final = -1
CREATE_INDEX: Final = -2
MODIFY_INDEX: Final = -3
OMIT_EMPTY: Final = 1
TEXT_OR_BASE64: Final = 2
RFC3339: Final = 4

PLAIN: Final = Shape(Entry.table_id, [("key", KEY, 0), ("value", Entry.column("value"), TEXT_OR_BASE64)])
"""What `GET /kv/{key}` answers."""

METADATA: Final = Shape(
    Entry.table_id,
    [
        ("create_index", CREATE_INDEX, 0),
        ("expires_at", Entry.column("expires_at_ms"), OMIT_EMPTY | RFC3339),
        ("flags", Entry.column("flags"), 0),
        ("key", KEY, 0),
        ("modify_index", MODIFY_INDEX, 0),
        ("value", Entry.column("value"), TEXT_OR_BASE64),
    ],
)
"""What `?metadata=true` and `?recurse` answer."""

FORM: Final = Form(
    Entry.table_id,
    kinds=("set", "set", "delete", "delete", ""),
    row=[("key", KEY, 0), ("value", Entry.column("value"), OMIT_EMPTY | TEXT_OR_BASE64)],
    old=[("old_value", Entry.column("value"), TEXT_OR_BASE64)],
)
"""What a watch tells of a key."""
