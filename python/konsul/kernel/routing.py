"""Routes of a feature and what they need from a request: the context, the body, the answer.

Thin over FastAPI: static segments match case-insensitively, every GET answers HEAD, bodies are decoded by the
lenient rules of the contract.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match, websocket_session
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from konsul.errors import Invalid
from konsul.kernel import writing
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.context import Context
from konsul.kernel.pipeline import ANONYMOUS, AUTHENTICATED, PUBLIC, Identity
from konsul.kernel.writing import Terms

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
INVALID_BODY: Final = "Invalid JSON body"
U64_MAX: Final = 2**64 - 1
WITHOUT_SELECTOR: Final = frozenset(("admin", "health", "backup"))
"""Resource types that are one thing: what they need is known before the request is read."""
_NEEDS: Final = re.compile(r"[a-z]+:[a-z]+")
_SHADOW: Final = "/kv/watch"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Route(APIRoute):
    """One path operation. Notes its template in the scope, for metrics and logs."""

    answers_head = True
    """Wherever GET is answered, HEAD is."""

    def __init__(self, path: str, endpoint: Any, *, needs: str, **options: Any) -> None:
        """`needs`: PUBLIC, AUTHENTICATED, or `resource type:capability`.

        Raises:
            TypeError: it is none of them.
        """
        super().__init__(path, endpoint, **options)
        if needs not in (PUBLIC, AUTHENTICATED) and _NEEDS.fullmatch(needs) is None:
            raise TypeError(f"{path} needs {needs!r}: expected public, authenticated or resource:capability")
        if needs == PUBLIC and "{" in path:
            raise TypeError(f"{path} is public, and such paths are compared as they are written")
        self.needs = needs
        self._is_checked = needs == AUTHENTICATED or needs.partition(":")[0] in WITHOUT_SELECTOR
        # ASCII: U+212A must not match `k`. DOTALL and \Z: a key may hold or end with a line feed, a static
        # path may not.
        pattern = self.path_regex.pattern.removesuffix("$") + r"\Z"
        self.path_regex = re.compile(pattern, re.IGNORECASE | re.ASCII | re.DOTALL)
        self._beginning = self.path_format.partition("{")[0].rstrip("/").lower()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's, with HEAD taken for GET."""
        # A hundred routes are asked one after the other: most are not meant, and a slice is enough to tell.
        path = scope["path"]
        if not scope.get("root_path") and path[: len(self._beginning)].lower() != self._beginning:
            return Match.NONE, {}
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the endpoint; an HEAD request runs the GET endpoint and the transport drops the body.

        Raises:
            Unauthenticated, Forbidden: what no verb has to be asked for is known to be refused.
        """
        self.enter(scope, is_checked=self._is_checked)
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        await super().handle(scope, receive, send)

    def enter(self, scope: Scope, *, is_checked: bool) -> None:
        """Notes the template and asks for what the route as a whole needs. Raises as `handle`."""
        about = scope.get("konsul")
        if about is None:
            return
        about["route"] = self.path_format
        if is_checked and not about.get("public"):
            admit(scope, self.needs)


def admit(scope: Scope, needs: str) -> None:
    """Asks the authorise slot for something that is not about one key or service.

    Raises:
        Unauthenticated, Forbidden.
    """
    kernel: Kernel = scope["app"].state.kernel
    if kernel.pipeline.authorise is not None:
        kernel.pipeline.authorise(scope["konsul"].get("identity", ANONYMOUS), needs, "")


class EventStream(Response):
    """How the answer of such a route is described; what sends it is `konsul.kernel.lines`."""

    media_type = "text/event-stream"


class StayingRoute(Route):
    """A GET whose answer stays open, and the WebSocket of the same path. HEAD is not its own: a stream has no
    end to be measured."""

    answers_head = False

    def __init__(self, path: str, endpoint: Any, *, needs: str, **options: Any) -> None:
        websocket = options.pop("websocket")
        super().__init__(path, endpoint, needs=needs, **options)
        self._websocket = websocket
        self._websocket_app = websocket_session(websocket)
        # A fixed segment that shadows keys must not shadow those that differ from it in case.
        self._is_shadow = path.startswith(_SHADOW)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As `Route`, also for a WebSocket; of `/kv/WATCH/x` it leaves the key alone."""
        if self._is_shadow and scope["path"][4:9] != "watch":
            return Match.NONE, {}
        if scope["type"] == "websocket":
            found = self.path_regex.match(scope["path"])
            if found is None:
                return Match.NONE, {}
            return Match.FULL, {"endpoint": self._websocket, "path_params": found.groupdict()}
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return APIRoute.matches(self, scope)
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the endpoint of the kind."""
        if scope["type"] != "websocket":
            if scope["method"] != "GET":
                raise HTTPException(405)
            await super().handle(scope, receive, send)
            return
        # A WebSocket that needs no more than an identity asks for it itself: a browser can send no header.
        self.enter(scope, is_checked=self._is_checked and self.needs != AUTHENTICATED)
        await self._websocket_app(scope, receive, send)


class Router(APIRouter):
    """The routes of one feature; each says what it needs, beside what FastAPI's decorators take."""

    def __init__(self, *, tags: list[str] | None = None) -> None:
        super().__init__(tags=list(tags or ()), route_class=Route, redirect_slashes=False)

    def get(  # type: ignore[override]
        self, path: str, *, needs: str, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Declares a GET; HEAD goes with it. `needs`: see `Route`."""
        return self._declares("GET", path, needs, options)

    def put(  # type: ignore[override]
        self, path: str, *, needs: str, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Declares a PUT."""
        return self._declares("PUT", path, needs, options)

    def post(  # type: ignore[override]
        self, path: str, *, needs: str, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Declares a POST."""
        return self._declares("POST", path, needs, options)

    def patch(  # type: ignore[override]
        self, path: str, *, needs: str, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Declares a PATCH."""
        return self._declares("PATCH", path, needs, options)

    def delete(  # type: ignore[override]
        self, path: str, *, needs: str, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Declares a DELETE."""
        return self._declares("DELETE", path, needs, options)

    def add_api_route(  # type: ignore[override]
        self, path: str, endpoint: Callable[..., Any], *, needs: str, **options: Any
    ) -> None:
        """Declares a route of several methods, or one under a second method."""
        self.routes.append(Route(path, endpoint, needs=needs, tags=list(self.tags), **options))

    def _declares(
        self, method: str, path: str, needs: str, options: dict[str, Any]
    ) -> Callable[[Endpoint], Endpoint]:
        def declare(endpoint: Endpoint) -> Endpoint:
            self.add_api_route(path, endpoint, needs=needs, methods=[method], **options)
            return endpoint

        return declare

    def include_router(self, router: APIRouter) -> None:  # type: ignore[override]
        """Takes over another router's routes as they are, so that `routes` lists every one of a feature."""
        self.routes.extend(router.routes)

    def stays(
        self, path: str, websocket: Callable[[WebSocket], Awaitable[None]], *, needs: str, **options: Any
    ) -> Callable[[Endpoint], Endpoint]:
        """Declares a GET whose answer stays open, and what a WebSocket on the same path gets."""

        def declare(endpoint: Endpoint) -> Endpoint:
            route = StayingRoute(
                path,
                endpoint,
                needs=needs,
                websocket=websocket,
                methods=["GET"],
                tags=list(self.tags),
                response_class=EventStream,
                **options,
            )
            self.routes.append(route)
            return endpoint

        return declare


async def context(request: Request) -> Context:
    """The request's Context, from what the front put into the scope."""
    kernel: Kernel = request.app.state.kernel
    about: dict[str, Any] = request.scope.get("konsul", {})
    identity = about.get("identity", ANONYMOUS)
    terms = await _terms(request, identity, kernel.config.of(ClusterSettings))
    return Context.within(kernel, about, terms)


async def _terms(request: Request, identity: Identity, cluster: ClusterSettings) -> Terms:
    """How the request wants its writes done. Raises Invalid for headers that cannot be understood."""
    headers, scope = request.headers, request.scope
    timeout_ms = writing.timeout_ms(headers.get("x-konsul-timeout-ms"))
    redirect = cluster.redirect_writes or headers.get("x-konsul-redirect") == "true"
    key = headers.get("idempotency-key")
    if key is None or scope["method"] == "GET":
        return Terms(None, timeout_ms, redirect)
    path, query = scope.get("raw_path", b"").partition(b"?")[0], scope["query_string"]
    body = await request.body()
    write_id = writing.write_id(key.encode("latin-1"), identity, scope["method"], path, query, body)
    return Terms(write_id, timeout_ms, redirect)


Ctx = Annotated[Context, Depends(context)]
"""Annotate an endpoint's first parameter with it."""


class Refused(Exception):
    """Raised by a route: the answer is `response`, of whatever shape that route's refusals have."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def json_response(body: bytes | Mapping[str, object] | list[Any], status: int = 200) -> Response:
    """An `application/json` answer; bytes are sent as they are."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(content, status, media_type=JSON)


class Kind(Protocol):
    """Accepts a decoded JSON value or raises ValueError. `empty` stands for an absent or null member."""

    @property
    def empty(self) -> Any: ...
    def __call__(self, value: Any) -> Any: ...


class _Plain:
    def __init__(self, accepted: type, empty: Any) -> None:
        self._accepted = accepted
        self.empty = empty

    def __call__(self, value: object) -> Any:
        # An exact type: JSON true is no integer although Python's bool is one.
        if type(value) is not self._accepted:
            raise ValueError
        return value


class _U64(_Plain):
    def __call__(self, value: object) -> Any:
        if type(value) is not int or not 0 <= value <= U64_MAX:
            raise ValueError
        return value


class _Each:
    """A list, or the values of a string-keyed map, all of one kind."""

    def __init__(self, container: type, item: Any, empty: Any) -> None:
        self._container = container
        self._item = item
        self._empty = empty

    @property
    def empty(self) -> Any:
        return self._container() if self._empty is ... else self._empty

    def __call__(self, value: object) -> Any:
        if type(value) is dict and self._container is dict:
            return {name: self._one(item) for name, item in value.items()}
        if type(value) is list and self._container is list:
            return [self._one(item) for item in value]
        raise ValueError

    def _one(self, item: object) -> Any:
        return self._item.empty if item is None else self._item(item)


TEXT: Final = _Plain(str, "")
U64: Final = _U64(int, 0)
MAYBE_U64: Final = _U64(int, None)
MAYBE_TEXT: Final = _Plain(str, None)
BOOL: Final = _Plain(bool, False)
OBJECT: Final = _Plain(dict, None)
TEXTS: Final = _Each(list, TEXT, ...)
MAYBE_TEXTS: Final = _Each(list, TEXT, None)
TEXT_MAP: Final = _Each(dict, TEXT, ...)
MAYBE_TEXT_MAP: Final = _Each(dict, TEXT, None)
U64_MAP: Final = _Each(dict, U64, ...)
OBJECTS: Final = _Each(list, OBJECT, ...)


def members(value: object, kinds: Mapping[str, Kind], *, message: str = INVALID_BODY) -> dict[str, Any]:
    """Picks the members named by `kinds` (lower-case names) out of a decoded JSON object.

    Names match case-insensitively and the last one wins, unknown members are ignored, null counts as absent.
    Raises Invalid(message) for anything that is no object or has a member of the wrong type.
    """
    picked = {name: kind.empty for name, kind in kinds.items()}
    if value is None:
        return picked
    if not isinstance(value, dict):
        raise Invalid(message)
    for name, item in value.items():
        known = name if name in kinds else name.lower()
        if known not in kinds or item is None:
            continue
        try:
            picked[known] = kinds[known](item)
        except ValueError:
            raise Invalid(message) from None
    return picked


def is_json(content_type: str) -> bool:
    """True for `application/json` and `*/*+json`, with or without parameters."""
    media = content_type.partition(";")[0].strip().lower()
    return media == JSON or media.endswith("+json")


def is_msgpack(content_type: str) -> bool:
    """True for `application/msgpack`, also under its `x-` name."""
    return content_type.partition(";")[0].strip().lower() in (MSGPACK, "application/x-msgpack")


def decode_json(body: bytes, content_type: str, *, message: str = INVALID_BODY) -> object:
    """Decodes a JSON body. Raises Invalid(message) for another content type or anything but one value."""
    if not is_json(content_type):
        raise Invalid(message)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Invalid(message) from None


async def read_members(
    request: Request, kinds: Mapping[str, Kind], *, message: str = INVALID_BODY
) -> dict[str, Any]:
    """The members of the request's JSON object; see `members` and `decode_json`."""
    content_type = request.headers.get("content-type", "")
    value = decode_json(await request.body(), content_type, message=message)
    return members(value, kinds, message=message)
