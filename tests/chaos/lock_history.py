"""What holders of locks believed and what they wrote, and the judge of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Belief:
    """Somebody held `key` under `token`: he believed so at both of these moments of the one clock."""

    client: str
    key: str
    session: str
    token: int
    first_us: int
    last_us: int


@dataclass(frozen=True)
class Guarded:
    """A write under `token`, applied at `index` because the session held the lock then."""

    client: str
    key: str
    token: int
    index: int


class LockHistory:
    """Beliefs and writes, also in a file."""

    def __init__(self, path: Path) -> None:
        self.beliefs: list[Belief] = []
        self.writes: list[Guarded] = []
        self.counts: Counter[str] = Counter()
        self._file = path.open("w", encoding="utf-8")

    def believed(self, belief: Belief) -> None:
        self.beliefs.append(belief)
        self._write("held", belief)

    def wrote(self, write: Guarded) -> None:
        self.writes.append(write)
        self._write("written", write)

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, what: Belief | Guarded) -> None:
        self.counts[kind] += 1
        self._file.write(json.dumps({"kind": kind} | asdict(what)) + "\n")


def judge(beliefs: Iterable[Belief], writes: Iterable[Guarded]) -> list[str]:
    """What was promised and not kept; empty when all was.

    At any moment at most one believes that he holds a key; whoever holds it later has a higher token; and
    what was written under a lower token was applied before what was written under a higher one.
    """
    problems: list[str] = []
    held: dict[str, list[Belief]] = {}
    for belief in beliefs:
        held.setdefault(belief.key, []).append(belief)
    for key, those in sorted(held.items()):
        those.sort(key=lambda one: (one.first_us, one.last_us))
        latest = those[0]
        for one in those[1:]:
            if one.first_us <= latest.last_us:
                problems.append(f"{key}: two holders at once: {latest} and {one}")
            if one.token <= latest.token:
                problems.append(f"{key}: a later holder has no higher token: {latest}, then {one}")
            latest = max(latest, one, key=lambda each: each.last_us)
    written: dict[str, list[Guarded]] = {}
    for write in writes:
        written.setdefault(write.key, []).append(write)
    for key, these in sorted(written.items()):
        these.sort(key=lambda one: one.index)
        problems += [
            f"{key}: a write of a former holder came through: {before}, then {after}"
            for before, after in pairwise(these)
            if after.token < before.token
        ]
    return problems
