"""One WebSocket to `/graphql`, spoken by hand: every message is seen."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

WAIT_S = 30.0
TRANSPORT = "graphql-transport-ws"
LEGACY = "graphql-ws"


def code_of(body: Any) -> str:
    """The code of an answer's only error."""
    (error,) = body["errors"]
    return str(error["extensions"]["code"])


class Speaker:
    """A client in one of the dialects; `dialect` may be any text, or empty for none."""

    def __init__(
        self, port: int, dialect: str = TRANSPORT, offers: list[str] | None = None, **options: Any
    ) -> None:
        self.dialect = dialect
        offered = offers or ([dialect] if dialect else [])
        self._held = ExitStack()
        self.socket: ClientConnection = self._held.enter_context(
            connect(
                f"ws://127.0.0.1:{port}/graphql",
                subprotocols=[Subprotocol(name) for name in offered] or None,
                proxy=None,
                close_timeout=2,
                **options,
            )
        )

    def say(self, kind: str, **members: object) -> None:
        """Sends one message."""
        self.socket.send(json.dumps({"type": kind, **members}))

    def hear(self) -> Any:
        """The next message that is no sign of life."""
        while True:
            message = json.loads(self.socket.recv(timeout=WAIT_S))
            if message["type"] not in ("ping", "ka"):
                return message

    def begin(self, payload: object = None) -> Speaker:
        """Opens the connection at the level of the dialect."""
        self.say("connection_init", **({} if payload is None else {"payload": payload}))
        assert self.hear()["type"] == "connection_ack"
        return self

    def start(self, key: str, query: str, **members: object) -> None:
        """Starts an operation."""
        kind = "start" if self.dialect == LEGACY else "subscribe"
        self.say(kind, id=key, payload={"query": query, **members})

    def stop(self, key: str) -> None:
        """Ends an operation."""
        self.say("stop" if self.dialect == LEGACY else "complete", id=key)

    def answer(self, key: str, query: str, **members: object) -> Any:
        """Runs a query or mutation; its answer."""
        self.start(key, query, **members)
        message = self.hear()
        assert message["id"] == key
        assert message["type"] in ("next", "data")
        assert self.hear() == {"id": key, "type": "complete"}
        return message["payload"]

    def ended(self) -> tuple[int, str]:
        """The code and the reason the server closed with; messages before it are skipped."""
        try:
            while True:
                self.socket.recv(timeout=WAIT_S)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "")

    def sign_of_life(self) -> str:
        """The type of the next message, whatever it is."""
        return str(json.loads(self.socket.recv(timeout=WAIT_S))["type"])

    def answering_pings(self) -> tuple[int, str]:
        """Answers pings, and does nothing else, until the server closes; with what."""
        try:
            while True:
                if self.sign_of_life() == "ping":
                    self.say("pong")
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "")

    def hang_up(self) -> None:
        """Closes the connection."""
        self._held.close()
