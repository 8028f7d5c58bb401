"""Finding events in the store: filters, pages, and an end to how much one question may cost.

A page is bounded by its events and by the bytes and the time spent on looking; the cursor says where the next
one goes on. Positions are those of recording, so events that come meanwhile neither repeat nor shift a page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from konsul.errors import Invalid
from konsul.features.audit.events import escape
from konsul.features.audit.store import KEY_MAX, LONGEST_NS, Block, EventStore

LIMIT_MAX: Final = 1_000
LIMIT_DEFAULT: Final = 100
LOOKED_BYTES_MAX: Final = 64 << 20
LOOKED_S_MAX: Final = 0.5
RESULTS: Final = ("success", "denied", "error", "unknown")
_CURSOR: Final = re.compile(r"([0-9]{1,20})\.([0-9]{1,9})", re.ASCII)
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for; None asks for nothing in particular. A trailing `*` in `action` and `resource`
    stands for anything."""

    actor: str | None = None
    """The actor's id or name."""
    actor_type: str | None = None
    action: str | None = None
    resource: str | None = None
    result: str | None = None
    source_ip: str | None = None
    request_id: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    """Exclusive."""
    oldest_first: bool = False

    def accepts(self, event: Event) -> bool:
        """Whether an event is looked for; its time is judged elsewhere."""
        actor, resource = event["actor"], event["resource"]
        ids = event.get("resources") or [resource.get("id", "")]
        return (
            (self.actor is None or self.actor in (actor.get("id"), actor.get("name")))
            and (self.actor_type is None or self.actor_type == actor["type"])
            and (self.action is None or _matches(self.action, event["action"]))
            and (self.resource is None or any(_matches(self.resource, each) for each in ids))
            and (self.result is None or self.result == event["result"])
            and (self.source_ip is None or self.source_ip == event["source_ip"])
            and (self.request_id is None or self.request_id == event["request_id"])
        )

    def needles(self) -> list[bytes]:
        """Texts that a line holds if it is accepted: most lines are left out without being decoded."""
        exact = (self.actor, self.actor_type, self.result, self.source_ip, self.request_id)
        found = [f'"{escape(text)}"' for text in exact if text is not None]
        for text in (self.action, self.resource):
            if text is not None:
                is_open = text.endswith("*")
                found.append('"' + escape(text.removesuffix("*")) + ("" if is_open else '"'))
        return [text.encode("utf-8", "replace") for text in found if text != '"']


@dataclass(frozen=True, slots=True)
class Page:
    """The lines found, in order; `after` goes on from here; `more` is False once there is nothing left.

    `head`: of a first page from the newest, where the oldest first go on with what comes later.
    """

    lines: tuple[bytes, ...]
    after: str
    more: bool
    head: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A line of the store: its block, and its number there from 0."""

    key: int
    number: int

    def __str__(self) -> str:
        return f"{self.key}.{self.number}"


def position(cursor: str | None) -> Position | None:
    """Reads a cursor. Raises Invalid for one that no page gave."""
    if not cursor:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[1]) > KEY_MAX:
        raise Invalid("after: expected what an earlier answer gave as after")
    return Position(int(match[1]), int(match[2]))


def find(
    store: EventStore,
    question: Question,
    *,
    limit: int,
    after: Position | None = None,
    clock: Callable[[], float] = time.monotonic,
    looked_bytes_max: int = LOOKED_BYTES_MAX,
) -> Page:
    """One page. Raises what RocksDB raises."""
    deadline_s = clock() + LOOKED_S_MAX
    needles = question.needles()
    found: list[bytes] = []
    last = after
    looked = 0
    head = ""
    for block in _blocks(store, question, after):
        if last is None and not question.oldest_first:
            head = str(Position(block.key, block.count - 1))
        if looked and (looked >= looked_bytes_max or clock() >= deadline_s):
            return Page(tuple(found), str(last or ""), True, head)
        if after is None or block.key != after.key:
            # Not the block the cursor is in: every page gets on by at least one of its own.
            looked += len(block.text)
        if _may_hold(block, question, needles):
            for number, line in _lines(block, question, after):
                last = Position(block.key, number)
                if _is_asked(line, question, needles):
                    found.append(line)
                    if len(found) == limit:
                        return Page(tuple(found), str(last), True, head)
        last = Position(block.key, block.count - 1 if question.oldest_first else 0)
    return Page(tuple(found), str(last or ""), False, head)


def _blocks(store: EventStore, question: Question, after: Position | None) -> Iterator[Block]:
    """The blocks that may matter, in order. A block is written after all of its events were."""
    horizon = store.horizon_ns()
    last = None if question.to_ns is None or store.is_ahead() else question.to_ns + LONGEST_NS
    if question.oldest_first:
        begin = max(horizon, question.from_ns or 0, after.key if after else 0)
        for block in store.oldest_first(begin):
            if last is not None and block.key > last:
                return
            yield block
        return
    end = KEY_MAX if last is None else min(KEY_MAX, last)
    lowest = max(horizon, question.from_ns or 0)
    for block in store.newest_first(min(end, after.key) if after else end):
        if block.key < lowest:
            return
        yield block


def _may_hold(block: Block, question: Question, needles: Iterable[bytes]) -> bool:
    if question.from_ns is not None and block.last_ns < question.from_ns:
        return False
    if question.to_ns is not None and block.first_ns >= question.to_ns:
        return False
    return all(needle in block.text for needle in needles)


def _lines(block: Block, question: Question, after: Position | None) -> Iterator[tuple[int, bytes]]:
    """The block's lines past the cursor, numbered."""
    lines = list(enumerate(block.text.splitlines()))
    if question.oldest_first:
        return iter(lines[after.number + 1 :] if after and after.key == block.key else lines)
    return reversed(lines[: after.number] if after and after.key == block.key else lines)


def _is_asked(line: bytes, question: Question, needles: Iterable[bytes]) -> bool:
    if not all(needle in line for needle in needles):
        return False
    at = line[64:94]
    if question.from_ns is not None and at < stamp(question.from_ns):
        return False
    if question.to_ns is not None and at >= stamp(question.to_ns):
        return False
    return question.accepts(orjson.loads(line))


def stamp(at_ns: int) -> bytes:
    """A time as events have it: their order is that of the text."""
    second, nanos = divmod(at_ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{nanos:09d}Z".encode()


def _matches(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
