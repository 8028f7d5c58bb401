"""Who a WebSocket's client is: its headers, or what it sends as it begins."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from konsul.doors.graphql.dialects import LEGACY_WS, TRANSPORT_WS, Dialect
from konsul.doors.graphql.socket import Socket
from konsul.doors.graphql.sockets import Sockets
from konsul.errors import NoLeader, Unauthenticated
from konsul.kernel.lines import Line
from konsul.kernel.pipeline import ANONYMOUS, Identity, Pipeline
from tests.played_audit import PlayedAudit

GOOD = b"Bearer good"
ANN, BEN = Identity("user", "ann"), Identity("user", "ben")


class PlayedLine:
    """A connection that only remembers."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.queued_bytes = 0

    def send(self, data: bytes) -> bool:
        self.sent.append(json.loads(data))
        return True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class PlayedSockets:
    """Lets in who brings the right token, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[bytes | None] = []
        self.audit = PlayedAudit()
        kernel = SimpleNamespace(engine=None, config=None, pipeline=Pipeline(audit=self.audit))
        self.door = SimpleNamespace(kernel=kernel)

    def add(self, socket: Socket) -> None:
        pass

    def known(self, socket: Socket) -> None:
        pass

    def identify(self, identity: Identity, authorization: bytes | None) -> Identity:
        self.shown.append(authorization)
        if authorization == b"Bearer unknowable":
            raise NoLeader("no leader is known")
        if authorization is not None and authorization != GOOD:
            raise Unauthenticated("no")
        if authorization is None and identity is ANONYMOUS:
            raise Unauthenticated("missing authorization header")
        return ANN if authorization else identity


def begun(dialect: Dialect, known: Identity, payload: object) -> tuple[PlayedLine, PlayedSockets]:
    """What became of a connection of whom the front knows so, that begins with this payload."""

    async def run() -> tuple[PlayedLine, PlayedSockets]:
        line, sockets = PlayedLine(), PlayedSockets()
        socket = Socket(cast(Sockets, sockets), dialect, known, "10.0.0.1")
        socket.opened(cast(Line, line))
        socket.message(json.dumps({"type": "connection_init", "payload": payload}))
        return line, sockets

    return asyncio.run(run())


@pytest.mark.parametrize("dialect", [TRANSPORT_WS, LEGACY_WS], ids=lambda one: one.name)
@pytest.mark.parametrize(
    ("known", "payload"),
    [
        (ANN, None),
        (ANN, {"other": 7}),
        (ANONYMOUS, {"authorization": "Bearer good"}),
        (ANONYMOUS, {"Authorization": "Bearer good"}),
        (ANONYMOUS, {"token": "good"}),
        (BEN, {"token": "good"}),
    ],
)
def test_credentials_come_from_either(dialect: Dialect, known: Identity, payload: object) -> None:
    line, _ = begun(dialect, known, payload)
    assert line.closed is None
    assert line.sent[0] == {"type": "connection_ack"}


@pytest.mark.parametrize(
    ("known", "payload"),
    [(ANONYMOUS, None), (ANONYMOUS, {"token": "bad"}), (ANONYMOUS, {"token": 7}), (ANN, {"token": "bad"})],
)
def test_without_them_the_connection_ends(known: Identity, payload: object) -> None:
    line, sockets = begun(TRANSPORT_WS, known, payload)
    assert line.closed == (4401, "Unauthorized")
    assert line.sent == []
    assert sockets.audit.events == [(known.id, "auth.failed", [], "denied")]


def test_who_cannot_be_found_out_is_not_let_in() -> None:
    line, _ = begun(TRANSPORT_WS, ANONYMOUS, {"token": "unknowable"})
    assert line.closed == (1011, "no leader is known")
    assert line.sent == []


def test_the_older_dialect_is_told_why() -> None:
    line, _ = begun(LEGACY_WS, ANONYMOUS, None)
    assert line.closed == (4401, "Unauthorized")
    assert [one["type"] for one in line.sent] == ["connection_error"]
    assert line.sent[0]["payload"]["extensions"]["code"] == "UNAUTHORIZED"


def test_a_scheme_of_its_own_is_passed_on() -> None:
    _, sockets = begun(TRANSPORT_WS, ANONYMOUS, {"token": "ApiKey k"})
    assert sockets.shown == [b"ApiKey k"]


@pytest.mark.parametrize("payload", ["text", 7, []])
def test_parameters_are_an_object(payload: object) -> None:
    line, sockets = begun(TRANSPORT_WS, ANN, payload)
    assert line.closed is not None
    assert line.closed[0] == 4400
    assert sockets.shown == []
