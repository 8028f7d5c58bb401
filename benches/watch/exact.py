"""Watchers of different patterns under steady writes: each must get exactly what matches, in order."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

from benches.watch.listening import NOTICES, Listener, Told, mixed
from benches.watch.writing import Acked, Writer

WRITERS = 16
KEYS_EACH = 150
BATCH = 3
DRAIN_MAX_S = 60.0

Change = tuple[int, str, str]
"""modify_index, "set" or "delete", key."""


@dataclass
class Exact:
    """What the comparison of all watchers with the log of acknowledged writes came to."""

    watchers: int
    writes: int
    changes: int
    seconds: float
    expected: int
    received: int
    notices: int
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "; ".join(self.wrong[:5]) if self.wrong else "exactly the matching ones, in index order"
        return (
            f"{self.writes} acknowledged writes ({self.changes} changes) in {self.seconds:.0f} s, "
            f"{self.writes / self.seconds:.0f}/s, to {self.watchers} watchers: {self.received} events, "
            f"{self.expected} expected, {self.notices} told behind or compacted; watchers with a difference "
            f"{len(self.wrong)}: {verdict}"
        )


def key(number: int) -> str:
    """Key `number`: three depths."""
    shapes = ("live/a{0:02}/k{1}", "live/a{0:02}/b{2}/k{1}", "deep/a{0:02}/b{2}/c/k{1}")
    return shapes[number % 3].format(number % 50, number, number % 7)


def pattern(number: int) -> str:
    """Pattern `number`, each another one: exact keys, both stars, at the end and between, `?` and `[..]`."""
    if number < 2:
        return ("**", "live/**")[number]
    match number % 5:
        case 0:
            return key(number)
        case 1:
            return f"**/k{number}"
        case 2:
            return f"live/*/*/k{number // 5 + 1}?"
        case 3:
            return f"live/a[0-4][0-9]/k{number // 5 + 1}*"
        case _:
            return f"deep/**/k{number // 5 + 1}*"


def matches(wanted: str, name: str) -> bool:
    """Whether a pattern covers a key."""
    return _expression(wanted).fullmatch(name) is not None


@cache
def _expression(wanted: str) -> re.Pattern[str]:
    """The spec's table once more, as a regular expression: `**` is one segment or more, `*` `?` `[..]` stay
    within one."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\]]*\])", wanted)
    signs = {"**": r".+", "*": r"[^/]*", "?": r"[^/]"}
    found = "".join(signs.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts)
    return re.compile(found)


async def measure(folder: Path, url: str, watchers: int, rate: int, seconds: int) -> Exact:
    """Runs writers and watchers, and compares."""
    plan = mixed(watchers, lambda number: f"/kv/watch/{quote(pattern(number), safe='/*')}")
    with Listener(folder, url, plan) as listener:
        log, writes, took_s = await written(url, rate, seconds)
        changes = sorted(log)
        names = {name for _, _, name in changes}
        sees = [{name for name in names if matches(pattern(who), name)} for who in range(watchers)]
        expected = [[one for one in changes if one[2] in sees[who]] for who in range(watchers)]
        total = sum(len(one) for one in expected)
        await asyncio.to_thread(listener.reached, total, DRAIN_MAX_S)
        # Whatever is told beyond that is wrong too: it gets the time to come.
        await asyncio.sleep(2.0)
        told = listener.told()
    got = compared(expected, told)
    notices = sum(one.type in NOTICES for one in told)
    return Exact(watchers, writes, len(changes), took_s, total, len(told) - notices, notices, got)


def compared(expected: Sequence[Sequence[Change]], told: Sequence[Told]) -> list[str]:
    """A word for every watcher that missed something, got something twice or in another order."""
    received: list[list[Change]] = [[] for _ in expected]
    for one in told:
        if one.type not in NOTICES:
            received[one.watcher].append((one.index, one.type, one.key))
    wrong = []
    for who, (wanted, got) in enumerate(zip(expected, received, strict=True)):
        # Changes of one index are one entry: they are told together, in whatever order.
        if [one[0] for one in got] != [one[0] for one in wanted] or sorted(got) != list(wanted):
            missing, extra = sorted(set(wanted) - set(got)), sorted(set(got) - set(wanted))
            wrong.append(
                f"{pattern(who)}: {len(got)} of {len(wanted)}, missing {missing[:3]}, strange {extra[:3]}"
            )
    return wrong


async def written(url: str, rate: int, seconds: int) -> tuple[list[Change], int, float]:
    """The log: every acknowledged change; how many writes; how long it took."""
    log: list[Change] = []
    begun_s = time.monotonic()
    counts = await asyncio.gather(
        *(_write(url, who, rate, seconds, begun_s, log) for who in range(WRITERS)),
    )
    return log, sum(counts), time.monotonic() - begun_s


async def _write(url: str, who: int, rate: int, seconds: int, begun_s: float, log: list[Change]) -> int:
    """One writer's share: each write when it is due, of keys of its own, so that it knows what exists."""
    dice = random.Random(who)  # noqa: S311 - a repeatable load
    own = [key(who * KEYS_EACH + number) for number in range(KEYS_EACH)]
    alive: set[str] = set()
    writer = await Writer.to(url)
    share = rate * seconds // WRITERS
    for number in range(share):
        late_s = begun_s + (number * WRITERS + who) / rate - time.monotonic()
        await asyncio.sleep(max(0.0, late_s))
        await _one(writer, dice, own, alive, log)
    writer.close()
    return share


async def _one(
    writer: Writer, dice: random.Random, own: list[str], alive: set[str], log: list[Change]
) -> None:
    name, turn = dice.choice(own), dice.random()
    acked: Acked
    if turn < 0.15 and name in alive:
        acked = await writer.send("DELETE", f"/kv/{name}")
        alive.discard(name)
        log.append((acked.index, "delete", name))
    elif turn > 0.9:
        names = dice.sample(own, BATCH)
        items = {one: f"{dice.random()}" for one in names}
        acked = await writer.send("POST", "/batch/kv/set", {"items": items})
        alive.update(names)
        log.extend((acked.index, "set", one) for one in names)
    else:
        acked = await writer.put(name, f"{dice.random()}")
        alive.add(name)
        log.append((acked.index, "set", name))
