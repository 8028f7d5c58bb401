"""The notes over HTTP."""

from __future__ import annotations

from fastapi import Request, Response

from konsul.features.notes.commands import like, write  # type: ignore[import-not-found]
from konsul.features.notes.queries import by_author, get  # type: ignore[import-not-found]
from konsul.kernel.routing import MAYBE_U64, TEXT, Ctx, Router, json_response, read_members

router = Router(tags=["notes"])


@router.get("/notes", needs="notes:read")
async def list_route(ctx: Ctx, author: str = "") -> Response:
    """Lists the notes of an author."""
    return json_response(await ctx.run(by_author, author=author))


@router.get("/notes/{slug}", needs="notes:read")
async def get_route(ctx: Ctx, slug: str) -> Response:
    """Reads a note."""
    return json_response(await ctx.run(get, slug=slug))


@router.put("/notes/{slug}", needs="notes:write")
async def write_route(ctx: Ctx, request: Request, slug: str) -> Response:
    """Writes a note."""
    body = await read_members(request, {"author": TEXT, "text": TEXT, "cas": MAYBE_U64})
    return json_response({"modify_index": await ctx.run(write, slug=slug, **body)})


@router.post("/notes/{slug}/likes", needs="notes:write")
async def like_route(ctx: Ctx, slug: str) -> Response:
    """Likes a note."""
    return json_response({"modify_index": await ctx.run(like, slug=slug)})
