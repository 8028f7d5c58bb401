"""Which node runs which check: the one that scores highest for it, so that a node that comes or goes moves
only its own share (Thaler and Ravishankar, 'Using name-based mappings to increase hit rates', 1998)."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

_SCORE_BYTES = 8


def owner_of(check_id: bytes, nodes: Iterable[bytes]) -> bytes | None:
    """The node that runs the check, equal on every node that sees the same `nodes`; None without any."""
    best: tuple[bytes, bytes] | None = None
    for node in nodes:
        # The length keeps `a` + `bc` apart from `ab` + `c`; the node itself settles equal scores.
        score = blake2b(b"%d:%b%b" % (len(node), node, check_id), digest_size=_SCORE_BYTES).digest()
        if best is None or (score, node) > best:
            best = score, node
    return None if best is None else best[1]


def is_owner(check_id: bytes, node: bytes, nodes: Iterable[bytes]) -> bool:
    """Whether the check is `node`'s."""
    return owner_of(check_id, nodes) == node


def phase_of(check_id: bytes, interval_s: float) -> float:
    """Where in its interval a check runs, the same on every node: they are spread evenly without a word."""
    place: int = int.from_bytes(blake2b(check_id, digest_size=_SCORE_BYTES, person=b"konsul phase").digest())
    share: float = place / (1 << 8 * _SCORE_BYTES)
    return interval_s * share
