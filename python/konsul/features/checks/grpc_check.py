"""gRPC checks: one call of `grpc.health.v1.Health/Check` over HTTP/2, on h2.

Request and answer are one field each, so they are written and read here: protobuf would be a library for six
bytes. The protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from konsul.features.catalog.tables import CRITICAL, PASSING, WARNING
from konsul.features.checks.definition import Definition, host_and_port
from konsul.features.checks.outcome import Outcome, outcome

if TYPE_CHECKING:
    import ssl

    from konsul.features.checks.guard import Targets
    from konsul.features.checks.tls import Contexts

_PATH: Final = "/grpc.health.v1.Health/Check"
_ANSWER_BYTES_MAX: Final = 4_096
_SERVING: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_STATUS_OF: Final = {0: WARNING, 1: PASSING}
_PREFIX_BYTES: Final = 5
_SERVICE_TAG: Final = 0x0A
_STATUS_TAG: Final = 0x08


class GrpcChecks:
    """Runs them, a connection for each attempt."""

    def __init__(self, targets: Targets, contexts: Contexts) -> None:
        self._targets, self._contexts = targets, contexts

    async def run(self, check: Definition) -> Outcome:
        """One attempt: the first address that takes the connection answers.

        Raises:
            OSError, ssl.SSLError: no answer. Refused: the guard's. ValueError: the target is none.
        """
        target, _, service = check.grpc.partition("/")
        host, port = host_and_port(target)
        tls = None
        if check.grpc_use_tls:
            context = self._contexts.of(is_verified=not check.tls_skip_verify, is_h2=True)
            tls = (context, check.tls_server_name or host)
        failure: OSError | None = None
        for address in await self._targets.of(host):
            call = _Call(target, service, is_tls=check.grpc_use_tls)
            try:
                return await _asked(call, address, port, tls)
            except OSError as error:
                failure = error
        raise failure or OSError("the name has no address")


async def _asked(call: _Call, address: str, port: int, tls: tuple[ssl.SSLContext, str] | None) -> Outcome:
    context, name = tls if tls is not None else (None, None)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(
        lambda: call, address, port, ssl=context, server_hostname=name
    )
    try:
        return await call.answer
    finally:
        transport.abort()


class _Call(asyncio.Protocol):
    """One connection with the one call on it."""

    def __init__(self, authority: str, service: str, *, is_tls: bool) -> None:
        # Costs tens of ms at first: only nodes with such checks pay it.
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._head = (
            (":method", "POST"),
            (":scheme", "https" if is_tls else "http"),
            (":path", _PATH),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("user-agent", "Konsul-Health-Check/1.0"),
            ("te", "trailers"),
        )
        self._request = request_of(service)
        self._transport: asyncio.Transport | None = None
        self._body = b""
        self._told: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio calls it: sends the whole call."""
        # Not asyncio's own class under uvloop.
        self._transport = cast("asyncio.Transport", transport)
        self._http.initiate_connection()
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(stream, self._head)
        self._http.send_data(stream, self._request, end_stream=True)
        self._transport.write(self._http.data_to_send())

    def data_received(self, data: bytes) -> None:
        """asyncio calls it."""
        from h2.exceptions import ProtocolError

        try:
            for event in self._http.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            self._fail(OSError(f"this is not HTTP/2: {error}"))
            return
        if self._transport is not None and not self.answer.done():
            self._transport.write(self._http.data_to_send())

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio calls it."""
        self._fail(error if isinstance(error, OSError) else OSError("the connection was closed"))

    def _take(self, event: object) -> None:
        from h2 import events

        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            self._told |= {_text(name): _text(value) for name, value in event.headers or ()}
        elif isinstance(event, events.DataReceived):
            self._body += event.data or b""
            if len(self._body) > _ANSWER_BYTES_MAX:
                self._fail(OSError("the answer is too long for a health check"))
            else:
                self._http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 1)
        elif isinstance(event, events.StreamReset | events.ConnectionTerminated):
            self._fail(OSError(f"the call was reset with code {event.error_code}"))
        if isinstance(event, events.StreamEnded) and not self.answer.done():
            self.answer.set_result(verdict(self._told, self._body))

    def _fail(self, error: OSError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def request_of(service: str) -> bytes:
    """The framed HealthCheckRequest: uncompressed, its length, `service` as field 1."""
    name = service.encode()
    message = bytes((_SERVICE_TAG,)) + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4) + message


def verdict(told: dict[str, str], body: bytes) -> Outcome:
    """What the headers and trailers and the framed HealthCheckResponse say."""
    if told.get(":status") != "200":
        return outcome(CRITICAL, f"gRPC over HTTP {told.get(':status', 'without a status')}")
    code = told.get("grpc-status", "0")
    if code != "0":
        return outcome(CRITICAL, f"gRPC status {code} {told.get('grpc-message', '')}".rstrip())
    number = _status_in(body[_PREFIX_BYTES:])
    if len(body) < _PREFIX_BYTES or body[0] != 0 or number is None:
        return outcome(CRITICAL, "gRPC answer without a health status")
    return outcome(_STATUS_OF.get(number, CRITICAL), f"gRPC {_SERVING.get(number, number)}")


def _status_in(message: bytes) -> int | None:
    """Field 1 of the message; zero values are not sent. None for what is no such message."""
    if not message:
        return 0
    is_status = len(message) == 2 and message[0] == _STATUS_TAG and message[1] < 0x80
    return message[1] if is_status else None


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
