"""The one table of the key-value store."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form, Shape
from konsul.engine import Row as Found
from konsul.features.sessions.tables import DELETE, RELEASE, LockDelay, Session
from konsul.kernel import entry
from konsul.kernel.schema import Row, expires, key, ref, table


def _delay() -> entry.Op:
    """What follows when a session that held a key is lost: nobody may acquire it for the session's delay."""
    return entry.put(LockDelay, entry.SELF, [entry.parent(Session.column("lock_delay_ms"), plus_now=True)])


@table("kv", id=1)
class Entry(Row):
    """A key with its value. Any bytes are a value; flags belong to the client and mean nothing here.

    `session` holds the key's lock, which is advisory: who does not ask for it may write all the same.
    """

    key: str = key()
    value: bytes = b""
    flags: int = 0
    expires_at_ms: int | None = expires()
    session: str | None = ref(
        Session,
        choose_by="behavior",
        then=lambda: {
            RELEASE: (entry.patch(Entry, entry.SELF, {"session": None}), _delay()),
            DELETE: (entry.delete(Entry, entry.SELF), _delay()),
        },
    )
    lock_index: int = 0
    """Rises with every new holder, also over deletions of the key: a fencing token. 0: never locked."""


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
        ("lock_index", Entry.column("lock_index"), OMIT_EMPTY),
        ("modify_index", MODIFY_INDEX, 0),
        ("session", Entry.column("session"), OMIT_EMPTY),
        ("value", Entry.column("value"), TEXT_OR_BASE64),
    ],
)
"""What `?metadata=true` and `?recurse` answer."""

FORM: Final = Form(
    Entry.table_id,
    kinds=("set", "set", "delete", "delete", ""),
    row=[
        ("key", KEY, 0),
        ("value", Entry.column("value"), OMIT_EMPTY | TEXT_OR_BASE64),
        ("session", Entry.column("session"), OMIT_EMPTY),
        ("lock_index", Entry.column("lock_index"), OMIT_EMPTY),
    ],
    old=[("old_value", Entry.column("value"), TEXT_OR_BASE64)],
)
"""What a watch tells of a key."""


def lock_of(row: Found | None) -> tuple[str | None, int]:
    """The session that holds a key, and its lock_index; no row has neither, nor has one older than locks."""
    cells = [] if row is None else row.cells
    position = Entry.column("lock_index")
    return (cells[position - 1], cells[position]) if len(cells) > position else (None, 0)
