"""Reading notes."""

from __future__ import annotations

from konsul.errors import NotFound
from konsul.features.notes.tables import NOTE, Note  # type: ignore[import-not-found]
from konsul.kernel.command import query
from konsul.kernel.context import Context


@query("notes.get", needs="notes:read", resource="slug")
async def get(ctx: Context, *, slug: str) -> bytes:
    """One note as JSON text."""
    text = ctx.engine.get_json(NOTE, slug.encode())
    if text is None:
        raise NotFound("Note not found")
    return text


@query("notes.by_author", needs="notes:list")
async def by_author(ctx: Context, *, author: str) -> bytes:
    """The notes of one author as a JSON array, found through the index."""
    where = [(Note.column("author"), author.encode())]
    return ctx.engine.scan_json(NOTE, where=where).json
