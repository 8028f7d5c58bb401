"""Prepares and executes operations within the limits. Imports the GraphQL libraries: import it late."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
from graphql import GraphQLError, GraphQLSyntaxError, execute_root_selection_set

from konsul.doors.graphql.documents import Broken, root_fields
from konsul.doors.graphql.failures import INTERNAL, PARSE_FAILED, VALIDATION_FAILED, tell
from konsul.doors.graphql.operation import MUTATION, QUERY, SUBSCRIPTION, Asked, Operation, Prepared
from konsul.doors.graphql.persisted import hash_in
from konsul.doors.graphql.refusals import OK, UNPROCESSABLE, Refused, not_valid, over, rate_limited
from konsul.errors import RateLimited
from konsul.kernel.context import Context
from konsul.kernel.route_classes import COMPLEXITY
from konsul.kernel.watch_settings import WatchSettings
from konsul.kernel.watching import client_of

if TYPE_CHECKING:
    from graphql.execution import Executor

    from konsul.doors.graphql.door import Door

Body = dict[str, Any]
_DEEPEST_VARIABLE: Final = 64
_MESSAGE_CHARS: Final = 1_000


async def prepare(door: Door, asked: Asked) -> Prepared:
    """Everything before execution. Raises Refused or Broken."""
    wanted = hash_in(asked.extensions)
    query = door.persisted.find(asked.query, wanted)
    check_variables(door, asked)
    ready = await door.schema.get()
    document = await ready.documents.prepare(query)
    definition = document.pick(asked.operation_name)
    kind = definition.operation.value
    if kind == SUBSCRIPTION and not door.kernel.config.of(WatchSettings).enabled:
        raise Refused("SUBSCRIPTIONS_DISABLED", "subscriptions are switched off (KONSUL_WATCH_ENABLED)")
    cost = ready.documents.cost(document, definition, asked.variables)
    door.persisted.learn(query, wanted)
    name = definition.name.value if definition.name else ""
    label = door.metering.names.label(name)
    door.metering.complexity.labels(label).observe(cost)
    door.metering.depth.observe(document.depths.get(name, 0))
    field = getattr(definition.selection_set.selections[0], "name", None)
    first = field.value if field else ""
    return Prepared(ready, document, definition, asked.variables, label, kind, first, cost)


def check_variables(door: Door, asked: Asked) -> None:
    """Raises Refused for variables that are too large, lists too long, or values nested too deep."""
    settings = door.settings
    limit = settings.max_variables_bytes
    if asked.size_bytes > limit and (size := len(orjson.dumps(asked.variables))) > limit:
        found = f"the variables have {size} bytes"
        refused = over("VARIABLES_TOO_LARGE", found, limit, "KONSUL_GRAPHQL_MAX_VARIABLES_BYTES")
        refused.status = UNPROCESSABLE
        raise refused
    waiting: list[tuple[Any, int]] = [(asked.variables, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST_VARIABLE:
            raise not_valid(f"a variable nests more than {_DEEPEST_VARIABLE} levels deep")
        if isinstance(value, list):
            if len(value) > settings.max_list_items:
                found = f"a variable's list has {len(value)} items"
                raise over(
                    "LIST_LIMIT_EXCEEDED", found, settings.max_list_items, "KONSUL_GRAPHQL_MAX_LIST_ITEMS"
                )
            waiting.extend((item, depth + 1) for item in value if isinstance(item, list | dict))
        elif isinstance(value, Mapping):
            waiting.extend((item, depth + 1) for item in value.values() if isinstance(item, list | dict))


def spend(door: Door, prepared: Prepared, context: Context) -> None:
    """Spends the client's rate on a mutation's fields. Raises Refused."""
    if door.mutation_rate is None or prepared.kind != MUTATION:
        return
    count = root_fields(prepared.document, prepared.definition)
    wait_ms = door.mutation_rate.take(client_of(context), count, time.monotonic_ns() // 1_000_000)
    if wait_ms == 0:
        return
    limit = door.settings.mutation_rate_limit
    text = f"more than {limit} mutations a minute (KONSUL_GRAPHQL_MUTATION_RATE_LIMIT)"
    raise rate_limited(text, 60 if wait_ms is None else math.ceil(wait_ms / 1_000))


def charge(prepared: Prepared, context: Context) -> None:
    """Spends the client's rate on how much work one of several operations is. Raises Refused."""
    try:
        context.pipeline.charge(context, COMPLEXITY, prepared.cost)
    except RateLimited as error:
        text = f"rate limit exceeded: the operation's complexity is {prepared.cost}"
        raise rate_limited(text, error.retry_after_s) from None


async def answer(door: Door, prepared: Prepared, operation: Operation) -> tuple[int, Body]:
    """Executes a query or a mutation: the status of HTTP and the body. Never raises for what fails inside."""
    began_s = time.perf_counter()
    status, errors, data = OK, [], None
    try:
        spend(door, prepared, operation.context)
        executor = build(door, prepared, operation)
        async with asyncio.timeout(door.settings.execution_timeout_ms / 1_000):
            result: Any = execute_root_selection_set(executor)
            if prepared.ready.is_awaitable(result):
                result = await result
        data, errors = result.data, told(result.errors or (), operation)
    except Refused as refused:
        status, errors = refused.status, [refused.told()]
    except Broken as broken:
        status, errors = UNPROCESSABLE, told(broken.errors, operation)
    except TimeoutError:
        errors = [too_long(door).told()]
    if prepared.kind == QUERY:
        door.metering.queries.labels(prepared.label, "error" if errors else "success").inc()
        door.metering.query_took.labels(prepared.label).observe(time.perf_counter() - began_s)
    count_errors(door, prepared.label, errors)
    return status, {"errors": errors, "data": data} if errors else {"data": data}


def build(door: Door, prepared: Prepared, operation: Operation) -> Executor[Any]:
    """What graphql-core executes. Raises Broken for variables that do not fit."""
    ready = prepared.ready
    built = ready.executor_class.build(
        ready.schema,
        prepared.document.node,
        context_value=operation,
        raw_variable_values=dict(prepared.variables),
        operation_name=prepared.definition.name.value if prepared.definition.name else None,
        is_awaitable=ready.is_awaitable,
        hide_suggestions=not door.settings.introspection_enabled,
        operation_extensions=None,
    )
    if isinstance(built, list):
        raise Broken(built)
    executor: Executor[Any] = built
    return executor


def told(errors: Iterable[GraphQLError], operation: Operation | None) -> list[Body]:
    """Errors as clients see them, each with its code."""
    found: list[Body] = []
    for error in errors:
        if error.path is None and "code" not in (error.extensions or {}):
            # Without a path it is the document or a variable, even when a scalar's parser raised it.
            code = PARSE_FAILED if isinstance(error, GraphQLSyntaxError) else VALIDATION_FAILED
            error.extensions = {**(error.extensions or {}), "code": code}
        tell(error, operation)
        body: Body = dict(error.formatted)
        if len(error.message) > _MESSAGE_CHARS:
            # Some messages quote what was sent, and a document may have many errors.
            body["message"] = error.message[:_MESSAGE_CHARS] + "..."
        found.append(body)
    return found


def count_errors(door: Door, label: str, errors: Iterable[Body]) -> None:
    """Counts what a client was told."""
    for error in errors:
        door.metering.errors.labels(label, error.get("extensions", {}).get("code", INTERNAL)).inc()


def too_long(door: Door) -> Refused:
    """What is said of an operation that took too long."""
    limit_ms = door.settings.execution_timeout_ms
    return Refused(
        "EXECUTION_TIMEOUT",
        f"not done after {limit_ms} ms (KONSUL_GRAPHQL_EXECUTION_TIMEOUT); a write may still be applied",
    )
