"""One WebSocket: a small state machine without a task of its own; each operation under way has one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import orjson

from konsul.doors.graphql.dialects import (
    ACK,
    BAD_MESSAGE,
    ID_TAKEN,
    TOO_MANY_INITS,
    UNAUTHORISED,
    Dialect,
    Meaning,
)
from konsul.doors.graphql.operation import SUBSCRIPTION, Asked, asked_of
from konsul.doors.graphql.refusals import UNPROCESSABLE, Refused, over
from konsul.doors.graphql.room import Room
from konsul.errors import KonsulError, Unauthenticated
from konsul.kernel.context import Context
from konsul.kernel.lines import HIGH_WATER_BYTES, REFUSED, SERVER_ERROR, Line, LineUser
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import Act, Identity, note_act
from konsul.kernel.route_classes import GRAPHQL

if TYPE_CHECKING:
    from konsul.doors.graphql.sockets import Sockets

PATH: Final = b"/graphql"
_ID_CHARS: Final = 256
_TOKENS: Final = ("authorization", "Authorization", "token", "authToken", "auth_token")
_UNREAD_BYTES: Final = 4 * HIGH_WATER_BYTES
"""Who asks more while so much waits unread is not listening."""


class Socket(LineUser):
    """The server's side of a connection in one of the two dialects."""

    __slots__ = (
        "_acked",
        "_asked_to_begin",
        "_line",
        "_operations",
        "_sockets",
        "address",
        "beat_s",
        "dialect",
        "heard_s",
        "identity",
        "opened_s",
        "request_id",
        "room",
        "used_s",
    )  # fmt: skip

    def __init__(self, sockets: Sockets, dialect: Dialect, identity: Identity, address: str) -> None:
        self._sockets = sockets
        self.dialect = dialect
        self.identity = identity
        self._line: Line | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._asked_to_begin = self._acked = False
        self.address = address
        self.request_id = str(uuid4())
        self.room = Room()
        self.opened_s = self.heard_s = self.used_s = self.beat_s = asyncio.get_running_loop().time()

    @property
    def is_acked(self) -> bool:
        """True once the client was let in."""
        return self._acked

    @property
    def is_busy(self) -> bool:
        """True while an operation is under way."""
        return bool(self._operations)

    # What the line tells

    def opened(self, line: Line) -> None:
        """See `LineUser`."""
        self._line = line
        self._sockets.add(self)

    def message(self, data: str | bytes) -> None:
        """See `LineUser`."""
        line = self._line
        if line is None:
            return
        self.heard_s = asyncio.get_running_loop().time()
        if self.room.since_s and line.queued_bytes > _UNREAD_BYTES:
            self.close(REFUSED, "asks without reading the answers")
            return
        try:
            value = orjson.loads(data) if isinstance(data, str) else None
        except orjson.JSONDecodeError:
            value = None
        kind = value.get("type") if isinstance(value, dict) else None
        meaning = self.dialect.meanings.get(kind) if isinstance(kind, str) else None
        if meaning is None or not isinstance(value, dict):
            self.close(BAD_MESSAGE, "not a message of " + self.dialect.name)
            return
        self._act(meaning, value, len(data))

    def drained(self) -> None:
        """See `LineUser`."""
        self.room.open()

    def beat(self) -> None:
        """See `LineUser`. The sweep of all sockets keeps them alive, at an interval of its own."""

    def closed(self, reason: str) -> None:
        """See `LineUser`."""
        self._line = None
        operations, self._operations = self._operations, {}
        for task in operations.values():
            task.cancel()
        self.room.open()
        self._sockets.remove(self, reason)

    # What it does

    def close(self, code: int, reason: str) -> None:
        """Ends the connection."""
        if self._line is not None:
            self._line.close(code, reason)

    def send(self, data: bytes) -> None:
        """Queues one message."""
        if self._line is not None and not self._line.send(data):
            self.room.close()

    def _act(self, meaning: Meaning, value: dict[str, Any], size_bytes: int) -> None:
        payload = value.get("payload")
        if meaning == "init":
            self._begin(payload)
        elif meaning == "ping":
            self.send(self.dialect.pong(payload))
        elif meaning == "goodbye":
            self.close(1000, "goodbye")
        elif meaning == "start":
            self._start(value.get("id"), payload, size_bytes)
        elif meaning == "stop":
            self._stop(value.get("id"))

    def _begin(self, payload: object) -> None:
        if self._asked_to_begin:
            self.close(TOO_MANY_INITS, "Too many initialisation requests")
            return
        self._asked_to_begin = True
        if payload is not None and not isinstance(payload, dict):
            self.close(BAD_MESSAGE, "the payload of connection_init must be an object")
            return
        try:
            self.identity = self._sockets.identify(self.identity, _token_of(payload or {}))
        except KonsulError as error:
            if not isinstance(error, Unauthenticated):
                # Who calls cannot be found out now: nobody is let in, and the words say why.
                self.close(SERVER_ERROR, str(error))
                return
            self._failed_to_prove(error)
            if self.dialect.says_refused:
                refusal = {"message": "unauthorized", "extensions": {"code": "UNAUTHORIZED"}}
                self.send(orjson.dumps({"type": "connection_error", "payload": refusal}))
            self.close(UNAUTHORISED, "Unauthorized")
            return
        self._acked = True
        self._sockets.known(self)
        self.send(ACK)
        if self.dialect.says_refused:
            # The older protocol's clients expect a sign of life right after they were let in.
            self.send(self.dialect.sign_of_life)

    def _start(self, key: object, payload: object, size_bytes: int) -> None:
        if not self._acked:
            self.close(UNAUTHORISED, "Unauthorized")
            return
        if not self._is_still():
            return
        if not isinstance(key, str) or not 0 < len(key) <= _ID_CHARS:
            self.close(BAD_MESSAGE, f"an id must be a string of 1 to {_ID_CHARS} characters")
            return
        try:
            asked = asked_of(payload, size_bytes)
        except Refused as refused:
            self.close(BAD_MESSAGE, str(refused)[:100])
            return
        if key in self._operations:
            if not self.dialect.replaces:
                self.close(ID_TAKEN, f"Subscriber for {key[:64]} already exists")
                return
            self._stop(key)
        limit = self._sockets.door.settings.ws_max_operations
        if len(self._operations) >= limit:
            found = f"{limit} operations are under way on this connection"
            setting = "KONSUL_GRAPHQL_WS_MAX_OPERATIONS"
            self._refuse(key, over("OPERATION_LIMIT_EXCEEDED", found, limit, setting))
            return
        self._operations[key] = asyncio.create_task(self._run(key, asked), name="graphql operation")

    def _stop(self, key: object) -> None:
        task = self._operations.pop(key, None) if isinstance(key, str) else None
        if task is not None:
            task.cancel()
            self.used_s = self.heard_s

    def _refuse(self, key: str, refused: Refused) -> None:
        self._sockets.door.refused(refused)
        self.send(self.dialect.error(key, [refused.told()]))

    def refuse(self, error: KonsulError) -> None:
        """See `konsul.kernel.identities.Holder`."""
        self._failed_to_prove(error)
        self.close(UNAUTHORISED, str(error))

    def _is_still(self) -> bool:
        """Whether the client is who it was; closes the connection of who is not."""
        renew = self._sockets.door.kernel.pipeline.renew
        try:
            if renew is not None:
                self.identity = renew(self.identity)
        except KonsulError as error:
            self.refuse(error)
            return False
        return True

    def _failed_to_prove(self, error: KonsulError) -> None:
        """Tells the audit that somebody is not who they say."""
        context = self._context()
        note_act(context.noted, Act("auth.failed", (), "denied", getattr(error, "reason", "") or str(error)))
        context.pipeline.record_acts(context, PATH)

    def _context(self) -> Context:
        about = {"identity": self.identity, "request_id": self.request_id, "client": self.address}
        return Context.within(self._sockets.door.kernel, about)

    async def _run(self, key: str, asked: Asked) -> None:
        """One operation, from its start to its last message."""
        own = asyncio.current_task()
        try:
            await self.room.wait()
            last = await self._execute(key, asked)
        except asyncio.CancelledError:
            raise
        except Refused as refused:
            self._sockets.door.refused(refused)
            last = self.dialect.error(key, [refused.told()])
        except KonsulError as error:
            last = self.dialect.error(key, [_told(error)])
        except Exception as error:
            logger().error("graphql operation failed", request_id=self.request_id, exc_info=error)
            told = {"message": "internal system error", "extensions": {"code": "INTERNAL_ERROR"}}
            last = self.dialect.error(key, [told])
        # Stopped meanwhile: its id may be in use again.
        if self._operations.get(key) is own:
            del self._operations[key]
            self.used_s = asyncio.get_running_loop().time()
            self.send(last)

    async def _execute(self, key: str, asked: Asked) -> bytes:
        """Sends the answers; returns the message that ends the operation. Raises Refused, KonsulError."""
        await self._sockets.door.schema.get()
        context = self._context()
        try:
            context.pipeline.charge(context, GRAPHQL, 1)
            return await self._executed(key, asked, context)
        finally:
            context.pipeline.record_acts(context, PATH)

    async def _executed(self, key: str, asked: Asked, context: Context) -> bytes:
        from konsul.doors.graphql import execution
        from konsul.doors.graphql.documents import Broken
        from konsul.doors.graphql.live import Ended, Live

        door = self._sockets.door
        try:
            prepared = await execution.prepare(door, asked)
            execution.charge(prepared, context)
            operation = door.operation(context, "graphql")
            if prepared.kind != SUBSCRIPTION:
                status, body = await execution.answer(door, prepared, operation)
                if status == UNPROCESSABLE:
                    return self.dialect.error(key, body["errors"])
                self.send(self.dialect.next(key, body))
                return self.dialect.complete(key)
            async with Live(door, prepared, operation) as live:
                context.pipeline.record_acts(context, PATH)
                async for body in live.bodies():
                    self.send(self.dialect.next(key, body))
                    await self.room.wait()
            return self.dialect.complete(key)
        except Broken as broken:
            errors = execution.told(broken.errors, None)
            execution.count_errors(door, door.metering.names.label(""), errors)
            return self.dialect.error(key, errors)
        except Ended as ended:
            return self.dialect.error(key, ended.errors)


def _told(error: KonsulError) -> dict[str, Any]:
    """A refusal of the pipeline, as an error of GraphQL."""
    from konsul.doors.graphql.failures import CODES, INTERNAL

    return {"message": str(error), "extensions": {"code": CODES.get(type(error), INTERNAL)}}


def _token_of(payload: dict[str, Any]) -> bytes | None:
    """The credentials among the connection's parameters, as a header: browsers can only send them there."""
    for name in _TOKENS:
        token = payload.get(name)
        if isinstance(token, str) and token:
            text = token if " " in token else f"Bearer {token}"
            return text.encode("utf-8", "surrogatepass")
    return None
