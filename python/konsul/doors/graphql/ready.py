"""The schema as the door uses it: built when first needed, in a thread, once; its root fields are timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from konsul.kernel.logging import logger

if TYPE_CHECKING:
    import strawberry
    from graphql import GraphQLField

    from konsul.kernel.graphql_settings import GraphqlSettings

Measure: TypeAlias = "Callable[[str, str, Any, float, BaseException | None], None]"
"""Told of a root field: its kind of operation, its name, what it answered, seconds, what it raised."""


class Ready:
    """What operations are executed with."""

    __slots__ = ("documents", "executor_class", "is_awaitable", "schema")

    def __init__(self, built: strawberry.Schema, settings: GraphqlSettings) -> None:
        from strawberry.execution import optimized_is_awaitable

        from konsul.doors.graphql.documents import Documents

        self.schema = built._schema
        self.executor_class: Any = built.execution_context_class
        self.is_awaitable = optimized_is_awaitable
        self.documents = Documents(self.schema, settings)


class LazySchema:
    """Builds the schema when it is first wanted. A build that failed is tried again by the next request."""

    def __init__(
        self, build: Callable[[], strawberry.Schema], settings: GraphqlSettings, measure: Measure
    ) -> None:
        self._build = build
        self._settings = settings
        self._measure = measure
        self._task: asyncio.Task[Ready] | None = None
        self.ready: Ready | None = None

    async def get(self) -> Ready:
        """The schema. Many may wait for one build."""
        if self.ready is not None:
            return self.ready
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(self._make), name="graphql schema")
        task = self._task
        try:
            # One client that goes away must not stop the build that the others wait for.
            self.ready = await asyncio.shield(task)
        finally:
            if task.done() and self._task is task:
                self._task = None
        return self.ready

    def _make(self) -> Ready:
        began_s = time.monotonic()
        ready = Ready(self._build(), self._settings)
        for kind, root in (("query", ready.schema.query_type), ("mutation", ready.schema.mutation_type)):
            for name, field in (root.fields if root is not None else {}).items():
                _measured(kind, name, field, self._measure)
        logger().info("graphql schema built", took_ms=round((time.monotonic() - began_s) * 1_000))
        return ready


def _measured(kind: str, name: str, field: GraphQLField, measure: Measure) -> None:
    """Times a root field's resolver, whether it answers at once or later."""
    inner = field.resolve
    if inner is None:
        return

    async def later(answer: Awaitable[Any], began_s: float) -> Any:
        try:
            found = await answer
        except BaseException as error:
            measure(kind, name, None, time.perf_counter() - began_s, error)
            raise
        measure(kind, name, found, time.perf_counter() - began_s, None)
        return found

    def resolve(source: Any, info: Any, **arguments: Any) -> Any:
        began_s = time.perf_counter()
        info.context.enter(kind)
        try:
            answer = inner(source, info, **arguments)
        except BaseException as error:
            measure(kind, name, None, time.perf_counter() - began_s, error)
            raise
        if hasattr(answer, "__await__"):
            return later(answer, began_s)
        measure(kind, name, answer, time.perf_counter() - began_s, None)
        return answer

    field.resolve = resolve
