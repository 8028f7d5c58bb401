"""GraphQL over HTTP: what a request asks, and the answer with the status the contract gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from konsul.doors.graphql.operation import MUTATION, SUBSCRIPTION, UNREADABLE, Asked, asked_of
from konsul.doors.graphql.refusals import (
    NOT_ACCEPTABLE,
    OK,
    UNPROCESSABLE,
    Refused,
    bad_request,
    not_valid,
)
from konsul.kernel.reading import Reading, reading_of
from konsul.kernel.route_classes import COMPLEXITY
from konsul.kernel.routing import context

if TYPE_CHECKING:
    from konsul.doors.graphql.door import Door
    from konsul.doors.graphql.operation import Operation, Prepared
    from konsul.kernel.context import Context

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
_NO_TRANSPORT: Final = "transport not supported"


async def serve(door: Door, request: Request) -> Response:
    """Answers one request. Refusals of the pipeline (401, 307, ...) are raised, as by any other route."""
    try:
        asked = await _asked(door, request)
        reading = _reading(request)
        within = await context(request)
        if isinstance(asked, Asked):
            return await _one(door, request, within, asked, reading)
        parts = [await _part(door, within.part(i), one, reading) for i, one in enumerate(asked)]
        return _response(OK, parts)
    except Refused as refused:
        door.refused(refused)
        return _response(refused.status, refused.body())


async def _asked(door: Door, request: Request) -> Asked | list[Asked]:
    """The operation, or the operations of a batch. Raises Refused."""
    if request.method == "GET":
        return _from_query(request)
    if request.method != "POST":
        raise bad_request(_NO_TRANSPORT)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != JSON:
        raise bad_request(f"{_NO_TRANSPORT}: the content type must be {JSON}")
    body = await request.body()
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_request(UNREADABLE) from None
    if not isinstance(value, list):
        return asked_of(value, len(body))
    limit = door.settings.max_batch
    if len(value) > limit:
        text = f"the batch has {len(value)} operations, the limit is {limit} (KONSUL_GRAPHQL_MAX_BATCH)"
        raise Refused("BATCH_LIMIT_EXCEEDED", text, status=UNPROCESSABLE, limit=limit)
    if not value:
        raise not_valid("no operation provided")
    return [asked_of(one, len(body)) for one in value]


def _from_query(request: Request) -> Asked:
    given = request.query_params
    found: dict[str, Any] = {"query": given.get("query"), "operationName": given.get("operationName")}
    for name in ("variables", "extensions"):
        text = given.get(name)
        if not text:
            continue
        try:
            found[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise bad_request(f"{name} could not be decoded") from None
    return asked_of(found, len(request.url.query))


def _reading(request: Request) -> Reading:
    """How fresh its reads must be, asked for as on every other route."""
    given = request.query_params
    return reading_of(
        given.get("consistency"),
        given.get("consistent"),
        given.get("stale"),
        given.get("max_stale"),
        request.headers.get("x-konsul-min-index"),
    )


async def _one(door: Door, request: Request, within: Context, asked: Asked, reading: Reading) -> Response:
    from konsul.doors.graphql import execution

    prepared = await _prepared(door, asked)
    if isinstance(prepared, Response):
        return prepared
    if request.method == "GET" and prepared.kind == MUTATION:
        text = "GET requests only allow query operations"
        raise Refused("METHOD_NOT_ALLOWED", text, status=NOT_ACCEPTABLE)
    # The only operation is the request: one that is too dear is refused as any request, with 429.
    within.pipeline.charge(within, COMPLEXITY, prepared.cost)
    if _wants_events(request, prepared.kind):
        # What the request's scope holds must not live as long as the stream.
        apart = replace(within, noted={})
        return await _stream(door, request, prepared, door.operation(apart, "graphql", reading))
    if prepared.kind == SUBSCRIPTION:
        raise _needs_line()
    operation = door.operation(within, "graphql", reading)
    return _response(*await execution.answer(door, prepared, operation))


def _wants_events(request: Request, kind: str) -> bool:
    """Clients that can read both name both: then only a subscription needs the stream."""
    accept = request.headers.get("accept", "")
    return EVENTS in accept and (kind == SUBSCRIPTION or not (JSON in accept or "*/*" in accept))


async def _stream(door: Door, request: Request, prepared: Prepared, operation: Operation) -> Response:
    """An event stream, or a plain answer when the operation cannot even begin."""
    from konsul.doors.graphql.documents import Broken
    from konsul.doors.graphql.execution import told
    from konsul.doors.graphql.live import Ended
    from konsul.doors.graphql.streams import stream

    try:
        return await stream(door, request, prepared, operation)
    except Broken as broken:
        return _response(UNPROCESSABLE, {"errors": told(broken.errors, operation), "data": None})
    except Ended as ended:
        return _response(OK, {"errors": ended.errors, "data": None})


async def _part(door: Door, within: Context, asked: Asked, reading: Reading) -> Any:
    """The answer to one operation of a batch."""
    from konsul.doors.graphql import execution

    try:
        prepared = await _prepared(door, asked)
        if isinstance(prepared, Response):
            return orjson.loads(prepared.body)
        if prepared.kind == SUBSCRIPTION:
            raise _needs_line()
        execution.charge(prepared, within)
    except Refused as refused:
        door.refused(refused)
        return refused.body()
    return (await execution.answer(door, prepared, door.operation(within, "graphql", reading)))[1]


async def _prepared(door: Door, asked: Asked) -> Prepared | Response:
    """The operation, or the answer to a document with errors."""
    # Here, because the libraries behind it are only loaded by a node that is asked something.
    await door.schema.get()
    from konsul.doors.graphql import execution
    from konsul.doors.graphql.documents import Broken

    try:
        return await execution.prepare(door, asked)
    except Broken as broken:
        errors = execution.told(broken.errors, None)
        execution.count_errors(door, door.metering.names.label(""), errors)
        return _response(UNPROCESSABLE, {"errors": errors, "data": None})


def _needs_line() -> Refused:
    text = f"subscriptions are served over WebSocket, or with Accept: {EVENTS}"
    return Refused("SUBSCRIPTION_NEEDS_STREAM", text)


def _response(status: int, body: object) -> Response:
    return Response(orjson.dumps(body), status, media_type=JSON)
