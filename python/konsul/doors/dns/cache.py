"""Ready answers, each gone the moment what it was made of changes.

An answer may be taken from here only while every change that readers can see was told: the core makes a
change visible, then notes it for the watches, then answers who wrote it. So if the watches have told all up
to the index of the tables, whatever was acknowledged to anybody is in force here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from konsul.doors.dns.found import Found, Ready
from konsul.doors.dns.words import NXDOMAIN
from konsul.kernel.following import Changes, Following
from konsul.kernel.names import Resolver
from konsul.kernel.watch_spec import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

Token: TypeAlias = tuple[int, bytes]
_MISSING_SHARE: Final = 4
"""Names that do not exist may have one in so many places: anybody can make them up."""
_READY_PER_FOUND: Final = 2
"""Ways of asking the same question that are kept, on average."""


class Cache:
    """By question, and by question as it came. For the loop's thread."""

    def __init__(self, kernel: Kernel, resolvers: Iterable[Resolver], most: int) -> None:
        self.ready: dict[bytes, Ready] = {}
        """By the message as it came, its id left out: the fast way."""
        self.changes = 0
        """How often something was told; what was read before and is kept after must not have missed one."""
        self.most = most
        self._core = kernel.engine.core
        self._found: dict[bytes, Found] = {}
        self._missing: dict[bytes, None] = {}
        self._by_token: dict[Token, set[bytes]] = {}
        specs: dict[Spec, None] = {}
        self._parts: dict[int, dict[Callable[[int, bytes], bytes], None]] = {}
        """How resolvers name a part of a table: each in its own way."""
        for resolver in resolvers:
            for spec in resolver.follows:
                specs[spec] = None
                self._parts.setdefault(spec.table, {})[resolver.part_of] = None
        self._following = Following(kernel, specs, self._take, self.clear, at_once=True)
        self._numbers: tuple[int, ...] = ()
        self._is_started = False

    def start(self) -> None:
        """Opens the watches, once; until somebody asks something, changes cost nothing here."""
        if self.most and not self._is_started:
            self._is_started = True
            self._following.start("dns-cache")

    async def stop(self) -> None:
        """Closes them; nothing is kept any more."""
        self.most = 0
        await self._following.stop()
        self.clear()

    def __len__(self) -> int:
        return len(self._found)

    def is_current(self) -> bool:
        """Whether everything that a reader could see now was told."""
        numbers = self._numbers
        if not numbers:
            return False
        core = self._core
        index = core.contact()[2]
        for number in numbers:
            position = core.watch_position(number)
            if position is None or position < index:
                return False
        return True

    def get(self, folded: bytes) -> Found | None:
        """What is known of a question, its name in lower case."""
        return self._found.get(folded)

    def keep(self, folded: bytes, found: Found) -> None:
        """Remembers it for as long as nothing that it says it reads changes."""
        reads = found.reads
        # What was kept before goes with all ways in which it was asked for: nothing would find those later.
        self._drop(folded)
        if reads is None or not self._numbers:
            return
        if len(self._found) >= self.most:
            self._drop(next(iter(self._found)))
        if found.rcode == NXDOMAIN:
            if len(self._missing) >= max(1, self.most // _MISSING_SHARE):
                self._drop(next(iter(self._missing)))
            self._missing[folded] = None
        self._found[folded] = found
        for token in reads:
            self._by_token.setdefault(token, set()).add(folded)

    def keep_ready(self, message: bytes, folded: bytes, ready: Ready) -> None:
        """Remembers it also for messages that are the same but for their id."""
        if self._found.get(folded) is not ready.found:
            return
        if len(self.ready) >= self.most * _READY_PER_FOUND:
            oldest = next(iter(self.ready))
            self.ready.pop(oldest).found.ready.discard(oldest)
        self.ready[message] = ready
        ready.found.ready.add(message)

    def clear(self) -> None:
        """Forgets everything, and keeps nothing until the watches stand again."""
        self._numbers = ()
        self._forget_all()

    def _forget_all(self) -> None:
        self.changes += 1
        self.ready.clear()
        self._found.clear()
        self._missing.clear()
        self._by_token.clear()

    def _take(self, changes: Changes) -> bool:
        if changes is None:
            self._forget_all()
            self._numbers = tuple(watch.id for watch in self._following.watches)
            return True
        self.changes += 1
        for table, key in changes:
            self._changed((table, b""))
            for part_of in self._parts[table]:
                self._changed((table, part_of(table, key)))
        return True

    def _changed(self, token: Token) -> None:
        for folded in self._by_token.pop(token, ()):
            self._drop(folded)

    def _drop(self, folded: bytes) -> None:
        found = self._found.pop(folded, None)
        self._missing.pop(folded, None)
        if found is None:
            return
        for message in found.ready:
            self.ready.pop(message, None)
        for token in found.reads or ():
            others = self._by_token.get(token)
            if others is not None:
                others.discard(folded)
                if not others:
                    del self._by_token[token]
