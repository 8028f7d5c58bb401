"""Choosing by hash: the same client or session meets the same instance, as long as it is there."""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

VIRTUAL_NODES: Final = 150
LOAD_FACTOR_MIN: Final = 1.01
LOAD_FACTOR_MAX: Final = 100.0
BASIS: Final = 10_000
"""A whole in hundredths of a percent."""
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_ROUND: Final = 1 << 64
_U64: Final = _ROUND - 1


def fnv1a_64(data: bytes, state: int = _FNV_OFFSET) -> int:
    """FNV-1a with 64 bits (Fowler, Noll, Vo; RFC 9923), going on from `state`."""
    for byte in data:
        state = (state ^ byte) * _FNV_PRIME & _U64
    return state


def place_of(text: str) -> int:
    """Where a text stands on the ring: its FNV-1a, stirred by MurmurHash3's finalizer (Appleby).

    FNV's last bytes reach only some of the bits. Unstirred, `user-1` to `user-9` are neighbours on the ring,
    and of ten instances one got no session at all (docs/decisions/ring-places.md).
    """
    return stirred(fnv1a_64(text.encode()))


def stirred(value: int) -> int:
    """A one-to-one map of 64 bits in which every bit depends on every other."""
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _U64
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _U64
    return value ^ value >> 33


def ip_hash(count: int, client_addr: str, most: int = 1) -> list[int]:
    """The same candidate for the same client address, as long as their number stays; then its neighbours."""
    place = fnv1a_64(client_addr.encode())
    return [(place + step) % count for step in range(min(most, count))]


def ring_points(node: str) -> array[int]:
    """Where the virtual nodes `node:0` to `node:149` stand on the ring, ascending."""
    start = fnv1a_64(f"{node}:".encode())
    hashes: list[int] = []
    for number in range(VIRTUAL_NODES):
        # FNV goes byte by byte, so `node:14` goes on from `node:1`: a step per point instead of a whole hash.
        before = hashes[number // 10] if number >= 10 else start
        hashes.append((before ^ ord("0") + number % 10) * _FNV_PRIME & _U64)
    return array("Q", sorted(map(stirred, hashes)))


def ring_hash(rings: Sequence[array[int]], session: str, most: int = 1) -> list[int]:
    """The candidate that owns the first point at or after the session's hash, past the end the first of all;
    then those that are met next on the way round.

    One search per candidate instead of one merged ring: nothing has to be rebuilt when instances come and go.
    """
    far = _distances(rings, place_of(session))
    if most == 1:
        return [far.index(min(far))]
    return heapq.nsmallest(most, range(len(far)), key=far.__getitem__)


def bounded_ring_hash(
    rings: Sequence[array[int]], session: str, loads: Sequence[int], factor: float, most: int = 1
) -> list[int]:
    """As `ring_hash`, past the candidates that are full: consistent hashing with bounded loads, after
    Mirrokni, Thorup and Zadimoghaddam (2018).

    Full is who has `ceil(factor * (all loads + 1) / candidates)`, the one that is about to come counted among
    the loads. With a factor above 1 somebody has room; were they all full, which loads from outside can be,
    the order of the ring holds.
    """
    far = _distances(rings, place_of(session))
    room = capacity(sum(loads), len(loads), factor)
    full: list[int] = []
    found: list[int] = []
    for at in _walk(far):
        if loads[at] < room:
            found.append(at)
            if len(found) == most:
                return found
        else:
            full.append(at)
    return (found + full)[:most]


def capacity(load: int, count: int, factor: float) -> int:
    """How much one of `count` may carry when one more comes to `load`."""
    return math.ceil(factor * (load + 1) / count)


def _distances(rings: Sequence[array[int]], place: int) -> list[int]:
    """How far each candidate's first point is from the place, going round."""
    far: list[int] = []
    for points in rings:
        found = bisect_left(points, place)
        far.append(points[found] - place if found < VIRTUAL_NODES else points[0] - place + _ROUND)
    return far


def _walk(far: list[int]) -> Iterator[int]:
    """Positions by distance; put in order only if the nearest will not do."""
    first = far.index(min(far))
    yield first
    yield from sorted(range(len(far)), key=far.__getitem__)[1:]


def point_of(text: str, salt: str) -> int:
    """Where a text falls in 0..BASIS-1, evenly, by BLAKE2b: no relation to where it falls on the ring.

    Were both one hash, a canary would get a section of the ring, and its sessions few of its instances.
    """
    # The salt goes in front with its length, so that no text can move the border between both.
    head = salt.encode()
    digest = blake2b(b"%d:%b%b" % (len(head), head, text.encode()), digest_size=8).digest()
    return int.from_bytes(digest) * BASIS >> 64
