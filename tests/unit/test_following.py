"""What follows tables is told of every change, and of everything anew after it missed something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from konsul.engine import Engine
from konsul.errors import NoLeader, Stopping
from konsul.features.kv.tables import FORM, Entry
from konsul.kernel import entry
from konsul.kernel.config import Config
from konsul.kernel.feature import Feature, load
from konsul.kernel.following import Changes, Following
from konsul.kernel.node import Kernel
from konsul.kernel.watching import Spec
from tests.core.node import options
from tests.waiting import until_async

KV = Entry.table_id


class Party:
    """Who follows: remembers what it was told, and can be unable to read."""

    def __init__(self) -> None:
        self.told: list[Changes] = []
        self.lost = 0
        self.fails: list[Exception | None] = []
        """What the next reading fails with; None: it says that it could not."""

    def take(self, changes: Changes) -> bool:
        self.told.append(changes)
        if not self.fails:
            return True
        error = self.fails.pop()
        if error is not None:
            raise error
        return False

    def lose(self) -> None:
        self.lost += 1


Story = Callable[[Kernel, Following, Party], Awaitable[None]]
TABLES = Feature(
    name="tables", tables=tuple(row for name in ("kv", "sessions", "catalog") for row in load(name).tables)
)
"""Keys, and what they point at: who holds one is a session, which has checks and a node."""


def followed(folder: Path, story: Story, *, at_once: bool = False) -> Party:
    party = Party()

    async def run() -> None:
        kernel = Kernel(Engine(options(folder, backend="memory")), Config(()), (TABLES,))
        await kernel.start()
        following = Following(kernel, [Spec(FORM, KV, "**")], party.take, party.lose, at_once=at_once)
        following.start("following")
        try:
            assert party.told == [None], "what is stored is read at the start"
            await story(kernel, following, party)
        finally:
            await following.stop()
            assert not following.watches
            await kernel.stop(1_000)

    asyncio.run(run())
    return party


async def put(kernel: Kernel, *keys: str) -> None:
    rows = [Entry(key=key, value=b"v", expires_at_ms=None, session=None) for key in keys]
    ops = [entry.put(Entry, row.key, row.cells()) for row in rows]
    await kernel.engine.commit(entry.encode([entry.case([], ops)]))


def test_changes_of_one_turn_are_told_together(tmp_path: Path) -> None:
    async def story(kernel: Kernel, following: Following, party: Party) -> None:
        await put(kernel, "a", "b", "c")
        await until_async(lambda: len(party.told) > 1, "the change to be told")

    assert followed(tmp_path, story).told == [None, {(KV, b"a"), (KV, b"b"), (KV, b"c")}]


def test_at_once_each_is_told_by_itself(tmp_path: Path) -> None:
    async def story(kernel: Kernel, following: Following, party: Party) -> None:
        await put(kernel, "a", "b")
        index = kernel.engine.contact()[2]
        await until_async(lambda: following.watches[0].position >= index, "the watch to be past it")
        assert party.told == [None, {(KV, b"a")}, {(KV, b"b")}]

    followed(tmp_path, story, at_once=True)


@pytest.mark.parametrize("error", [None, NoLeader("no tables"), RuntimeError("a defect")])
def test_what_could_not_be_read_is_read_anew(tmp_path: Path, error: Exception | None) -> None:
    async def story(kernel: Kernel, following: Following, party: Party) -> None:
        party.fails.append(error)
        await put(kernel, "a")
        await until_async(lambda: len(party.told) > 2, "another attempt")
        assert following.health() is None

    assert followed(tmp_path, story).told == [None, {(KV, b"a")}, None]


def test_who_missed_something_reads_everything(tmp_path: Path) -> None:
    async def story(kernel: Kernel, following: Following, party: Party) -> None:
        sink = following.watches[0].sink
        sink.event(1, b"a", b"")
        sink.behind(2)
        sink.event(3, b"b", b"")
        await until_async(lambda: len(party.told) > 1, "everything to be read")
        sink.compacted(4)
        await until_async(lambda: len(party.told) > 2, "everything to be read again")

    assert followed(tmp_path, story).told == [None, None, None]


def test_an_ended_watch_is_opened_anew_and_what_it_missed_is_read(tmp_path: Path) -> None:
    async def story(kernel: Kernel, following: Following, party: Party) -> None:
        old = following.watches[0]
        kernel.watching.end(old, Stopping("for the test"))
        assert party.lost == 1
        old.sink.event(1, b"a", b"")
        await until_async(lambda: len(party.told) > 1, "the watch to stand again")
        assert following.watches[0] is not old

    party = followed(tmp_path, story)
    assert party.told == [None, None], "nothing is told while no watch stands"
    assert party.lost == 2, "once more at the stop"


def test_without_room_for_a_watch_it_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(kernel: Kernel, following: Following, party: Party) -> None:
        open_ = kernel.watching.open
        tries = 0

        def refused(*_: object, **__: object) -> None:
            nonlocal tries
            tries += 1
            raise NoLeader("no tables")

        monkeypatch.setattr(kernel.watching, "open", refused)
        kernel.watching.end(following.watches[0], Stopping("for the test"))
        await until_async(lambda: tries > 1, "another attempt")
        assert following.health() is None
        monkeypatch.setattr(kernel.watching, "open", open_)
        await until_async(lambda: len(party.told) > 1, "the watch to stand again")

    assert followed(tmp_path, story).told == [None, None]
