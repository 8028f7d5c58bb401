"""`/batch/services/*`: many services per request."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import Request, Response

from konsul.errors import Invalid
from konsul.features.catalog import batch, documents
from konsul.features.catalog.batch import Candidate
from konsul.features.catalog.bodies import SERVICE, service_of
from konsul.features.catalog.queries import get_many
from konsul.kernel.reading import ReadCtx
from konsul.kernel.routing import OBJECTS, TEXTS, Ctx, Kind, Router, json_response, members, read_members

_NAMES: Final[dict[str, Kind]] = {"names": TEXTS}
_SERVICES: Final[dict[str, Kind]] = {"services": OBJECTS}

router = Router(tags=["services batch"])


@router.post("/batch/services/get", needs="service:read", openapi_extra=documents.BATCH_NAMES)
async def get_route(ctx: ReadCtx, request: Request) -> Response:
    """Reads up to 100 services."""
    names = (await read_members(request, _NAMES))["names"]
    batch.check_names(names)
    found, missing = await ctx.run(get_many, names=names)
    fragments = {name: orjson.Fragment(text) for name, text in found.items()}
    return json_response({"found": fragments, "not_found": missing})


@router.post("/batch/services/register", needs="service:register", openapi_extra=documents.BATCH_SERVICES)
async def register_route(ctx: Ctx, request: Request) -> Response:
    """Registers up to 100 services, each by itself; `errors` says why one was not."""
    items = (await read_members(request, _SERVICES))["services"]
    batch.check_services(items)
    candidates = [_candidate(item) for item in items]
    names = [candidate.name for candidate in candidates]
    done = await ctx.run(batch.register_many, names=names, candidates=candidates)
    document: dict[str, Any] = {"message": f"Registered {len(done.names)} services", "registered": done.names}
    if done.failed:
        document["message"] += f", {len(done.failed)} failed"
        document |= {"failed": done.failed, "errors": done.errors}
    return json_response(document | {"count": len(done.names)})


@router.post("/batch/services/deregister", needs="service:deregister", openapi_extra=documents.BATCH_NAMES)
async def deregister_route(ctx: Ctx, request: Request) -> Response:
    """Removes up to 100 services, all or nothing. Absent names count as removed."""
    names = (await read_members(request, _NAMES))["names"]
    await ctx.run(batch.deregister_many, names=names)
    message = f"Deregistered {len(names)} services"
    return json_response({"message": message, "deregistered": names, "count": len(names)})


def _candidate(item: Any) -> Candidate:
    """A body of the wrong types fails as a whole; a service that breaks a rule only by itself."""
    picked = members(item, SERVICE)
    name = picked["name"] or batch.UNNAMED
    try:
        return Candidate(name, service_of(picked))
    except Invalid as problem:
        return Candidate(name, problem)
