"""How the node is, told to a client that did not read for a while."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from konsul.features.watch import health
from konsul.features.watch.framing import SocketFraming
from konsul.kernel.line import Line
from konsul.kernel.lines import Lines
from konsul.kernel.watch_settings import WatchSettings


class Kernel:
    def __init__(self) -> None:
        self.lines = Lines(WatchSettings())


class Wire:
    """Stands for a line; `has_room` says whether the client reads."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.has_room = True

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return self.has_room


def test_who_reads_again_is_told_how_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    state = [b"{}"]
    monkeypatch.setattr(health, "document", lambda kernel: state[0])  # noqa: ARG005 - the real one's

    async def story() -> None:
        wire = Wire()
        teller = health.HealthTeller(cast(Any, Kernel()), SocketFraming())
        teller.opened(cast(Line, wire))
        wire.has_room = False
        teller.now()
        await asyncio.sleep(0)
        assert wire.sent == [b"{}\n"]
        state[0] = b'{"degraded":1}'
        teller.now()
        state[0] = b'{"degraded":2}'
        teller.now()
        await asyncio.sleep(0)
        assert len(wire.sent) == 1, "it reads nothing, so nothing waits for it"
        wire.has_room = True
        teller.drained()
        await asyncio.sleep(0)
        assert wire.sent[1:] == [b'{"degraded":2}\n']
        teller.drained()
        await asyncio.sleep(0)
        assert len(wire.sent) == 2, "once"

    asyncio.run(story())
