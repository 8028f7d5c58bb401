"""Watches: each path is an event stream, or when the request asks for an upgrade a WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import orjson
from fastapi import Query, Request, Response
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from konsul.errors import Forbidden, Invalid, TooMany, Unsupported
from konsul.features.catalog.search_parameters import wanted
from konsul.features.cluster.routes import NOT_ENABLED
from konsul.features.watch import health, sources
from konsul.features.watch.asked import (
    OFF,
    Asked,
    Coalesce,
    Heartbeats,
    Progress,
    Since,
    Token,
    asked_of,
    context_of,
    kernel_of,
    pattern_of,
)
from konsul.features.watch.channels import MESSAGE_MAX_BYTES, Updates
from konsul.features.watch.framing import Framing, SocketFraming, StreamFraming
from konsul.features.watch.health import HealthTeller
from konsul.features.watch.teller import FORBIDDEN, Teller
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.context import Context
from konsul.kernel.lines import NORMAL, SERVER_ERROR, Line, LineUser, open_stream, open_websocket
from konsul.kernel.pipeline import AUTHENTICATED
from konsul.kernel.routing import Router, json_response
from konsul.kernel.watch_settings import WatchSettings
from konsul.kernel.watching import client_of

SSE: Final = "sse"
WEBSOCKET: Final = "websocket"
_SOCKET: Final = SocketFraming()
_SOCKET_PROGRESS: Final = SocketFraming(progress=True)
_KEYS: Final = StreamFraming("kv-change")
_SERVICES: Final = StreamFraming("service-change")
_CLUSTER: Final = StreamFraming("cluster-change", has_ids=False)
_HEALTH: Final = StreamFraming("health-change", has_ids=False)
_NO_PAST: Final = "since has no meaning here: what is told has no past"

Key = Annotated[str | None, Query(description="The pattern, unless the path has it; `*` without either.")]
ServiceName = Annotated[str | None, Query(description="A name or a pattern of names; without it all.")]
Tags = Annotated[list[str], Query(description="Only instances with every one of these, before or after.")]
Health = Annotated[
    str | None,
    Query(
        description="Only instances that are `passing`, `serving` (passing or warning), `warning` or "
        "`critical`: one that ceases to be is told as `deregister`, with the health it has."
    ),
]
Passing = Annotated[str | None, Query(description="On: as `health=passing`.")]

Begin = Callable[[HTTPConnection, Framing], Teller]
"""Opens the watch that a request asks for. Raises what a refusal is."""

router = Router(tags=["watch"])


def _socket(asked: Asked) -> Framing:
    return _SOCKET_PROGRESS if asked.progress else _SOCKET


class _Refusal(LineUser):
    """Says why there is no watch, and ends the connection: in a browser the words get through only so."""

    def __init__(self, text: dict[str, str], code: int, reason: str) -> None:
        self._text = text
        self._end = (code, reason)

    def opened(self, line: Line) -> None:
        """See `LineUser`."""
        line.send(orjson.dumps(self._text))
        line.close(*self._end)


async def _stream(request: Request, framing: Framing, begin: Begin) -> Response:
    try:
        teller = begin(request, framing)
    except Forbidden:
        return json_response({"error": "forbidden", "message": FORBIDDEN}, 403)
    try:
        return await open_stream(request, teller)
    except BaseException:
        teller.closed("not opened")
        raise


async def _websocket(websocket: WebSocket, begin: Begin) -> None:
    # Before anything is opened: another site's page is told nothing.
    kernel_of(websocket).lines.check_origin(websocket)
    user: LineUser
    try:
        user = begin(websocket, _socket(asked_of(websocket)))
    except Forbidden:
        user = _Refusal({"error": "forbidden", "message": FORBIDDEN}, NORMAL, "forbidden")
    except TooMany as error:
        message, _, reason = str(error).partition(": ")
        text = {"error": "failed to add watcher", "message": message, "reason": reason}
        user = _Refusal(text, SERVER_ERROR, "too many watchers")
    try:
        await open_websocket(websocket, user)
    except BaseException:
        user.closed("not opened")
        raise


def _begin_keys(connection: HTTPConnection, framing: Framing) -> Teller:
    kernel, context, asked = kernel_of(connection), context_of(connection), asked_of(connection)
    pattern = pattern_of(connection)
    spec = sources.keys(pattern, coalesce=asked.coalesce)
    teller = Teller(kernel.lines, framing)
    watch = kernel.watching.open(context, spec, teller, since=asked.since, transport=_transport(connection))
    # Read after the watch is open: what changes in between is told twice to us, and once to the client.
    is_new = spec.exact and asked.since is None
    teller.begin(watch, sources.value_now(context, pattern) if is_new else None)
    return teller


def _begin_services(connection: HTTPConnection, framing: Framing) -> Teller:
    kernel, context, asked = kernel_of(connection), context_of(connection), asked_of(connection)
    query = connection.query_params
    spec = sources.services(
        query.get("service", ""),
        query.getlist("tag"),
        health=wanted(query.get("health"), query.get("passing")),
        heartbeats=asked.heartbeats,
        coalesce=asked.coalesce,
    )
    teller = Teller(kernel.lines, framing)
    watch = kernel.watching.open(context, spec, teller, since=asked.since, transport=_transport(connection))
    teller.begin(watch)
    return teller


def _begin_cluster(connection: HTTPConnection, framing: Framing) -> Teller:
    kernel, context = kernel_of(connection), _without_past(connection)
    teller = Teller(kernel.lines, framing)
    watch = kernel.watching.open(context, sources.cluster(), teller, transport=_transport(connection))
    teller.begin(watch)
    for text in sources.cluster_now(context):
        teller.event(0, b"", text)
    return teller


def _begin_health(connection: HTTPConnection, framing: Framing) -> Teller:
    kernel, context = kernel_of(connection), _without_past(connection)
    teller = HealthTeller(kernel, framing)
    watch = kernel.watching.open(context, health.spec(), teller, transport=_transport(connection))
    teller.begin(watch)
    teller.now()
    return teller


def _without_past(connection: HTTPConnection) -> Context:
    if connection.query_params.get("since"):
        raise Invalid(_NO_PAST)
    return context_of(connection)


def _transport(connection: HTTPConnection) -> str:
    return WEBSOCKET if connection.scope["type"] == "websocket" else SSE


async def _keys_socket(websocket: WebSocket) -> None:
    await _websocket(websocket, _begin_keys)


async def _services_socket(websocket: WebSocket) -> None:
    await _websocket(websocket, _begin_services)


async def _cluster_socket(websocket: WebSocket) -> None:
    if _is_single(websocket):
        await websocket.send_denial_response(json_response(NOT_ENABLED, 503))
        return
    await _websocket(websocket, _begin_cluster)


def _is_single(connection: HTTPConnection) -> bool:
    return not kernel_of(connection).config.of(ClusterSettings).enabled


async def _health_socket(websocket: WebSocket) -> None:
    await _websocket(websocket, _begin_health)


async def _updates_socket(websocket: WebSocket) -> None:
    kernel, context = kernel_of(websocket), context_of(websocket)
    user, client = Updates(kernel, context), client_of(context)
    await open_websocket(websocket, user, max_message_bytes=MESSAGE_MAX_BYTES, client=client)


@router.stays("/kv/watch", _keys_socket, needs="kv:read", operation_id="watch_keys_by_query")
@router.stays("/kv/watch/{pattern:path}", _keys_socket, needs="kv:read")
async def watch_keys(
    request: Request,
    key: Key = None,
    since: Since = None,
    coalesce: Coalesce = None,
    progress: Progress = None,
    token: Token = None,
) -> Response:
    """Tells every change of the keys that match, in the order of the log: `kv-change` events.

    `*`, `?` and `[a-z]` stand for text within one segment, `**` for any number of segments. An exact key that
    exists is told first with its value, unless `since` is given.
    """
    del key, since, coalesce, progress, token  # read from the connection, as for a WebSocket
    return await _stream(request, _KEYS, _begin_keys)


@router.stays("/services/watch", _services_socket, needs="service:read")
async def watch_services(
    request: Request,
    service: ServiceName = None,
    tag: Tags = [],  # noqa: B006
    health: Health = None,
    passing: Passing = None,
    since: Since = None,
    coalesce: Coalesce = None,
    heartbeats: Heartbeats = None,
    progress: Progress = None,
    token: Token = None,
) -> Response:
    """Tells every change of the instances of services: `service-change` events."""
    del service, tag, health, passing, since, coalesce, heartbeats, progress, token
    return await _stream(request, _SERVICES, _begin_services)


@router.stays("/cluster/watch", _cluster_socket, needs="admin:read")
async def watch_cluster(request: Request, token: Token = None) -> Response:
    """Tells who leads and who is a member, now and whenever it changes: `cluster-change` events."""
    del token
    if _is_single(request):
        return json_response(NOT_ENABLED, 503)
    return await _stream(request, _CLUSTER, _begin_cluster)


@router.stays("/health/watch", _health_socket, needs="health:read")
async def watch_health(request: Request, token: Token = None) -> Response:
    """Tells how the node is, now, when its services change, and with each sign of life: `health-change`."""
    del token
    return await _stream(request, _HEALTH, _begin_health)


@router.stays("/ws/updates", _updates_socket, needs=AUTHENTICATED)
async def updates(request: Request) -> Response:
    """A WebSocket only: channels of changes for user interfaces, asked for by messages."""
    if not kernel_of(request).config.of(WatchSettings).enabled:
        raise Unsupported(OFF)
    raise Invalid("/ws/updates is a WebSocket: ask for an upgrade")
