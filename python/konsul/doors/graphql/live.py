"""One subscription under way: opened, read event by event, closed. Whoever opens it closes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from graphql import ExecutionResult, GraphQLError, create_source_event_stream, execute_subscription_event

from konsul.doors.graphql.execution import Body, build, count_errors, told, too_long
from konsul.kernel.watching import client_of

if TYPE_CHECKING:
    from graphql.execution import Executor

    from konsul.doors.graphql.door import Door
    from konsul.doors.graphql.operation import Operation, Prepared


class Ended(Exception):
    """The subscription ends with errors instead of by itself."""

    def __init__(self, errors: list[Body]) -> None:
        super().__init__("the subscription ended")
        self.errors = errors


class Live:
    """A subscription of one client. Used as a context manager; iterated for the bodies of its events."""

    def __init__(self, door: Door, prepared: Prepared, operation: Operation) -> None:
        self._door = door
        self._prepared = prepared
        self._operation = operation
        self._client = client_of(operation.context)
        self._executor: Executor[Any] | None = None
        self._source: Any = None
        self._is_seated = False

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        """Raises Refused and Broken before anything is watched, Ended when the resolver fails."""
        door, prepared = self._door, self._prepared
        door.seats.take(self._client)
        self._is_seated = True
        door.metering.subscriptions.labels(prepared.field).inc()
        door.metering.buffer.labels(prepared.field).set(door.settings.event_buffer_size)
        self._executor = build(door, prepared, self._operation)
        source: Any = create_source_event_stream(self._executor)
        if prepared.ready.is_awaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            raise self._ended(source.errors or [])
        self._source = source

    async def close(self) -> None:
        """Ends it; nothing is watched any more. Again: does nothing."""
        source, self._source = self._source, None
        if self._is_seated:
            self._is_seated = False
            self._door.seats.give(self._client)
            self._door.metering.subscriptions.labels(self._prepared.field).dec()
        if hasattr(source, "aclose"):
            with suppress(Exception):
                await source.aclose()

    async def bodies(self) -> AsyncIterator[Body]:
        """The answer to each event. Raises Ended when the source fails: its errors are for the client."""
        metering, kind = self._door.metering, self._prepared.field
        while True:
            try:
                payload = await anext(self._source)
            except StopAsyncIteration:
                return
            except Exception as error:
                located = GraphQLError(str(error), path=[kind], original_error=error)
                raise self._ended([located]) from None
            arrived_s = time.perf_counter()
            metering.published.labels(kind).inc()
            # What was loaded for the event before may have changed since.
            self._operation.forget()
            yield await self._answer(payload)
            # Asked for the next one: this one was taken by the connection.
            metering.events.labels(kind).inc()
            metering.event_latency.labels(kind).observe(time.perf_counter() - arrived_s)

    async def _answer(self, payload: object) -> Body:
        door, prepared = self._door, self._prepared
        assert self._executor is not None  # noqa: S101 - opened
        try:
            async with asyncio.timeout(door.settings.execution_timeout_ms / 1_000):
                result: Any = execute_subscription_event(self._executor.build_per_event_executor(payload))
                if prepared.ready.is_awaitable(result):
                    result = await result
        except TimeoutError:
            return too_long(door).body()
        errors = told(result.errors or (), self._operation)
        count_errors(door, prepared.label, errors)
        return {"errors": errors, "data": result.data} if errors else {"data": result.data}

    def _ended(self, errors: list[GraphQLError]) -> Ended:
        bodies = told(errors, self._operation)
        count_errors(self._door, self._prepared.label, bodies)
        if any(one["extensions"]["code"] == "COMPACTED" for one in bodies):
            self._door.metering.dropped.labels(self._prepared.field, "compacted").inc()
        return Ended(bodies)
