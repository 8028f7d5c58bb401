"""The asyncio client: drives exchanges with httpx.AsyncClient and asyncio.sleep. The twin of `sync`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

import httpx

from konsul import __version__
from konsul.client import graphql_calls, kv_calls, probe_calls, watch_calls, wire
from konsul.client.acl_aio import AsyncAcl
from konsul.client.audit_aio import AsyncAudit
from konsul.client.auth_aio import AsyncAuth
from konsul.client.changes import KvEvent
from konsul.client.checks_aio import AsyncChecks
from konsul.client.cluster_aio import AsyncCluster
from konsul.client.course import Course
from konsul.client.dependencies_aio import AsyncServiceDependencies
from konsul.client.exchange import Exchange, Reply, Send, exchange
from konsul.client.graphql_calls import GraphQLAnswer
from konsul.client.kv_calls import Value
from konsul.client.lb_aio import AsyncBalancing
from konsul.client.model import (
    BatchResult,
    BatchValues,
    Health,
    KeyValue,
    Operation,
    TransactionResult,
    Version,
    Written,
)
from konsul.client.nodes_aio import AsyncNodes
from konsul.client.pursuit import OnCompacted, Plan, Steps, Tracker, Transport, Wishes
from konsul.client.queries_aio import AsyncQueries
from konsul.client.ratelimit_aio import AsyncRateLimit
from konsul.client.request import Call, Flow, Progress, quiet
from konsul.client.services_aio import AsyncServices
from konsul.client.sessions_aio import AsyncSessions
from konsul.client.settings import ADDRESS, Settings
from konsul.client.streams_aio import AsyncConnector
from konsul.client.subscribing import Subscribing
from konsul.client.takes_locks_aio import AsyncTakesLocks
from konsul.client.watch_aio import AsyncWatch

T = TypeVar("T")


class AsyncClient(AsyncTakesLocks):
    """A connection pool to one server, or to several of one cluster.

    For one event loop; close it, or use it as an async context manager.

    Every method raises an error of `konsul.errors`: NotFound, Conflict, Invalid, Unreachable, Timeout and
    so on. `transport`, `sleep`, `clock` and `jitter` are seams for tests.
    """

    def __init__(
        self,
        settings: Settings | str = ADDRESS,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = Settings(settings) if isinstance(settings, str) else settings
        self._http = httpx.AsyncClient(transport=transport, **wire.options(self.settings))
        self._course = Course(self.settings)
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._connector = AsyncConnector(self.settings, transport)
        self._watches: WeakSet[AsyncWatch[Any]] = WeakSet()
        self.kv = AsyncKV(self)
        self.services = AsyncServices(self)
        self.nodes = AsyncNodes(self)
        self.checks = AsyncChecks(self)
        self.dependencies = AsyncServiceDependencies(self)
        self.cluster = AsyncCluster(self)
        self.auth = AsyncAuth(self)
        self.acl = AsyncAcl(self)
        self.audit = AsyncAudit(self)
        self.ratelimit = AsyncRateLimit(self)
        self.lb = AsyncBalancing(self)
        self.queries = AsyncQueries(self)
        self.sessions = AsyncSessions(self)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pool's connections, and every watch."""
        for one in list(self._watches):
            await one.close()
        await self._http.aclose()

    async def call(self, call: Call[T]) -> T:
        """Carry one call to its result."""
        settings = self.settings
        steps: Exchange[T] = exchange(call, self._course, settings.policy, self._clock, self._jitter)
        reply: Reply = None
        try:
            while True:
                effect = steps.send(reply)
                if isinstance(effect, Send):
                    reply = await self._send(effect)
                else:
                    await self._sleep(effect.pause_s)
                    reply = None
        except StopIteration as end:
            result: T = end.value
            return result

    async def flow(self, flow: Flow[T]) -> T:
        """Carry an operation of several calls to its result."""
        try:
            call = next(flow)
            while True:
                call = flow.send(await self.call(call))
        except StopIteration as end:
            result: T = end.value
            return result

    @property
    def last_index(self) -> int:
        """The highest index any answer named: what this client has seen; 0 before the first."""
        return self._course.last_index

    async def health(self) -> Health:
        """The server's report about itself."""
        return await self.call(probe_calls.status())

    async def live(self) -> Health:
        """Whether the server's process serves."""
        return await self.call(probe_calls.live())

    async def ready(self) -> Health:
        """Whether the server can do its work now; `ok` False when it says no."""
        return await self.call(probe_calls.ready())

    async def version(self) -> Version:
        """Versions of client and server."""
        return Version(__version__, (await self.health()).version)

    async def transaction(self, operations: Sequence[Operation]) -> TransactionResult:
        """Check, set, delete and get in one entry, all or nothing; Conflict when a check fails."""
        return await self.call(kv_calls.transaction(operations))

    async def graphql(
        self, query: str, variables: Mapping[str, Any] | None = None, *, operation_name: str | None = None
    ) -> GraphQLAnswer:
        """Run a GraphQL query or mutation; errors of its fields are in the answer."""
        return await self.call(graphql_calls.execute(query, variables, operation_name))

    def graphql_subscribe(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        operation_name: str | None = None,
        transport: Transport = "websocket",
    ) -> AsyncWatch[GraphQLAnswer]:
        """The answers of a GraphQL subscription, until either side ends it; a lost connection is an error."""
        course, policy = self._course, self.settings.policy
        return self._follow(
            Subscribing(query, variables, operation_name, transport, course, policy, self._jitter)
        )

    def _watch(self, plan: Plan, wishes: Wishes) -> AsyncWatch[Any]:
        """A watch that begins when its first event is asked for."""
        settings = self.settings
        renews = settings.token_source is not None
        tracker = Tracker(plan, wishes, self._course, settings.policy, self._jitter, renews=renews)
        return self._follow(tracker)

    def _follow(self, steps: Steps) -> AsyncWatch[Any]:
        # Its own way to pause can be cut short by who closes it; another one is a test's.
        sleep = None if self._sleep is asyncio.sleep else self._sleep
        watch: AsyncWatch[Any] = AsyncWatch(steps, self._connector, self.flow, sleep)
        self._watches.add(watch)
        return watch

    async def _send(self, effect: Send) -> Reply:
        started_s = time.perf_counter()
        reply: Reply
        try:
            reply = wire.answer_of(await self._http.request(**wire.request_of(effect, self.settings)))
        except httpx.TransportError as error:
            reply = wire.reply_of(error)
        wire.report(self.settings, effect, reply, started_s)
        return reply


class AsyncKV:
    """Keys and values; `AsyncClient.kv`. Semantics and errors stand at the functions of `kv_calls`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def get(
        self,
        key: str,
        *,
        consistency: str | None = None,
        index: int | None = None,
        wait_s: float | None = None,
    ) -> KeyValue:
        """One key; NotFound when absent. With `index`: once it changed after that, or after `wait_s`."""
        return await self._client.call(kv_calls.get(key, consistency, index, wait_s))

    def watch(
        self,
        pattern: str = "**",
        *,
        since: int | None = None,
        initial: bool = False,
        coalesce: bool = False,
        transport: Transport = "sse",
        reconnect: bool = True,
        notices: bool = False,
        on_compacted: OnCompacted = "relist",
    ) -> AsyncWatch[KvEvent]:
        """Changes of the keys that match `pattern`, each once and in order, whatever happens to servers.

        From now on, or everything after `since`; with `initial` a Relisted with what is there comes first.
        `coalesce`: a reader that is behind gets the newest change of a key only. Where the server no longer
        knows every change, `on_compacted` says what comes: a Relisted, or nothing but a notice.
        """
        plan = watch_calls.kv_plan(pattern, coalesce, self._client.settings.page_size)
        wishes = Wishes(since, initial, transport, reconnect, notices, on_compacted)
        return self._client._watch(plan, wishes)

    async def set(
        self,
        key: str,
        value: Value,
        *,
        cas: int | None = None,
        flags: int | None = None,
        ttl: str | None = None,
    ) -> Written:
        """Write one key; with `cas` only at that modify_index (0: only a new key), else Conflict."""
        return await self._client.call(kv_calls.set_(key, value, cas, flags, ttl))

    async def delete(self, key: str, *, cas: int | None = None) -> Written:
        """Delete one key; with `cas` only at that modify_index, else Conflict."""
        return await self._client.call(kv_calls.delete(key, cas))

    async def delete_prefix(self, prefix: str) -> None:
        """Delete every key that starts with `prefix`."""
        await self._client.call(kv_calls.delete_prefix(prefix))

    async def keys(
        self, prefix: str = "", *, separator: str | None = None, consistency: str | None = None
    ) -> AsyncIterator[str]:
        """Key names in byte order, fetched page by page."""
        after: str | None = None
        while True:
            call = kv_calls.keys_page(prefix, separator, self._client.settings.page_size, after, consistency)
            page = await self._client.call(call)
            for item in page.items:
                yield item
            after = page.after
            if after is None:
                return

    async def list(self, prefix: str = "", *, consistency: str | None = None) -> AsyncIterator[KeyValue]:
        """Keys with values in byte order, fetched page by page."""
        after: str | None = None
        while True:
            page = await self._client.call(
                kv_calls.rows_page(prefix, self._client.settings.page_size, after, consistency)
            )
            for item in page.items:
                yield item
            after = page.after
            if after is None:
                return

    async def get_many(
        self, keys: Iterable[str], progress: Progress = quiet, *, consistency: str | None = None
    ) -> BatchValues:
        """Any number of keys, a thousand per request."""
        return await self._client.flow(kv_calls.get_many(keys, progress, consistency))

    async def set_many(
        self, items: Mapping[str, Value] | Iterable[tuple[str, Value]], progress: Progress = quiet
    ) -> BatchResult:
        """Write any number of keys, a thousand per request; each request is all or nothing."""
        return await self._client.flow(kv_calls.set_many(items, progress))

    async def delete_many(self, keys: Iterable[str], progress: Progress = quiet) -> BatchResult:
        """Delete any number of keys, a thousand per request."""
        return await self._client.flow(kv_calls.delete_many(keys, progress))

    async def set_many_cas(self, items: Mapping[str, Value], expected: Mapping[str, int]) -> dict[str, int]:
        """Write up to 1000 keys, all or nothing, at their expected indices; returns the new ones."""
        return await self._client.call(kv_calls.set_many_cas(items, expected))

    async def delete_many_cas(self, expected: Mapping[str, int]) -> BatchResult:
        """Delete up to 1000 keys, all or nothing, at their expected indices."""
        return await self._client.call(kv_calls.delete_many_cas(expected))
