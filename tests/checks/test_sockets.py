"""TCP and UDP checks."""

from __future__ import annotations

import asyncio
from typing import cast

from tests.checks.targets import Web, definition, executors, listening
from tests.process import free_port


class Echo(asyncio.DatagramProtocol):
    """Answers what it is told to; without it, nothing."""

    def __init__(self, said: bytes | None) -> None:
        self.said = said
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.heard.append(data)
        if self.said is not None:
            self.transport.sendto(self.said, addr)  # type: ignore[arg-type]


def test_a_port_that_accepts_passes_and_a_closed_one_is_critical() -> None:
    async def run() -> None:
        async with listening(Web()) as web, executors() as made:
            found = await made.run(definition("tcp", tcp=f"127.0.0.1:{web.port}"))
            assert found.status == "passing"
            assert found.output.startswith(f"TCP connection to 127.0.0.1:{web.port} successful (0.")
            found = await made.run(definition("tcp", tcp=f"127.0.0.1:{free_port()}"))
            assert found.status == "critical"
            assert found.output.startswith("TCP connection failed after ")

    asyncio.run(run())


async def asked(said: bytes | None, **members: str) -> tuple[str, list[bytes]]:
    loop = asyncio.get_running_loop()
    echo = Echo(said)
    transport, _ = await loop.create_datagram_endpoint(lambda: echo, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        async with executors() as made:
            found = await made.run(definition("udp", udp=f"127.0.0.1:{port}", **members))
    finally:
        transport.close()
    return found.status, echo.heard


def test_udp_passes_when_somebody_answers() -> None:
    assert asyncio.run(asked(b"pong", body="ping")) == ("passing", [b"ping"])


def test_udp_silence_is_no_failure() -> None:
    assert asyncio.run(asked(None, timeout="200ms")) == ("passing", [b"konsul check"])


def test_udp_may_ask_for_an_answer_that_matches() -> None:
    assert asyncio.run(asked(b"pong", expected_body="^po"))[0] == "passing"
    assert asyncio.run(asked(b"nope", expected_body="^po"))[0] == "critical"
    assert asyncio.run(asked(None, expected_body="^po", timeout="200ms"))[0] == "critical"


def test_udp_to_a_closed_port_is_critical() -> None:
    async def run() -> None:
        async with executors() as made:
            found = await made.run(definition("udp", udp=f"127.0.0.1:{free_port()}", timeout="5s"))
            assert found.status == "critical"
            assert "refused" in found.output.lower()

    asyncio.run(run())
