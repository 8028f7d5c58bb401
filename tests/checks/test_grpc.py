"""gRPC checks, against a server that is not ours: grpclib's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from konsul.features.checks.grpc_check import request_of, verdict
from tests.checks.targets import Web, definition, executors, listening
from tests.process import free_port


class Plain(CodecBase):
    """Messages as bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:  # noqa: ARG002 - grpclib's
        return data


class Health:
    """grpc.health.v1.Health with one method."""

    def __init__(self, answers: dict[str, int]) -> None:
        self.answers = answers

    async def check(self, stream: Stream[bytes, bytes]) -> None:
        request = await stream.recv_message()
        # Field 1, as the protocol says: a tag, the length, the name.
        name = request[2:].decode() if request else ""
        if name not in self.answers:
            raise GRPCError(Status.NOT_FOUND, "unknown service")
        status = self.answers[name]
        await stream.send_message(bytes((8, status)) if status else b"")

    def __mapping__(self) -> dict[str, Handler]:
        return {"/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}


@asynccontextmanager
async def serving(**answers: int) -> AsyncIterator[int]:
    server = Server(
        [Health({"" if name == "all" else name: code for name, code in answers.items()})], codec=Plain()
    )
    port = free_port()
    await server.start("127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        (0, "warning", "gRPC UNKNOWN"),
        (1, "passing", "gRPC SERVING"),
        (2, "critical", "gRPC NOT_SERVING"),
        (3, "critical", "gRPC SERVICE_UNKNOWN"),
    ],
)
def test_the_status_of_the_health_protocol_decides(code: int, expected: str, said: str) -> None:
    async def run() -> None:
        async with serving(all=code) as port, executors() as made:
            found = await made.run(definition("grpc", grpc=f"127.0.0.1:{port}"))
            assert (found.status, found.said) == (expected, said)

    asyncio.run(run())


def test_one_service_of_the_target_may_be_asked_for() -> None:
    async def run() -> None:
        async with serving(all=1, sick=2) as port, executors() as made:
            found = await made.run(definition("grpc", grpc=f"127.0.0.1:{port}/sick"))
            assert found.said == "gRPC NOT_SERVING"
            found = await made.run(definition("grpc", grpc=f"127.0.0.1:{port}/other"))
            assert (found.status, found.said) == ("critical", "gRPC status 5 unknown service")

    asyncio.run(run())


def test_what_does_not_speak_it_is_critical() -> None:
    async def run() -> None:
        async with listening(Web()) as web, executors() as made:
            found = await made.run(definition("grpc", grpc=f"127.0.0.1:{web.port}", timeout="500ms"))
            assert found.status == "critical"
            found = await made.run(definition("grpc", grpc=f"127.0.0.1:{free_port()}"))
            assert found.status == "critical"
            assert found.output.startswith("gRPC call failed after ")

    asyncio.run(run())


def test_long_names_are_framed_and_odd_answers_are_no_health() -> None:
    framed = request_of("s" * 200)
    assert framed[:5] == b"\0\0\0\0\xcb"
    assert framed[5:8] == b"\x0a\xc8\x01"
    assert verdict({":status": "200"}, b"").status == "critical"
    assert verdict({":status": "200"}, b"\0\0\0\0\2\x08\xff").status == "critical"
    assert verdict({":status": "200"}, b"\1\0\0\0\2\x08\x01").status == "critical"
    assert verdict({":status": "502"}, b"").said == "gRPC over HTTP 502"
    assert verdict({}, b"").status == "critical"
