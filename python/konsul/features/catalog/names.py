"""What the catalog answers in DNS: services, nodes, literal addresses and what has an address.

Who may know is asked by the door, from `Answer.shows`; here everything is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from konsul.engine import Form
from konsul.features.catalog.address_book import FOLDED_NODES, FOLDED_SERVICES, book_of
from konsul.features.catalog.candidates import ANY, PASSING, SERVING, Candidate, candidates_of
from konsul.features.catalog.rules import is_possible
from konsul.features.catalog.tables import KEY, SEPARATOR, WARNING, Instance, Node
from konsul.features.catalog.watches import instances
from konsul.kernel.context import Context
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.names import NOWHERE, Answer, Question, Resolver, Target
from konsul.kernel.pipeline import INSIDE
from konsul.kernel.watch_spec import Spec

TTL_META: Final = "dns_ttl"
"""The metadata that says how long an answer with this instance may be kept."""
WEIGHT_META: Final = "weight"
"""Its share among the instances of its service."""
WARNING_WEIGHT_META: Final = "weight_warning"
"""The same while it warns; unset: no other."""
_TTL_MAX_S: Final = 7 * 86_400
_WEIGHT_MAX: Final = 65_535
_PROTOCOLS: Final = ("tcp", "udp")
"""What stands for no tag in `_web._tcp` (RFC 2782)."""
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ADDRESS: Final = Node.column("address")
_META: Final = Node.column("meta")
_KINDS: Final = ("set", "set", "gone", "gone", "")
_SERVICES: Final = instances(
    None, form=Form(Instance.table_id, kinds=_KINDS, row=[("key", KEY, 0)]), coalesce=True
)
_NODES: Final = Spec(
    Form(Node.table_id, kinds=_KINDS, row=[("name", KEY, 0)]),
    Node.table_id,
    "**",
    "agent:read",
    coalesce=True,
)
Token = tuple[int, bytes]


def service(ctx: Context, labels: tuple[str, ...], question: Question) -> Answer:
    """`[tag.]name`, `_name._protocol` or `_name._tag`: its instances, without those that are critical."""
    if len(labels) == 2 and labels[0][0] == labels[1][0] == "_":
        tag = labels[1][1:]
        return _service(ctx, labels[0][1:], "" if tag in _PROTOCOLS else tag, question)
    found = _service(ctx, labels[-1], ".".join(labels[:-1]), question)
    if found.exists or len(labels) == 1:
        return found
    # No service of that name has the tag: the dots may belong to the name.
    whole = _service(ctx, ".".join(labels), "", question)
    reads = None if found.reads is None or whole.reads is None else found.reads | whole.reads
    return replace(whole if whole.exists else found, reads=reads)


def node(ctx: Context, labels: tuple[str, ...], question: Question) -> Answer:
    """A node by name; if there is none, the instances of a service of that name."""
    asked = ".".join(labels)
    for name in _possible(ctx, FOLDED_NODES, asked):
        row = ctx.engine.get(Node.table_id, name.encode())
        if row is not None:
            meta = row.cells[_META] or {}
            address = row.cells[_ADDRESS]
            targets = [Target(address, node=name, name=name, meta=meta)] if address else []
            reads = frozenset({(Node.table_id, asked.encode())})
            return Answer(targets, ttl_s=_ttl_s([meta]), shows=(("agent:read", name),), reads=reads)
    found = _service(ctx, asked, "", question)
    if found.reads is None:
        return found
    return replace(found, reads=found.reads | {(Node.table_id, asked.encode())})


def addr(ctx: Context, labels: tuple[str, ...], question: Question) -> Answer:  # noqa: ARG001 - a resolver's
    """`0a000001`: an address in hexadecimal digits, 8 or 32 of them."""
    try:
        packed = bytes.fromhex(labels[0]) if len(labels) == 1 and labels[0].isalnum() else b""
    except ValueError:
        packed = b""
    if len(packed) == 4:
        text = ".".join(map(str, packed))
    elif len(packed) == 16:
        text = ":".join(labels[0][at : at + 4] for at in range(0, 32, 4))
    else:
        return Answer(exists=False, reads=frozenset())
    return Answer([Target(text)], reads=frozenset())


async def reverse(ctx: Context, labels: tuple[str, ...], question: Question) -> Answer:
    """What has the address: nodes, else services."""
    nodes, services = await book_of(ctx.engine).at(labels[0])
    targets = [Target(labels[0], node=name) for name in nodes[: question.most]]
    targets = targets or [Target(labels[0], name=name) for name in services[: question.most]]
    if not targets:
        return NOWHERE
    kind = "agent:read" if nodes else "service:read"
    return Answer(targets, shows=tuple((kind, target.node or target.name) for target in targets))


def _service(ctx: Context, asked: str, tag: str, question: Question) -> Answer:
    health = PASSING if question.passing else SERVING
    reads: set[Token] = {(Instance.table_id, asked.encode())}
    for name in _possible(ctx, FOLDED_SERVICES, asked):
        found, exists = _instances(ctx, name, tag, health, question.most)
        if exists:
            targets = _targets(ctx, found, reads, with_nodes=question.type == "SRV")
            ttl_s = _ttl_s([one.meta for one in found])
            return Answer(targets, ttl_s=ttl_s, shows=(("service:read", name),), reads=frozenset(reads))
    # Whether there is one is not for everybody either.
    is_sure = book_of(ctx.engine).is_fresh
    return Answer(exists=False, shows=(("service:read", asked),), reads=frozenset(reads) if is_sure else None)


def _instances(ctx: Context, name: str, tag: str, health: str, most: int) -> tuple[list[Candidate], bool]:
    """Those to be told, and whether there is any with the tag, however it is."""
    if not is_possible(f"{name}{SEPARATOR}".encode()):
        return [], False
    if ctx.pipeline.visible is not None:
        ctx = replace(ctx, identity=INSIDE)
    tags = (tag,) if tag else ()
    found = candidates_of(ctx, name, most, health, tags=tags)  # type: ignore[arg-type]
    if found or candidates_of(ctx, name, 1, ANY, tags=tags):
        return found, True
    if not tag:
        return [], False
    # Tags know upper case, names in DNS do not.
    every = [
        one for one in candidates_of(ctx, name, most, ANY) if any(tag == own.lower() for own in one.tags)
    ]
    told = {one.key for one in candidates_of(ctx, name, most, health)}  # type: ignore[arg-type]
    return [one for one in every if one.key in told], bool(every)


def _targets(
    ctx: Context, found: Sequence[Candidate], reads: set[Token], *, with_nodes: bool
) -> list[Target]:
    known: dict[str, str] = {}
    targets = []
    for one in found:
        its_node = one.node if with_nodes else None
        if its_node is not None:
            if its_node not in known:
                known[its_node] = _address_of(ctx, its_node)
                reads.add((Node.table_id, its_node.lower().encode()))
            if known[its_node] != one.address:
                its_node = None
        targets.append(
            Target(one.address, one.port, weight_of(one), node=its_node, name=one.name, meta=one.meta)
        )
    return targets


def _address_of(ctx: Context, name: str) -> str:
    """A node's address, if its name is one label of DNS."""
    if _LABEL.fullmatch(name) is None:
        return ""
    row = ctx.engine.get(Node.table_id, name.encode())
    return "" if row is None else str(row.cells[_ADDRESS])


def _possible(ctx: Context, kind: str, asked: str) -> Iterator[str]:
    """Stored names that are this one but for capitals, which DNS does not tell apart."""
    yield asked
    yield from book_of(ctx.engine).spelled(kind, asked)


def weight_of(one: Candidate) -> int:
    """The share that an instance's metadata say it has, 1 if they do not."""
    text = one.meta.get(WEIGHT_META, "")
    if one.health == WARNING:
        text = one.meta.get(WARNING_WEIGHT_META, text)
    return min(int(text), _WEIGHT_MAX) if text.isdecimal() and len(text) < 10 else 1


def _ttl_s(metas: Sequence[object]) -> int | None:
    """The shortest that one of them says; None if none does."""
    said = [_seconds(meta[TTL_META]) for meta in metas if isinstance(meta, dict) and TTL_META in meta]
    return min((one for one in said if one is not None), default=None)


def _seconds(text: str) -> int | None:
    try:
        return min(parse_duration_ms(text) // 1_000, _TTL_MAX_S)
    except ValueError:
        return min(int(text), _TTL_MAX_S) if text.isdecimal() and len(text) < 10 else None


def _part_of(table: int, key: bytes) -> bytes:
    """The service or node that a changed row belongs to, as DNS spells it."""
    return (key.partition(SEPARATOR.encode())[0] if table == Instance.table_id else key).lower()


_FOLLOWED: Final = (_SERVICES, _NODES)
NAMES: Final = {
    "service": Resolver(service, _FOLLOWED, _part_of),
    "node": Resolver(node, _FOLLOWED, _part_of),
    "addr": Resolver(addr),
    "arpa": Resolver(reverse),
}
"""By label: what the catalog answers to."""
