"""Names: what a feature answers to below a label of the DNS domain, as `service` in `web.service.consul`.

The DNS door owns the wire, the zone and the cache; a resolver only says where something is. It neither
authorises nor shuffles.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from konsul.kernel.context import Context
    from konsul.kernel.watch_spec import Spec


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked besides the name."""

    type: str
    """The mnemonic in capitals: A, AAAA, SRV, TXT, ANY, ..."""
    most: int
    """No more targets than this are worth finding."""
    passing: bool = False
    """Only what passes; else also what warns. What is critical is never a target."""
    client_addr: str = ""
    """Who asks; with a recursor in between, that."""


@dataclass(frozen=True, slots=True)
class Target:
    """One place to go."""

    address: str
    """An IPv4 or IPv6 address, or the name of a host."""
    port: int = 0
    """0: it has none, so that there is no SRV record of it."""
    weight: int = 1
    """Its share among those of the same priority, 0 to 65535 (RFC 2782)."""
    priority: int = 1
    """Those of the lowest number are to be tried first."""
    node: str | None = None
    """The node it runs on, whose name below `node` is the target of the SRV record if it has the address."""
    name: str = ""
    """Of the service or node."""
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What TXT records say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver found."""

    targets: Sequence[Target] = ()
    exists: bool = True
    """False: there is no such name (NXDOMAIN). True without targets: it has nothing of that type (NODATA)."""
    ttl_s: int | None = None
    """How long it may be kept; None: as the settings say."""
    shows: tuple[tuple[str, str], ...] = ()
    """`(needs, resource)` of all it tells, such as `("service:read", "web")`: the door asks the authorise
    slot for each before it answers, also from its cache."""
    reads: frozenset[tuple[int, bytes]] | None = None
    """Table and beginning of the keys of every row it depends on, as `Resolver.part_of` cuts them; the table
    with `b""` for all of its rows. None: it is made anew for every question."""


NOWHERE: Final = Answer(exists=False)
"""There is no such name, and nothing is said of when there will be."""

Resolve: TypeAlias = "Callable[[Context, tuple[str, ...], Question], Answer | Awaitable[Answer]]"
"""Called on the loop's thread with the labels left of its own in lower case, leftmost first: `("primary",
"web")` of `Primary.web.service.consul`. May be a plain function, which is faster.

Raises:
    KonsulError: answered as SERVFAIL; Forbidden and Unauthenticated as REFUSED.
"""


@dataclass(frozen=True, slots=True)
class Resolver:
    """What answers below one label: `Feature.names = {"service": Resolver(...)}`."""

    resolve: Resolve
    follows: tuple[Spec, ...] = ()
    """Watches of the tables whose rows it reads: what they tell takes answers out of the door's cache."""
    part_of: Callable[[int, bytes], bytes] = lambda table, key: b""  # noqa: ARG005 - all of the table
    """The part of a changed key that `Answer.reads` names, by table."""
