"""Watches: one change, many who wait for it. The core finds who is concerned; here each is told.

Everything here runs on the loop's thread. What a watch sees comes in the order of the log, each change once;
a reader that is full is passed over until it resumes, and is told when it has missed something.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from konsul.engine import Engine, Watched
from konsul.errors import Forbidden, Internal, KonsulError, Stopping, TooMany, Unauthenticated
from konsul.kernel.identities import Identities
from konsul.kernel.logging import logger
from konsul.kernel.per_client import PerClient
from konsul.kernel.pipeline import Identity, Pipeline, act_of, note_act
from konsul.kernel.watch_readers import Behind, Compacted, Event, Events, First, Seen
from konsul.kernel.watch_settings import WatchSettings
from konsul.kernel.watch_spec import CLUSTER, LIST, Counters, Sink, Spec

if TYPE_CHECKING:
    from konsul.kernel.context import Context

__all__ = ["CLUSTER", "INSIDE", "POLL", "Behind", "Compacted", "Counters", "Event", "Events", "Seen", "Sink"]
__all__ += ["Spec", "Watch", "Watching"]

INSIDE: Final = "inside"
"""The transport of the node's own watches, which no client's limit counts."""
POLL: Final = "poll"
"""The transport of one question that waits for a change."""

_EVENT: Final = 0
_BEHIND: Final = 1
_TYPE_AT: Final = len('{"type":"')


def _add(counts: dict[str, int], name: str, number: int = 1) -> None:
    counts[name] = counts.get(name, 0) + number


class Watch:
    """An open watch."""

    __slots__ = ("_held", "_position", "_watching", "client", "id", "identity", "sink", "spec", "transport")

    def __init__(
        self, watching: Watching, number: int, spec: Spec, sink: Sink, context: Context, transport: str
    ) -> None:
        self._watching = watching
        self._held: deque[Watched] | None = None
        """While it is paused: what was on its way when its sink became full."""
        self._position = 0
        self.id = number
        self.spec = spec
        self.sink = sink
        self.identity: Identity = context.identity
        self.client = client_of(context)
        self.transport = transport

    @property
    def position(self) -> int:
        """Every change up to this index that concerns it was told."""
        found = self._watching.engine.core.watch_position(self.id)
        if found is not None:
            first = self._held[0][2] - 1 if self._held else found
            self._position = max(self._position, min(found, first))
        return self._position

    def resume(self) -> None:
        """Tells what waits, and goes on telling until the sink is full again."""
        held = self._held
        while held:
            if not self._watching.tell(self, held.popleft()):
                return
        if held is not None:
            self._held = None
            self._watching.engine.core.resume_watch(self.id)

    def hold(self, seen: Watched | None = None) -> None:
        """Keeps what is on its way until the sink has room."""
        if self._held is None:
            self._held = deque()
            self._watching.engine.core.pause_watch(self.id)
        if seen is not None:
            self._held.append(seen)

    def still(self) -> bool:
        """Whether who opened it may be told something that is no change; ends it if not."""
        return self._watching.may_see(self, self.spec.pattern.encode())

    @property
    def held(self) -> bool:
        """True while it is paused."""
        return self._held is not None

    def close(self) -> None:
        """Ends it; nothing more is told. Again: does nothing."""
        self._watching.close(self)

    def refuse(self, error: KonsulError) -> None:
        """Ends it: whoever opened it is not whom it was opened for any more."""
        self._watching.end(self, error)


def client_of(context: Context) -> str:
    """Who counts as one client: the identity, or without one the address."""
    identity = context.identity
    return f"{identity.kind}:{identity.id}" if identity.id else context.client_addr


class Watching:
    """All watches of this node."""

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        settings: WatchSettings,
        identities: Identities | None = None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.counters = Counters()
        self._pipeline = pipeline
        self._open: dict[int, Watch] = {}
        self._by_client = PerClient()
        self._counted = 0
        self._identities = Identities(pipeline) if identities is None else identities
        engine.on_watched = self._hand_out

    def open(
        self, context: Context, spec: Spec, sink: Sink, *, since: int | None = None, transport: str
    ) -> Watch:
        """Opens a watch of what `spec` says; with `since`, first of what changed above that index.

        Raises:
            Forbidden, Unauthenticated: the caller may not read that pattern.
            TooMany: as many are open as may be, of this client or in total.
            Invalid: the pattern is empty or too long. Stopping.
        """
        reason = ""
        try:
            if self._pipeline.authorise is not None:
                reason = self._pipeline.authorise(context.identity, spec.opens or spec.needs, spec.resource)
            client = client_of(context)
            if transport != INSIDE:
                self._check(client)
            number = self.engine.watch(spec.form, spec.packed(self.settings.buffer_size), since)
        except KonsulError as error:
            self._note(context, spec, transport, error, reason)
            raise
        self._note(context, spec, transport, None, reason)
        watch = Watch(self, number, spec, sink, context, transport)
        self._identities.keep(watch)
        self._open[number] = watch
        self._count(watch, 1)
        _add(self.counters.opened, transport)
        return watch

    def events(self, context: Context, spec: Spec, since: int | None = None, *, transport: str) -> Events:
        """As `open`, as an asynchronous iterator; close it with `aclose`."""
        return Events(partial(self.open, context, spec, since=since, transport=transport))

    async def changed(self, context: Context, spec: Spec, since: int, timeout_ms: int) -> bool:
        """True as soon as something that matches has changed above `since`, or may have; False if nothing
        has when `timeout_ms` are over.

        Raises:
            As `open`, also later: Forbidden, Unauthenticated, Stopping.
        """
        changed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        watch = self.open(context, spec, First(changed), since=since, transport=POLL)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                return await changed
        except TimeoutError:
            return False
        finally:
            watch.close()

    def _note(
        self, context: Context, spec: Spec, transport: str, error: KonsulError | None, reason: str
    ) -> None:
        """What the audit is told, once, when a watch is opened or refused. A poll is part of a read."""
        if self._pipeline.audit is not None and transport not in (INSIDE, POLL):
            kind = spec.needs.partition(":")[0]
            note_act(context.noted, act_of(f"{kind}.watch", [spec.resource], error, reason))

    def stop(self) -> None:
        """Ends every watch: the node stops."""
        for watch in list(self._open.values()):
            self.end(watch, Stopping("the node is stopping"))

    def close(self, watch: Watch) -> None:
        """As `Watch.close`."""
        if self._open.pop(watch.id, None) is None:
            return
        self._identities.drop(watch)
        self.engine.core.unwatch(watch.id)
        self._count(watch, -1)
        _add(self.counters.closed, watch.transport)

    def _check(self, client: str) -> None:
        limits = self.settings
        if limits.max_per_client and self._by_client.of(client) >= limits.max_per_client:
            _add(self.counters.refused, "client")
            raise TooMany(
                f"too many watchers for this client: KONSUL_WATCH_MAX_PER_CLIENT is {limits.max_per_client}"
            )
        if self._counted >= limits.max_total:
            _add(self.counters.refused, "total")
            raise TooMany(f"too many watchers on this node: KONSUL_WATCH_MAX_TOTAL is {limits.max_total}")

    def _count(self, watch: Watch, step: int) -> None:
        _add(self.counters.active, watch.transport, step)
        if watch.transport == INSIDE:
            return
        self._counted += step
        if step > 0:
            self._by_client.add(watch.client)
        else:
            self._by_client.drop(watch.client)

    def _hand_out(self, seen: list[Watched]) -> None:
        """Tells each what it saw. A change of ten thousand watches passes here ten thousand times."""
        watches, is_open = self._open, self._pipeline.authorise is None
        last, count = b"", 0
        for item in seen:
            number, kind, index, key, payload = item
            watch = watches.get(number)
            if watch is None:
                continue
            if kind != _EVENT or not is_open or watch.held:
                if watch.held:
                    watch.hold(item)
                else:
                    self.tell(watch, item)
                continue
            if payload is not last:
                self._delivered(last, count)
                last, count = payload, 0
            count += 1
            try:
                if not watch.sink.event(index, key, payload):
                    watch.hold()
            except Exception:
                self._broken(watch)
        self._delivered(last, count)

    def tell(self, watch: Watch, seen: Watched) -> bool:
        """Tells one watch one thing; False when it is full, or closed."""
        _, kind, index, key, payload = seen
        try:
            if kind == _EVENT:
                if not self.may_see(watch, key):
                    return watch.id in self._open
                self._delivered(payload, 1)
                if not watch.sink.event(index, key, payload):
                    watch.hold()
                    return False
            elif kind == _BEHIND:
                self.counters.behind += 1
                watch.sink.behind(index)
            else:
                self.counters.compacted += 1
                watch.sink.compacted(index)
        except Exception:
            self._broken(watch)
        return watch.id in self._open

    def may_see(self, watch: Watch, key: bytes) -> bool:
        """Whether the watch may tell of `key` now; ends one that may tell of nothing any more."""
        authorise, spec = self._pipeline.authorise, watch.spec
        if authorise is None:
            return True
        try:
            authorise(watch.identity, spec.needs, spec.resource_of(key))
            if spec.needs.endswith(LIST):
                # Who may list something that begins so may still not see this.
                self._check_seen(watch, spec.resource_of(key))
        except Forbidden as error:
            _add(self.counters.withheld, "forbidden")
            if spec.single:
                self.end(watch, error)
            return False
        except Unauthenticated as error:
            _add(self.counters.withheld, "unauthenticated")
            self.end(watch, error)
            return False
        return True

    def _check_seen(self, watch: Watch, resource: str) -> None:
        visible, needs = self._pipeline.visible, watch.spec.needs
        sight = None if visible is None else visible(watch.identity, needs)
        if sight is not None and not sight.sees(resource):
            raise Forbidden(needs=needs, resource=resource)

    def _delivered(self, payload: bytes, count: int) -> None:
        if count:
            kind = payload[_TYPE_AT : payload.find(b'"', _TYPE_AT)].decode()
            _add(self.counters.delivered, kind, count)

    def end(self, watch: Watch, error: KonsulError) -> None:
        """Closes it and tells whoever it was opened for why."""
        self.close(watch)
        watch.sink.ended(error)

    def _broken(self, watch: Watch) -> None:
        """A sink that raises is a defect of its own: the others are told all the same."""
        logger().exception("a watch failed", transport=watch.transport)
        try:
            self.end(watch, Internal("a defect ended this watch"))
        except Exception:
            logger().exception("a watch failed to end", transport=watch.transport)
