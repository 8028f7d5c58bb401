"""From a message to its answer: parse, look up or take from the cache, ask whether it may be told, limit."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from konsul.doors.dns import wire
from konsul.doors.dns.cache import Cache
from konsul.doors.dns.counters import Counters
from konsul.doors.dns.forwarding import Forwarding, NoAnswer
from konsul.doors.dns.found import Found, Ready
from konsul.doors.dns.limiting import DROP, SEND, Limiting
from konsul.doors.dns.permission import Permission
from konsul.doors.dns.words import NXDOMAIN, REFUSED, SERVFAIL
from konsul.doors.dns.zone import Zone
from konsul.errors import Forbidden, KonsulError, Unauthenticated
from konsul.kernel.context import Context
from konsul.kernel.dns_settings import DnsSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

Reply: TypeAlias = "bytes | None"
Later: TypeAlias = "Coroutine[Any, Any, Reply]"
_OVER_TCP: Final = b"tcp"
"""Before the messages that came over TCP, where there is more room for the answer."""
_PLAIN_OPT_BYTES: Final = 11
"""An OPT record without options."""


class Answering:
    """What every question passes, whichever way it came. For the loop's thread."""

    def __init__(
        self,
        kernel: Kernel,
        settings: DnsSettings,
        counters: Counters,
        *,
        zone: Zone,
        cache: Cache,
        permission: Permission,
    ) -> None:
        self._kernel = kernel
        self._settings = settings
        self._counters = counters
        self._zone = zone
        self._cache = cache
        self._ready = cache.ready
        self._permission = permission
        self._limiting = Limiting(settings)
        self._forwarding = Forwarding(settings, counters)
        self._extra = wire.RA if settings.recursors else 0
        self._opt = wire.opt(settings.udp_max_bytes)

    def answer(self, data: bytes, address: str, *, over_tcp: bool) -> Reply | Later:
        """What is answered to `data` from `address`: now, nothing, or after a wait."""
        ready = self._ready.get(_OVER_TCP + data[2:] if over_tcp else data[2:])
        if ready is not None and self._cache.is_current() and self._permission.allows(ready.found):
            self._counters.hits += 1
            return self._sent(data, address, ready, over_tcp=over_tcp)
        try:
            query = wire.parse(data)
        except wire.Refused as refused:
            return self._refused(data, address, refused, over_tcp=over_tcp)
        if query is None:
            self._counters.dropped["no_question"] += 1
            return None
        if not self._zone.holds(query):
            if self._forwarding.serves(query, address):
                return self._forwarded(data, address, query, over_tcp=over_tcp)
            return self.no(data, address, query, REFUSED, "zone", over_tcp=over_tcp)
        why = self._permission.closed
        if why:
            return self._denied(data, address, query, why, over_tcp=over_tcp)
        try:
            found = self._found(query, address)
        except KonsulError as error:
            return self._failed(data, address, query, error, over_tcp=over_tcp)
        if not isinstance(found, Found):
            return self._awaited(data, address, query, found, over_tcp=over_tcp)
        return self._told(data, address, query, found, over_tcp=over_tcp)

    def _found(self, query: wire.Query, address: str) -> Found | Awaitable[Found]:
        cache = self._cache
        cache.start()
        if cache.is_current():
            kept = cache.get(query.folded)
            if kept is not None:
                self._counters.hits += 1
                return kept
        began_s = time.perf_counter()
        self._counters.misses += 1
        kernel = self._kernel
        context = Context(
            kernel.engine, kernel.config, self._permission.identity, "", address, kernel.pipeline
        )
        found = self._zone.look_up(context, query, kernel.engine.contact()[2])
        if isinstance(found, Found):
            self._keep(query, found)
            self._counters.took(time.perf_counter() - began_s)
            return found
        return self._timed(query, found, began_s)

    async def _timed(self, query: wire.Query, work: Awaitable[Found], began_s: float) -> Found:
        before = self._cache.changes
        found = await work
        if self._cache.changes == before:
            self._keep(query, found)
        else:
            # What changed meanwhile was told before this was kept, so that nothing would take it out again.
            found.question = query.folded
            found.cell = self._counters.cell(query.type, found.rcode)
        self._counters.took(time.perf_counter() - began_s)
        return found

    def _keep(self, query: wire.Query, found: Found) -> None:
        found.question = query.folded
        found.cell = self._counters.cell(query.type, found.rcode)
        self._cache.keep(query.folded, found)

    async def _awaited(
        self, data: bytes, address: str, query: wire.Query, work: Awaitable[Found], *, over_tcp: bool
    ) -> Reply:
        try:
            found = await work
        except KonsulError as error:
            return self._failed(data, address, query, error, over_tcp=over_tcp)
        told = self._told(data, address, query, found, over_tcp=over_tcp)
        return told if told is None or isinstance(told, bytes) else await told

    def _told(
        self, data: bytes, address: str, query: wire.Query, found: Found, *, over_tcp: bool
    ) -> Reply | Later:
        is_reverse = found.rcode == NXDOMAIN and self._zone.is_reverse(query)
        if is_reverse and self._forwarding.serves(query, address):
            return self._forwarded(data, address, query, over_tcp=over_tcp)
        try:
            self._permission.ask(found)
        except (Forbidden, Unauthenticated) as error:
            return self._denied(data, address, query, str(error), over_tcp=over_tcp)
        settings, edns = self._settings, query.edns
        opt = b"" if edns is None else self._opt
        limit = wire.PLAIN_MAX_BYTES if edns is None else min(edns.max_bytes, settings.udp_max_bytes)
        if over_tcp:
            limit = wire.MESSAGE_MAX_BYTES
        ready = Ready(found, query, max_bytes=limit, most=settings.max_answers, opt=opt, extra=self._extra)
        is_plain = len(data) == wire.HEADER + len(query.question) + (_PLAIN_OPT_BYTES if opt else 0)
        if is_plain and query.question == query.folded:
            message = _OVER_TCP + data[2:] if over_tcp else data[2:]
            self._cache.keep_ready(message, query.folded, ready)
        return self._sent(data, address, ready, over_tcp=over_tcp)

    def _sent(self, data: bytes, address: str, ready: Ready, *, over_tcp: bool) -> Reply:
        """Over UDP, as far as the limit of that network allows."""
        found = ready.found
        network = b"" if over_tcp else self._limiting.network(address)
        if network:
            verdict = self._limiting.verdict(network, found.question, time.monotonic())
            if verdict != SEND:
                self._counters.limited[verdict] += 1
                return None if verdict == DROP else data[:2] + ready.truncated()
        found.cell[0] += 1
        text = ready.text()
        if text[0] & wire.TC >> 8:
            self._counters.truncated += 1
        return data[:2] + text

    async def _forwarded(self, data: bytes, address: str, query: wire.Query, *, over_tcp: bool) -> Reply:
        try:
            found = await self._forwarding.ask(data, query, over_tcp=over_tcp)
        except NoAnswer:
            return self.no(data, address, query, SERVFAIL, "recursors", over_tcp=over_tcp)
        if over_tcp:
            return found
        verdict = self._verdict(address, query.folded)
        edns = query.edns
        limit = wire.PLAIN_MAX_BYTES if edns is None else min(edns.max_bytes, self._settings.udp_max_bytes)
        if len(found) > limit or verdict != SEND:
            self._counters.truncated += 1
            head = wire.head(int.from_bytes(found[2:4]) | wire.TC, 1, 0, 0, 0)
            return None if verdict == DROP else data[:2] + head + query.question
        return found

    def no(
        self, data: bytes, address: str, query: wire.Query, rcode: int, reason: str, *, over_tcp: bool
    ) -> Reply:
        """The answer that says only why there is none."""
        refused = wire.Refused(rcode, query.question, query.edns)
        self._counters.refused[reason] += 1
        return self._refused(data, address, refused, over_tcp=over_tcp, kind=query.type)

    def _denied(self, data: bytes, address: str, query: wire.Query, why: str, *, over_tcp: bool) -> Reply:
        self._permission.record(query, address, why)
        return self.no(data, address, query, REFUSED, "policy", over_tcp=over_tcp)

    def _failed(
        self, data: bytes, address: str, query: wire.Query, error: KonsulError, *, over_tcp: bool
    ) -> Reply:
        if isinstance(error, Forbidden | Unauthenticated):
            return self._denied(data, address, query, str(error), over_tcp=over_tcp)
        return self.no(data, address, query, SERVFAIL, "failed", over_tcp=over_tcp)

    def _refused(
        self, data: bytes, address: str, refused: wire.Refused, *, over_tcp: bool, kind: int = 0
    ) -> Reply:
        """An answer without records. Over UDP it counts as one answer to one question: it too
        can be had for a forged address."""
        if not over_tcp:
            verdict = self._verdict(address, refused.rcode.to_bytes())
            if verdict != SEND:
                # There is nothing to come back for.
                return None
        self._counters.cell(kind, refused.rcode)[0] += 1
        flags = wire.flags_of(int.from_bytes(data[2:4]), refused.rcode, extra=self._extra)
        opt = b"" if refused.edns is None else wire.opt(self._settings.udp_max_bytes, refused.rcode)
        head = wire.head(flags, bool(refused.question), 0, 0, bool(opt))
        return data[:2] + head + refused.question + opt

    def _verdict(self, address: str, question: bytes) -> str:
        network = self._limiting.network(address)
        if not network:
            return SEND
        verdict = self._limiting.verdict(network, question, time.monotonic())
        if verdict != SEND:
            self._counters.limited[verdict] += 1
        return verdict
