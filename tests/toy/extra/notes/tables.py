"""The one table of the notes."""

from __future__ import annotations

from konsul.engine import Shape
from konsul.kernel.schema import Row, index, key, table


@table("notes", id=60_000)
class Note(Row):
    """One note under its slug."""

    slug: str = key()
    author: str = index()
    text: str = ""
    likes: int = 0


NOTE = Shape(
    Note.table_id,
    [
        ("slug", -1, 0),
        ("author", Note.column("author"), 0),
        ("text", Note.column("text"), 0),
        ("likes", Note.column("likes"), 0),
        ("modify_index", -3, 0),
    ],
)
