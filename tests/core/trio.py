"""Three nodes of one cluster inside this process, on loopback and in the clear."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from konsul.calls import Caller
from konsul.engine import Engine, Options
from konsul.errors import Busy, Conflict
from tests.core.node import SCHEMA
from tests.waiting import pace, until_async

LONG_MS = 20_000


def free_address() -> str:
    """An address nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def member_options(data_dir: Path, name: str, **more: Any) -> Options:
    """Options of a quick, small member."""
    settings: dict[str, Any] = {
        "node_id": 0,
        "cluster": True,
        "node_name": name,
        "bind_addr": free_address(),
        "allow_plaintext": True,
        "heartbeat_ms": 50,
        "election_ms": 500,
        "leader_wait_ms": 500,
        "segment_bytes": 1 << 20,
        "disk_reserve_bytes": 1 << 20,
        "version": "1.0.0",
    }
    return Options(data_dir=str(data_dir), **(settings | more))


def leads(engine: Engine) -> bool:
    """Whether it may answer reads as the leader."""
    return bool(engine.status()["role"] == "leader" and engine.is_current())


async def change(leader: Engine, op: dict[str, Any]) -> None:
    """One change of members; tried again while another is under way or the member has not caught up."""
    while True:
        try:
            return await leader.change_members(op, LONG_MS)
        except (Busy, Conflict):
            await pace(0.02)


async def take_in(leader: Engine, fresh: Engine) -> None:
    """Adds a fresh node and makes it a voter."""

    async def hello(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        return fresh.cluster() | {"asked": body["by"], "stranger": caller.raft_id == 0}

    fresh.handlers.add("hello", hello, open=True)
    found = await leader.call(fresh.options.bind_addr, "hello", {"by": "leader"}, LONG_MS)
    assert (found["state"], found["asked"], found["stranger"]) == ("unformed", "leader", True)
    record = {
        "node_id": fresh.options.node_name,
        "address": fresh.options.bind_addr,
        "http_address": "",
        "zone": "",
        "version": fresh.options.version,
        "log_version": 3,
        "read_only": False,
    }
    await fresh.adopt(leader.cluster()["cluster_id"], LONG_MS)
    await change(leader, {"op": "add", "raft_id": found["raft_id"], **record})
    await change(leader, {"op": "promote", "raft_id": found["raft_id"]})


@asynccontextmanager
async def trio(tmp_path: Path, **more: Any) -> AsyncIterator[list[Engine]]:
    """Three voters; the first leads."""
    async with AsyncExitStack() as stack:
        engines = []
        for name in ("n1", "n2", "n3"):
            engine = Engine(member_options(tmp_path / name, name, **more))
            await engine.start(SCHEMA)
            stack.push_async_callback(engine.stop, 2_000)
            engines.append(engine)
        await engines[0].bootstrap(LONG_MS)
        await until_async(lambda: leads(engines[0]), "the founder to lead")
        for fresh in engines[1:]:
            await take_in(engines[0], fresh)
        await until_async(lambda: all(knows_three(engine) for engine in engines), "three members everywhere")
        yield engines


def knows_three(engine: Engine) -> bool:
    """Whether it has heard of all three voters and of their leader, and may vote.

    A young process gives no votes: a leader may count on what its former life promised.
    """
    if engine.status()["uptime_ms"] < engine.options.election_ms:
        return False
    view = engine.cluster()
    voters = [member for member in view["members"] if member["role"] == "voter"]
    return len(voters) == 3 and bool(view["known_leader"])


async def leader_of(engines: list[Engine]) -> Engine:
    """The one that leads, once one does."""
    await until_async(lambda: any(leads(engine) for engine in engines), "a leader")
    return next(engine for engine in engines if leads(engine))


async def settled(engines: list[Engine]) -> bytes:
    """The digest of all, once they are equal."""
    await until_async(lambda: len({engine.digest() for engine in engines}) == 1, "equal tables")
    return await asyncio.to_thread(engines[0].digest)
