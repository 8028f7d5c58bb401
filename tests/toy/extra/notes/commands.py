"""Writing a note and liking it."""

from __future__ import annotations

from konsul.errors import Conflict, Invalid, NotFound
from konsul.features.notes.config import NotesSettings  # type: ignore[import-not-found]
from konsul.features.notes.tables import Note  # type: ignore[import-not-found]
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context


@command("notes.write", needs="notes:write", resource="slug")
async def write(ctx: Context, *, slug: str, author: str, text: str, cas: int | None = None) -> int:
    """Writes a note and returns its modify_index."""
    if not author:
        raise Invalid("author is required")
    applied = await ctx.engine.put(Note.table_id, slug.encode(), entry.cells(author, text), cas)
    return applied.index


@command("notes.like", needs="notes:like", resource="slug")
async def like(ctx: Context, *, slug: str) -> int:
    """Adds one like to a note that is there."""
    most = ctx.config.of(NotesSettings).max_likes
    case = entry.case([entry.exists(Note, slug)], [entry.add(Note, slug, "likes", 1, most)])
    try:
        return (await ctx.engine.commit(entry.encode([case]))).index
    except Conflict:
        raise NotFound("Note not found") from None
