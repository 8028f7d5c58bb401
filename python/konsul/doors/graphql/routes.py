"""The door in the application: `/graphql` for every method and for WebSockets, and the playground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from konsul.doors.graphql import http, playground
from konsul.doors.graphql.door import Door
from konsul.kernel.graphql_settings import GraphqlSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

PATH: Final = "/graphql"
PLAYGROUND: Final = "/graphql/playground"


def routes(kernel: Kernel) -> list[BaseRoute]:
    """The door's routes; none when it is switched off.

    Raises:
        StartFailed: what the operator registered cannot be read.
    """
    settings = kernel.config.of(GraphqlSettings)
    if not settings.enabled:
        return []
    found: list[BaseRoute] = [_Endpoint(Door(kernel))]
    return [*found, _Playground()] if settings.playground_enabled else found


class _Endpoint(BaseRoute):
    """`/graphql`: the contract answers every method itself, so no other route has a say."""

    methods: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

    def __init__(self, door: Door) -> None:
        self.door = door

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Both kinds of connection, whatever the case of the path."""
        is_here = scope["type"] in ("http", "websocket") and scope["path"].lower() == PATH
        return (Match.FULL, {}) if is_here else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request or opens one WebSocket."""
        _note(scope, PATH)
        if scope["type"] == "websocket":
            await self.door.sockets.serve(WebSocket(scope, receive, send))
            return
        response = await http.serve(self.door, Request(scope, receive, send))
        await response(scope, receive, send)


class _Playground(BaseRoute):
    """`/graphql/playground` and its files."""

    methods: Final = frozenset(("GET", "HEAD"))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The page and what lies below it."""
        path = scope["path"].lower()
        is_here = scope["type"] == "http" and (path == PLAYGROUND or path.startswith(PLAYGROUND + "/"))
        return (Match.FULL, {}) if is_here else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with one file."""
        _note(scope, PLAYGROUND)
        name = scope["path"][len(PLAYGROUND) + 1 :]
        response = playground.serve(Request(scope, receive, send), name)
        await response(scope, receive, send)


def _note(scope: Scope, template: str) -> None:
    """The template, for metrics and the access log: never the query."""
    if "konsul" in scope:
        scope["konsul"]["route"] = template
