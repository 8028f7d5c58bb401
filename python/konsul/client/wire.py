"""What both clients need of httpx: connection settings, one request, and what its exceptions mean to an
exchange."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx

from konsul.client.exchange import Lost, Reply, Send, Unsent
from konsul.client.request import Answer, Request
from konsul.client.settings import Observation, Settings
from konsul.client.sse import EVENT_BYTES_MAX
from konsul.errors import Invalid

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed, InvalidStatus

CLOSE_S = 1.0
"""How long a WebSocket waits for the other side's farewell."""
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for httpx.Client and httpx.AsyncClient. Raises Invalid for certificate files it
    cannot use."""
    return {
        "headers": dict(settings.headers),
        "limits": httpx.Limits(
            max_connections=settings.connections_max, max_keepalive_connections=settings.idle_connections_max
        ),
        "verify": _tls(settings),
        "follow_redirects": False,
        "trust_env": False,
    }


def request_of(effect: Send, settings: Settings) -> dict[str, Any]:
    """Keyword arguments for `request` of either httpx client."""
    request = effect.request
    connect_s = min(settings.connect_timeout_s, effect.timeout_s)
    # What was in force when the client was made may be over by now.
    renewed = {} if settings.token_source is None else {"Authorization": f"Bearer {settings.token_source()}"}
    return {
        "method": request.method,
        "url": effect.url,
        "params": request.params or None,
        "headers": {**renewed, **request.headers},
        "content": request.body,
        "timeout": httpx.Timeout(effect.timeout_s, connect=connect_s, pool=effect.timeout_s),
    }


def stream_of(url: str, request: Request, settings: Settings) -> dict[str, Any]:
    """Keyword arguments for `build_request` of either httpx client: a stream of server-sent events."""
    return {
        "method": request.method,
        "url": url,
        "params": request.params or None,
        # Events are small and must not wait for one another inside a compressor.
        "headers": {**request.headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"},
        "content": request.body,
        "timeout": httpx.Timeout(settings.watch_silence_s, connect=settings.connect_timeout_s),
    }


def websocket_of(
    url: str, request: Request, settings: Settings, subprotocol: str | None = None
) -> dict[str, Any]:
    """Keyword arguments for `connect` of either half of websockets."""
    address = httpx.URL(url, params=request.params) if request.params else httpx.URL(url)
    secure = address.scheme == "https"
    headers = {
        name: value for name, value in settings.headers.items() if name not in ("Accept", "User-Agent")
    }
    keywords: dict[str, Any] = {
        "uri": str(address.copy_with(scheme="wss" if secure else "ws")),
        "additional_headers": {**headers, **request.headers},
        "user_agent_header": settings.headers["User-Agent"],
        "subprotocols": [subprotocol] if subprotocol else None,
        "compression": None,
        "proxy": None,
        "open_timeout": settings.policy.attempt_s,
        "close_timeout": CLOSE_S,
        "max_size": EVENT_BYTES_MAX,
    }
    if secure:
        keywords["ssl"] = _tls(settings)
    return keywords


def host_and_port(url: str) -> tuple[str, int]:
    """Where to connect for a URL."""
    address = httpx.URL(url)
    return address.host, address.port or (443 if address.scheme == "https" else 80)


def is_event_stream(response: httpx.Response) -> bool:
    """Whether the body goes on as server-sent events."""
    kind: str = response.headers.get("content-type", "")
    return kind.startswith("text/event-stream")


def refused_upgrade(error: InvalidStatus) -> Answer:
    """What a server answered instead of becoming a WebSocket."""
    response = error.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return Answer(response.status_code, headers, bytes(response.body or b""))


def closed(error: ConnectionClosed) -> Lost:
    """Why a WebSocket ended."""
    frame = error.rcvd
    if frame is None:
        return Lost("the connection broke")
    reason = f"the server closed the connection ({frame.code}{frame.reason and ': '}{frame.reason})"
    return Lost(reason, code=frame.code)


def silence(error: Exception) -> Lost:
    """Why a stream of server-sent events ended."""
    reason = str(error) or type(error).__name__
    return Lost("nothing was heard for too long" if isinstance(error, httpx.TimeoutException) else reason)


def reply_of(error: httpx.TransportError) -> Unsent | Lost:
    """What a transport error says about the request: certainly not sent, or outcome unknown."""
    reason = str(error) or type(error).__name__
    if isinstance(error, UNSENT):
        return Unsent(reason)
    return Lost(reason, isinstance(error, httpx.TimeoutException))


def answer_of(response: httpx.Response) -> Answer:
    """An answer as plain data."""
    return Answer(response.status_code, dict(response.headers), response.content)


def report(settings: Settings, effect: Send, reply: Reply, started_s: float) -> None:
    """Tell the observer about one attempt."""
    if settings.observe is None:
        return
    elapsed_s = time.perf_counter() - started_s
    if isinstance(reply, Answer):
        error = f"HTTP status {reply.status}" if reply.status >= 400 else ""
        seen = Observation(effect.request.route, reply.status, elapsed_s, len(reply.body), error)
    else:
        reason = reply.reason if reply else "no answer"
        seen = Observation(effect.request.route, 0, elapsed_s, 0, reason)
    settings.observe(seen)


def _tls(settings: Settings) -> ssl.SSLContext | bool:
    # A context costs about 20 ms of reading the trust store; a plain http address needs none.
    if not any(one.startswith("https://") for one in (*settings.addresses, *settings.redirect_to)):
        return False
    try:
        context = ssl.create_default_context(cafile=settings.ca_cert)
        if settings.client_cert and settings.client_key:
            context.load_cert_chain(settings.client_cert, settings.client_key)
    except (OSError, ssl.SSLError) as cause:
        files = ", ".join(filter(None, (settings.ca_cert, settings.client_cert, settings.client_key)))
        raise Invalid(f"cannot use the certificate files ({files}): {cause}") from cause
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
