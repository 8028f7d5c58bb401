"""The two protocols of GraphQL over WebSocket: what their messages are called and how they look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

Meaning: TypeAlias = Literal["init", "start", "stop", "ping", "pong", "goodbye"]

ACK: Final = b'{"type":"connection_ack"}'
BAD_MESSAGE: Final = 4400
UNAUTHORISED: Final = 4401
BAD_SUBPROTOCOL: Final = 4406
INIT_TIMEOUT: Final = 4408
ID_TAKEN: Final = 4409
TOO_MANY_INITS: Final = 4429


@dataclass(frozen=True, slots=True)
class Dialect:
    """One sub-protocol. `meanings`: what a client's message types mean."""

    name: str
    meanings: Mapping[str, Meaning]
    answer: str
    """The type of a message with an operation's answer."""
    sign_of_life: bytes
    replaces: bool
    """True: an operation under an id that is taken ends the one before. False: it ends the connection."""
    one_error: bool
    """True: an error message holds one error, not a list."""
    says_refused: bool
    """True: a refused connection is told so in a message before it is closed."""

    def next(self, key: str, body: Mapping[str, Any]) -> bytes:
        """One answer."""
        return orjson.dumps({"id": key, "type": self.answer, "payload": body})

    def error(self, key: str, errors: list[dict[str, Any]]) -> bytes:
        """The operation was not executed, or ends with errors; nothing more comes for it."""
        return orjson.dumps({"id": key, "type": "error", "payload": errors[0] if self.one_error else errors})

    def complete(self, key: str) -> bytes:
        """Nothing more comes for the operation."""
        return orjson.dumps({"id": key, "type": "complete"})

    def pong(self, payload: object) -> bytes:
        """The answer to a ping."""
        return orjson.dumps({"type": "pong", "payload": payload} if payload is not None else {"type": "pong"})


TRANSPORT_WS: Final = Dialect(
    name="graphql-transport-ws",
    meanings={
        "connection_init": "init",
        "subscribe": "start",
        "complete": "stop",
        "ping": "ping",
        "pong": "pong",
    },
    answer="next",
    sign_of_life=b'{"type":"ping"}',
    replaces=False,
    one_error=False,
    says_refused=False,
)
LEGACY_WS: Final = Dialect(
    name="graphql-ws",
    meanings={
        "connection_init": "init",
        "start": "start",
        "stop": "stop",
        "connection_terminate": "goodbye",
    },
    answer="data",
    sign_of_life=b'{"type":"ka"}',
    replaces=True,
    one_error=True,
    says_refused=True,
)
BY_PREFERENCE: Final = (TRANSPORT_WS, LEGACY_WS)


def pick(offered: list[str]) -> Dialect | None:
    """The newer of those a client offers, or None."""
    return next((one for one in BY_PREFERENCE if one.name in offered), None)
