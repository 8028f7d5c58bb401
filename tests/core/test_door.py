"""The native door itself: its stub, its handshake, its completions on both loops."""

from __future__ import annotations

import asyncio
import itertools
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from konsul import _core
from konsul.engine import Engine, Replica
from konsul.errors import Busy, Stopping, Timeout
from tests.core.node import KV, SCHEMA, case, cells, options, running, story


def test_the_stub_says_what_the_binary_does() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "konsul._core"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "wrong"), [("ABI", "0"), ("VERSION", "'0.0.0'")])
def test_a_core_of_another_build_is_refused_at_import(name: str, wrong: str) -> None:
    code = f"import konsul._core as core; core.{name} = {wrong}; import konsul.engine"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "reinstall" in done.stderr


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_completions_wake_either_loop(tmp_path: Path, new_loop: Callable[[], Any]) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            writes = (engine.put(KV, b"%d" % n, cells(b"v")) for n in range(5_000))
            answers = await asyncio.gather(*writes)
            assert len({answer.index for answer in answers}) == 5_000
            assert not engine.waiting

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(told())


def test_a_front_may_reap_by_its_own_futures(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path, backend="memory") as engine:
            future: asyncio.Future[tuple[int, int, int, int, bytes]] = asyncio.Future()
            ticket = engine.core.put(KV, b"a", cells(b"v"), None, 5_000)
            engine.waiting[ticket] = future
            assert await future == (ticket, 0, 1, 0, b"")
            late = engine.core.put(KV, b"a", cells(b"v"), 9, 5_000)
            engine.waiting[late] = asyncio.Future()
            assert await engine.waiting[late] == (late, 1, 0, 1, b"a")

    story(told)


def test_a_writer_that_gave_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async def told() -> None:
        async with running(tmp_path) as engine:
            write = asyncio.ensure_future(engine.put(KV, b"a", cells(b"v")))
            await asyncio.sleep(0)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
            assert not engine.waiting
            await engine.put(KV, b"b", cells(b"v"))
            assert engine.count(KV) == 2

    story(told)


def test_the_descriptor_is_readable_while_answers_wait(tmp_path: Path) -> None:
    core = _core.Core(options(tmp_path, backend="memory").packed())
    core.start(SCHEMA)
    try:
        tickets = {core.put(KV, b"%d" % n, cells(b"v"), None, 5_000) for n in range(10)}
        seen: set[int] = set()
        while seen != tickets:
            assert select.select([core.fileno()], [], [], 10)[0]
            seen |= {ticket for ticket, *_ in core.reap(3)}
        assert core.reap(10) == []
    finally:
        core.stop(1_000)


def test_starting_twice_is_refused_and_stopping_twice_is_nothing(tmp_path: Path) -> None:
    core = _core.Core(options(tmp_path).packed())
    core.stop(0)
    core.start(SCHEMA)
    with pytest.raises(_core.CoreError, match="already running"):
        core.start(SCHEMA)
    core.stop(1_000)
    core.stop(1_000)
    with pytest.raises(_core.CoreError, match="not running"):
        core.status()


def test_every_ticket_given_before_a_stop_is_answered(tmp_path: Path) -> None:
    core = _core.Core(options(tmp_path).packed())
    core.start(SCHEMA)
    tickets: list[int] = []
    codes: set[int] = set()
    begun = threading.Event()

    def write(writer: int) -> None:
        for n in itertools.count():
            try:
                tickets.append(core.put(KV, b"%d/%d" % (writer, n % 100), cells(b"v"), None, 60_000))
            except _core.CoreError as refused:
                codes.add(refused.args[0])
                if refused.args[0] != Busy.code:
                    return
            if n == 50:
                begun.set()

    writers = [threading.Thread(target=write, args=[n]) for n in range(4)]
    for writer in writers:
        writer.start()
    assert begun.wait(30)
    core.stop(50)
    for writer in writers:
        writer.join(30)
    answered = {ticket for ticket, *_ in core.reap(1 << 30)}
    assert answered == set(tickets)
    assert codes <= {Busy.code, Stopping.code}


def test_a_stopped_engine_answers_whoever_waits(tmp_path: Path) -> None:
    async def told() -> None:
        engine = Engine(options(tmp_path))
        await engine.start(SCHEMA)
        with pytest.raises(Timeout):
            await engine.put(KV, b"a", cells(b"v"), timeout_ms=0)
        await engine.stop(0)
        await engine.stop(0)

    story(told)


def test_a_replica_and_its_snapshot_are_equal() -> None:
    replica = Replica(SCHEMA)
    assert replica.apply(1, case([], [[0, KV, b"a", [b"v"]]])) == (0, 1, 0, b"")
    assert replica.apply(1, case([[1, KV, b"a"]], [])) == (1, 0, 1, b"a")
    assert replica.apply(1, b"\xc1")[0] == 3
    twin = Replica.restore(replica.snapshot())
    assert (twin.index(), twin.digest(), twin.rows(KV)) == (1, replica.digest(), replica.rows(KV))
    with pytest.raises(_core.CoreError, match="damaged"):
        Replica.restore(replica.snapshot()[:-1])
