"""UDP: what has come is answered in one go, a bounded number of questions before others have their turn."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from konsul.doors.dns.door import DnsDoor

_AT_ONCE: Final = 64
"""Questions per turn of the loop: about a millisecond, so that HTTP's connections do not wait for longer."""
_QUESTION_MAX_BYTES: Final = 4_096
_BUFFER_BYTES: Final = 4 << 20
"""Asked of the system for what comes while the loop is busy; it gives what it allows."""


class UdpSocket:
    """One bound socket. For the loop's thread."""

    def __init__(self, door: DnsDoor, line: socket.socket) -> None:
        self._door = door
        self._line = line
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)

    def start(self) -> None:
        """Takes questions from now on."""
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._take)

    def stop(self) -> None:
        """Takes no more. Again: does nothing."""
        if self._line.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._line.close()

    def send(self, answer: bytes, client: Any) -> None:
        """Sends one answer; what the system does not take is lost, as anything over UDP may be."""
        try:
            self._line.sendto(answer, client)
        except OSError:
            self._door.counters.dropped["not_sent"] += 1

    def _take(self) -> None:
        receive, answer = self._line.recvfrom, self._door.datagram
        for _ in range(_AT_ONCE):
            try:
                data, client = receive(_QUESTION_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                # The system tells so that an earlier answer did not arrive.
                continue
            found = answer(data, client, self)
            if found is not None:
                self.send(found, client)
