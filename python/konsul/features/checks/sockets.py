"""TCP and UDP checks: does somebody take a connection, does nobody refuse a datagram."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from konsul.features.catalog.tables import CRITICAL, PASSING
from konsul.features.checks.definition import Definition, host_and_port
from konsul.features.checks.outcome import Outcome, outcome
from konsul.features.checks.patterns import holds

if TYPE_CHECKING:
    from konsul.features.checks.guard import Targets

MESSAGE: Final = "konsul check"
"""What a UDP check sends when it has no body of its own."""
_SILENCE_PART: Final = 0.8
"""Of the timeout: after so much of it nothing came, which over UDP is no failure."""


class SocketChecks:
    """Runs both kinds."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets

    async def tcp(self, check: Definition) -> Outcome:
        """Passing when an address of the target takes the connection. Raises OSError, Refused, ValueError."""
        host, port = host_and_port(check.tcp)
        failure: OSError | None = None
        for address in await self._targets.of(host):
            try:
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, address, port
                )
            except OSError as error:
                failure = error
                continue
            transport.abort()
            return outcome(PASSING, f"TCP connection to {check.tcp} successful")
        raise failure or OSError("the name has no address")

    async def udp(self, check: Definition) -> Outcome:
        """Sends one datagram. As in Consul silence is passing: many protocols answer only what they know, and
        a closed port is told by the host. With `expected_body` an answer that matches has to come.

        Raises OSError (refused), Refused, ValueError.
        """
        host, port = host_and_port(check.udp)
        address = (await self._targets.of(host))[0]
        asked = _Asked()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: asked, remote_addr=(address, port)
        )
        try:
            transport.sendto((check.body or MESSAGE).encode())
            async with asyncio.timeout(check.timeout_s * _SILENCE_PART):
                answer = await asked.answer
        except TimeoutError:
            if check.expected_body:
                return outcome(CRITICAL, f"UDP {check.udp} did not answer")
            return outcome(PASSING, f"UDP datagram to {check.udp} was not refused")
        finally:
            transport.abort()
        if check.expected_body and not holds(check.expected_body, answer):
            return outcome(CRITICAL, f"UDP {check.udp} answered what does not match {check.expected_body}")
        return outcome(PASSING, f"UDP {check.udp} answered")


class _Asked(asyncio.DatagramProtocol):
    """Waits for the first datagram, or the refusal the host sends for a closed port."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's
        """asyncio calls it."""
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, error: Exception) -> None:
        """asyncio calls it."""
        if not self.answer.done():
            self.answer.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
