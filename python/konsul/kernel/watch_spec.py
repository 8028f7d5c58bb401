"""What a watch is about, who is told, and what is counted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgpack

from konsul.engine import Form
from konsul.errors import KonsulError

CLUSTER: Final = 0xFFFE
"""The table of what is not in the log: who leads, who is a member. It has no form and no past."""
_WITHOUT_SELECTOR: Final = frozenset(("admin", "health"))
"""What is allowed or not as a whole, whatever the key."""
_WILDCARDS: Final = frozenset("*?[")
_ESCAPED: Final = re.compile(r"\[([*?\[])\]")
"""A wildcard that stands for itself."""
_SPECIAL: Final = re.compile(r"[*?\[]")
_LITERAL: Final = re.compile(r"(?:\[[*?\[]\]|[^*?\[])*")
"""What all that matches begins with."""
LIST: Final = ":list"
"""How needs end that are asked with the beginning of names."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a watch is about. `pattern` is matched against the key, cut into segments at `separator`.

    `where`: `(column, index value)` that the new row or the old one must all have. `renewals`: also renewed
    leases, as far as this node hears of them. `coalesce`: of the changes of a key that wait to be told only
    the newest. `buffer`: changes that may wait; None as the settings say.
    """

    form: Form | None
    table: int
    pattern: str
    needs: str = "kv:read"
    separator: bytes = b"/"
    where: tuple[tuple[int, bytes], ...] = ()
    renewals: bool = False
    coalesce: bool = False
    buffer: int | None = None
    opens: str = ""
    """What is asked for when it is opened, if less than `needs`, which is asked for each change."""

    def packed(self, buffer: int) -> bytes:
        """The map that `Core.watch` takes."""
        spec = {
            "table": self.table,
            "separator": self.separator[0],
            "pattern": self.pattern,
            "where": self.where,
            "renewals": self.renewals,
            "coalesce": self.coalesce,
            "buffer": self.buffer or buffer,
        }
        packed: bytes = msgpack.packb(spec)
        return packed

    def resource_of(self, key: bytes) -> str:
        """What is asked for in the name of `key`: itself, or of a service's instance the service."""
        if self.needs.partition(":")[0] in _WITHOUT_SELECTOR:
            return ""
        text = key.decode("utf-8", "replace")
        return text if self.separator == b"/" else text.partition(self.separator.decode())[0]

    @property
    def resource(self) -> str:
        """What is asked for when the watch is opened: the one key or service it names, of a list what its
        names begin with, else the pattern."""
        text = self.resource_of(self.pattern.encode())
        if (self.opens or self.needs).endswith(LIST):
            literal = _LITERAL.match(text)
            text = literal[0] if literal else ""
        elif not self.single:
            return text
        return _ESCAPED.sub(r"\1", text)

    @property
    def single(self) -> bool:
        """True if all that can match is asked for under one name: one key, or one service's instances."""
        return _WILDCARDS.isdisjoint(_ESCAPED.sub("", self.resource_of(self.pattern.encode())))

    @property
    def exact(self) -> bool:
        """True if only one key can match."""
        return _WILDCARDS.isdisjoint(self.pattern)


def literal(text: str) -> str:
    """The pattern that matches `text` and nothing else."""
    return _SPECIAL.sub(r"[\g<0>]", text)


class Sink(Protocol):
    """Who is told. On the loop's thread; must neither raise nor block, nor resume the watch meanwhile."""

    def event(self, index: int, key: bytes, payload: bytes) -> bool:
        """A change. False: taken, but nothing more before `Watch.resume`."""
        ...

    def behind(self, index: int) -> None:
        """It was full for too long. What it missed follows, from `index` on."""
        ...

    def compacted(self, index: int) -> None:
        """Changes up to `index` may be missing: list again. What is newer follows."""
        ...

    def ended(self, error: KonsulError) -> None:
        """Nothing follows."""
        ...


@dataclass(slots=True)
class Counters:
    """What is counted, by transport, event type or reason."""

    active: dict[str, int] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    behind: int = 0
    compacted: int = 0
