"""The application behind the front: every feature's routes, and every failure in its proper shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from konsul.doors.http.answers import (
    INTERNAL_MESSAGE,
    JSON,
    PHRASES,
    Headers,
    blocked_body,
    challenge,
    conflict_body,
    error_body,
    forbidden_body,
    rate_limited_body,
    read_failed_body,
    standard_body,
    unauthenticated_body,
)
from konsul.doors.http.described import describe
from konsul.errors import (
    Blocked,
    Conflict,
    DiskFull,
    Forbidden,
    KonsulError,
    NoLeader,
    RateLimited,
    Unauthenticated,
)
from konsul.kernel.logging import logger
from konsul.kernel.node import VERSION
from konsul.kernel.reading import ReadFailed
from konsul.kernel.routing import Refused
from konsul.kernel.writing import Elsewhere

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

CLIENT_GONE: Final = 499
"""The status of a request whose client gave up before the answer, by nginx's custom."""
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_DISK_FULL: Final = "the disk is full: writes are refused until space returns, reads go on"


def create_app(kernel: Kernel) -> FastAPI:
    """The FastAPI application of the kernel's features; a front before it prepares path and identity."""
    app = FastAPI(title="Konsul", version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.kernel = kernel
    app.add_middleware(_Unexpected)
    app.add_exception_handler(KonsulError, _refused)
    app.add_exception_handler(Refused, _refused_by_route)
    app.add_exception_handler(ReadFailed, _not_fresh)
    app.add_exception_handler(Elsewhere, _sent_elsewhere)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(RequestValidationError, _not_valid)
    for feature in kernel.features:
        if feature.router is not None:
            app.router.routes.extend(feature.router.routes)
    describe(app, kernel)
    return app


def request_id(scope: Scope) -> str:
    """The id the front gave the request."""
    return str(scope.get("konsul", {}).get("request_id", ""))


def client_path(scope: Scope) -> str:
    """The path as the client sent it: neither decoded nor stripped."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def standard(scope: Scope, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An answer of the shape STD."""
    body = standard_body(status, message, request_id(scope), client_path(scope))
    return Response(body, status, headers, media_type="application/json")


def _text(status: int, text: str, headers: Any = None) -> Response:
    return Response(text, status, headers, media_type="text/plain")


def refusal(error: Exception, request_id: str, path: str) -> tuple[int, Headers, bytes]:
    """The answer when a verb refuses, by the error catalogue: status, headers, body. `path`: as sent."""
    status = error.http_status if isinstance(error, KonsulError) else 500
    headers: Headers = [(b"content-type", JSON)]
    if isinstance(error, Unauthenticated | Forbidden | Blocked | RateLimited):
        return status, headers + _told(error), _refused_body(error)
    if isinstance(error, Conflict):
        return status, headers, conflict_body(str(error), request_id, path)
    message = _DISK_FULL if isinstance(error, DiskFull) else str(error)
    if status == 500:
        logger().error("request failed", request_id=request_id, error=str(error), exc_info=error)
        message = INTERNAL_MESSAGE
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if isinstance(error, NoLeader):
        return status, headers, error_body("no leader", message, request_id, path)
    return status, headers, standard_body(status, message, request_id, path)


def _told(error: KonsulError) -> Headers:
    """The headers of a refusal by the pipeline; those of the rate are on every answer already."""
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", challenge(error.presented))]
    if isinstance(error, RateLimited):
        return [(b"retry-after", b"%d" % error.retry_after_s)]
    return []


def _refused_body(error: KonsulError) -> bytes:
    if isinstance(error, Unauthenticated):
        return unauthenticated_body(str(error))
    if isinstance(error, Blocked):
        return blocked_body(str(error), error.identifier)
    if isinstance(error, RateLimited):
        return rate_limited_body(error.identifier, error.retry_after_s, error.reset_at)
    assert isinstance(error, Forbidden)  # noqa: S101 - one of the four
    return forbidden_body(str(error), error.needs, error.resource)


async def _refused(request: Request, error: Exception) -> Response:
    scope = request.scope
    status, headers, body = refusal(error, request_id(scope), client_path(scope))
    response = Response(body, status)
    response.raw_headers += headers
    return response


async def _refused_by_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for this class only
    return error.response


async def _not_fresh(_: Request, error: Exception) -> Response:
    """Fresher than can be had: says so, instead of an answer that may be old."""
    assert isinstance(error, ReadFailed)  # noqa: S101 - registered for this class only
    body = read_failed_body(error.wanted, error.detail)
    return Response(body, 503, {"retry-after": "1"}, media_type="application/json")


async def _sent_elsewhere(request: Request, error: Exception) -> Response:
    """A redirect that keeps method and body, to the same path at the leader."""
    assert isinstance(error, Elsewhere)  # noqa: S101 - registered for this class only
    query = request.scope["query_string"].decode("latin-1")
    location = error.http_address.rstrip("/") + client_path(request.scope) + (f"?{query}" if query else "")
    body = {"error": "not leader", "message": str(error), "leader_addr": error.leader_addr}
    return JSONResponse(body, 307, {"location": location})


async def _not_routed(request: Request, error: Exception) -> Response:
    """No such path or no such method: plain texts, as the first Konsul answered."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    scope = request.scope
    if error.status_code == 404:
        return _text(404, f"Cannot {scope['method']} {client_path(scope)}")
    if error.status_code == 405:
        return _text(405, PHRASES[405], {"allow": ", ".join(_allowed(scope))})
    return standard(scope, error.status_code, str(error.detail))


async def _not_valid(request: Request, error: Exception) -> Response:
    """A query parameter that FastAPI could not read."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    names = sorted({str(problem["loc"][-1]) for problem in error.errors()})
    return standard(request.scope, 400, f"invalid value for {', '.join(names)}")


def _allowed(scope: Scope) -> list[str]:
    """Every method some route answers on this path, in a fixed order."""
    found: set[str] = set()
    for route in scope["app"].routes:
        match, _ = route.matches({**scope, "method": ""})
        if match is not Match.NONE and route.methods:
            found |= route.methods
            if "GET" in route.methods and getattr(route, "answers_head", True):
                found.add("HEAD")
    return [method for method in _METHODS if method in found]


class _Unexpected:
    """Answers 500 for a defect, logs it with the request id, and lets the server live."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            # Nobody reads it: it keeps who gave up out of the failures in the log and the counters.
            if not begun and scope["type"] == "http":
                await Response(status_code=CLIENT_GONE)(scope, receive, send)
        except Exception as error:
            logger().error(
                "request failed",
                request_id=request_id(scope),
                method=scope.get("method"),
                path=scope.get("path"),
                error=type(error).__name__,
                exc_info=error,
            )
            # With the head gone, only cutting the connection tells the client that the body is not whole.
            if begun or scope["type"] != "http":
                raise
            await standard(scope, 500, INTERNAL_MESSAGE)(scope, receive, send)
