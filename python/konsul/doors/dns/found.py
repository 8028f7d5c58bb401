"""What is known of one question: its records, ready to be put behind any header, in many orders."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from konsul.doors.dns import wire
from konsul.doors.dns.words import NOERROR

_ORDERS: Final = 8
"""Shuffles that are kept; each is read from another record on every time, so that all are first equally
often."""
_ORDERED_MAX: Final = 64
"""Of more records no shuffle is kept joined: they would not fit into one answer anyway."""


class Found:
    """The answer to one question, whoever asks. Its records point at nothing but the question's name."""

    __slots__ = (
        "_joined",
        "_orders",
        "_turn",
        "additional",
        "answers",
        "authority",
        "cell",
        "flags",
        "question",
        "rcode",
        "reads",
        "ready",
        "shows",
    )

    def __init__(
        self,
        rcode: int = NOERROR,
        answers: Sequence[bytes] = (),
        additional: Sequence[bytes] = (),
        authority: Sequence[bytes] = (),
        *,
        flags: int = wire.AA,
        shows: tuple[tuple[str, str], ...] = (),
        reads: frozenset[tuple[int, bytes]] | None = None,
    ) -> None:
        """`additional`: one for each of `answers`, or none at all; empty where there is nothing to add."""
        self.rcode = rcode
        self.answers = answers
        self.additional = additional
        self.authority = authority
        self.flags = flags
        self.shows = shows
        self.reads = reads
        self.ready: set[bytes] = set()
        """Under what the cache has it, made up for questions as they came."""
        self.question = b""
        """Name in lower case, type and class: what is limited is the same answer, however it is asked for."""
        self.cell = [0]
        """Where its answers are counted."""
        self._turn = random.randrange(1 << 16)  # noqa: S311 - spreads load, hides nothing
        self._orders: list[list[int]] = []
        self._joined: list[tuple[bytes, list[int]]] = []

    def order(self) -> list[int]:
        """The places of its answers, shuffled, in another order every time."""
        count = len(self.answers)
        if len(self._orders) < _ORDERS:
            self._orders.append(random.sample(range(count), count))
        order, start = self._orders[self._turn % len(self._orders)], self._turn // _ORDERS % count
        self._turn += 1
        return order[start:] + order[:start]

    def joined(self) -> bytes:
        """All of its answers behind each other, in another order every time."""
        if len(self.answers) < 2:
            return self.answers[0] if self.answers else b""
        joined, turn = self._joined, self._turn
        if len(joined) < _ORDERS:
            # One more for every use, until there are enough: many are used only once.
            joined.append(self._join())
        self._turn = turn + 1
        text, cuts = joined[turn % len(joined)]
        cut = cuts[turn // _ORDERS % len(cuts)]
        return text[cut:] + text[:cut]

    def _join(self) -> tuple[bytes, list[int]]:
        answers = list(self.answers)
        random.shuffle(answers)
        cuts, at = [], 0
        for answer in answers:
            cuts.append(at)
            at += len(answer)
        return b"".join(answers), cuts


class Ready:
    """The answer to one question as one client put it: only its id is missing."""

    __slots__ = ("_before", "_behind", "_fits", "_limits", "found")

    def __init__(
        self, found: Found, query: wire.Query, *, max_bytes: int, most: int, opt: bytes, extra: int
    ) -> None:
        """`max_bytes`: of the whole answer; `most`: records of it; `opt`: empty unless the client sent one;
        `extra`: flags besides those of `found`."""
        self.found = found
        flags = wire.flags_of(query.flags, found.rcode, extra=found.flags | extra)
        self._limits = (flags, query.question, opt, max_bytes, most)
        added = list(dict.fromkeys(filter(None, found.additional)))
        count = len(found.answers)
        counts = (1, count, len(found.authority), len(added) + bool(opt))
        self._before = wire.head(flags, *counts) + query.question
        self._behind = b"".join((*found.authority, *added, opt))
        size = 2 + len(self._before) + sum(map(len, found.answers)) + len(self._behind)
        self._fits = count <= min(most, _ORDERED_MAX) and size <= max_bytes

    def text(self) -> bytes:
        """The answer without its id, the records in another order every time."""
        if self._fits:
            return self._before + self.found.joined() + self._behind
        return self._chosen()

    def truncated(self) -> bytes:
        """What sends the client to TCP: TC, and no record."""
        flags, question, opt, _, _ = self._limits
        return wire.head(flags | wire.TC, 1, 0, 0, bool(opt)) + question + opt

    def _chosen(self) -> bytes:
        """As much as there is room for. Additional records may be left out without a word; an answer that
        lacks some that should be in it says so (RFC 2181, 9)."""
        found = self.found
        flags, question, opt, max_bytes, most = self._limits
        room = max_bytes - wire.HEADER - len(question) - len(opt) - sum(map(len, found.authority))
        order = found.order()[:most]
        taken: list[bytes] = []
        for place in order:
            answer = found.answers[place]
            if len(answer) > room:
                flags |= wire.TC
                break
            room -= len(answer)
            taken.append(answer)
        added: dict[bytes, None] = {}
        for place in order[: len(taken)] if found.additional else ():
            more = found.additional[place]
            if more and more not in added and len(more) <= room:
                room -= len(more)
                added[more] = None
        head = wire.head(flags, 1, len(taken), len(found.authority), len(added) + bool(opt))
        return b"".join((head, question, *taken, *found.authority, *added, opt))
