"""GraphQL over server-sent events, one operation per connection: `next` for each answer, then `complete`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from konsul.doors.graphql import execution
from konsul.doors.graphql.live import Ended, Live
from konsul.doors.graphql.operation import SUBSCRIPTION, Operation, Prepared
from konsul.doors.graphql.room import Room
from konsul.kernel.lines import Line, LineUser, open_stream
from konsul.kernel.logging import logger

if TYPE_CHECKING:
    from konsul.doors.graphql.door import Door

_COMPLETE: Final = b"event: complete\ndata:\n\n"
_SIGN_OF_LIFE: Final = b":\n\n"


async def stream(door: Door, request: Request, prepared: Prepared, operation: Operation) -> Response:
    """Answers with an event stream. Raises Refused and Broken as a plain answer would be refused."""
    live: Live | None = None
    try:
        if prepared.kind == SUBSCRIPTION:
            live = Live(door, prepared, operation)
            await live.__aenter__()
    finally:
        # What was opened is the request's doing: the audit is told when the head of the answer goes out.
        acts = operation.context.noted.pop("acts", ())
        request.scope.get("konsul", {}).setdefault("acts", []).extend(acts)
    try:
        return await open_stream(request, _Stream(door, prepared, operation, live))
    except BaseException:
        if live is not None:
            await live.close()
        raise


class _Stream(LineUser):
    """Writes one operation's answers."""

    def __init__(self, door: Door, prepared: Prepared, operation: Operation, live: Live | None) -> None:
        self._door = door
        self._prepared = prepared
        self._operation = operation
        self._live = live
        self._room = Room()
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._line: Line | None = None

    def opened(self, line: Line) -> None:
        """See `LineUser`."""
        self._line = line
        self._task = asyncio.create_task(self._run(line), name="graphql stream")
        # Not in the task: one that is cancelled before it began would never come to it.
        self._task.add_done_callback(self._done)

    def drained(self) -> None:
        """See `LineUser`."""
        self._room.open()

    def beat(self) -> None:
        """See `LineUser`."""
        if self._line is not None:
            self._line.send(_SIGN_OF_LIFE)

    def farewell(self, reason: str) -> bytes:
        """See `LineUser`. The client is not told `complete`: it may connect again, elsewhere."""
        return b": closed: %b\n\n" % reason.encode()

    def closed(self, reason: str) -> None:  # noqa: ARG002 - the protocol's
        """See `LineUser`."""
        self._line = None
        if self._task is not None:
            self._task.cancel()

    def _done(self, _: asyncio.Task[None]) -> None:
        if self._live is not None:
            self._closing = asyncio.create_task(self._live.close(), name="graphql stream's end")

    async def _run(self, line: Line) -> None:
        try:
            if self._live is None:
                _, body = await execution.answer(self._door, self._prepared, self._operation)
                line.send(_next(body))
            else:
                await self._events(line, self._live)
            line.send(_COMPLETE)
            line.close()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger().error("graphql stream failed", error=str(error), exc_info=error)
            line.close(reason="internal error")

    async def _events(self, line: Line, live: Live) -> None:
        try:
            async for body in live.bodies():
                if not line.send(_next(body)):
                    self._room.close()
                await self._room.wait()
        except Ended as ended:
            line.send(_next({"errors": ended.errors, "data": None}))


def _next(body: execution.Body) -> bytes:
    return b"event: next\ndata: %b\n\n" % orjson.dumps(body)
