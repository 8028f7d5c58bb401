"""One GraphQL subscription as a generator of effects: over graphql-transport-ws, or over server-sent events.

It is not resumed: what an operation selects need not hold an index. Who must not miss anything watches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from typing import Any

from konsul import errors
from konsul.client.course import Course
from konsul.client.exchange import Lost, Policy, Unsent, unreachable
from konsul.client.failure import error_of
from konsul.client.graphql_calls import GraphQLAnswer, answer_in, answer_of, object_of, payload, posted
from konsul.client.pursuit import (
    PASSING,
    Effect,
    Listen,
    Open,
    Opened,
    Pause,
    Pursuit,
    Reaction,
    Speak,
    Tell,
    Transport,
    stream_error,
)
from konsul.client.request import Answer, Request
from konsul.client.sse import Heard

SUBPROTOCOL = "graphql-transport-ws"
INIT = json.dumps({"type": "connection_init", "payload": {}})
PONG = json.dumps({"type": "pong"})
CODES: Mapping[int, type[errors.KonsulError]] = {
    1013: errors.RateLimited,
    4400: errors.Invalid,
    4401: errors.Unauthenticated,
    4403: errors.Forbidden,
    4429: errors.RateLimited,
}
"""Why a server closes: the codes of graphql-transport-ws, 4429 for too many, 1013 when the node is full."""


class Subscribing:
    """The course of one subscription. Raises Invalid for an empty query or an unknown transport."""

    def __init__(
        self,
        query: str,
        variables: Mapping[str, Any] | None,
        operation_name: str | None,
        transport: Transport,
        course: Course,
        policy: Policy,
        jitter: Callable[[], float],
    ) -> None:
        if transport not in ("sse", "websocket"):
            raise errors.Invalid(f"transport {transport!r} is neither sse nor websocket")
        self._body = payload(query, variables, operation_name)
        self._transport: Transport = transport
        self._course, self._policy, self._jitter = course, policy, jitter
        self._address = course.address
        self._was_answered = False

    @property
    def index(self) -> int:
        """0: a subscription has no index."""
        return 0

    def steps(self) -> Pursuit:
        """The effects. Raises the error of `konsul.errors` that ended it; ends when the server says so."""
        if (yield from self._connect()):
            return
        if self._transport == "websocket":
            yield Speak(INIT)
        while True:
            heard = yield Listen()
            if not isinstance(heard, tuple):
                raise self._ended(heard)
            for one in heard:
                if (yield from self._understand(one)):
                    return

    def _connect(self) -> Generator[Effect, Reaction, bool]:
        """True when the operation was answered at once, with what is wrong with it."""
        if self._transport == "websocket":
            request, subprotocol = Request("GET", "/graphql", "GET /graphql"), SUBPROTOCOL
        else:
            request, subprotocol = posted(self._body, repeatable=True), None
        attempt = 0
        while True:
            reply = yield Open(f"{self._address}{request.path}", request, self._transport, subprotocol)
            if isinstance(reply, Opened):
                return False
            refused = answer_in(reply) if isinstance(reply, Answer) else None
            if refused is not None:
                yield Tell(refused)
                return True
            error = error_of(reply, request) if isinstance(reply, Answer) else self._ended(reply)
            attempt += 1
            if not isinstance(error, PASSING) or attempt > self._policy.retries * len(self._course.addresses):
                raise error
            self._address = self._course.leave(self._address)
            yield Pause(self._policy.pause_s(attempt, self._jitter()))

    def _understand(self, heard: Heard) -> Generator[Effect, Reaction, bool]:
        """True when the operation is over."""
        document = object_of(heard.data) if heard.data else {}
        # Server-sent events name what WebSocket messages call their type, and have no envelope.
        kind = heard.name or document.get("type", "")
        content: Any = document if heard.name else document.get("payload")
        if kind == "connection_ack":
            yield Speak(json.dumps({"id": "1", "type": "subscribe", "payload": self._body}))
        elif kind == "ping":
            yield Speak(PONG)
        elif kind == "next":
            self._was_answered = True
            yield Tell(answer_of(content or {}))
        elif kind == "error":
            yield Tell(GraphQLAnswer(None, tuple(content or ())))
        elif kind == "closed":
            raise errors.Unreachable(f"the server ended the subscription: {document.get('reason', '')}")
        elif "error" in document:
            raise stream_error(document)
        return kind in ("complete", "error")

    def _ended(self, reply: Reaction) -> errors.KonsulError:
        lost = reply if isinstance(reply, (Lost, Unsent)) else None
        if isinstance(lost, Lost) and lost.code in CODES:
            return CODES[lost.code](lost.reason)
        # What has been answered before is a subscription, and writes nothing; else it may be a mutation.
        return unreachable(lost, self._address, writes=not self._was_answered)
