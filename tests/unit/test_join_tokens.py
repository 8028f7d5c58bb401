"""Join tokens on a real engine: counted, timed, revoked, and stored as nothing but a hash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack
import pytest

from konsul.engine import Engine
from konsul.errors import Forbidden, Invalid, KonsulError, NotFound
from konsul.features.cluster import tokens
from konsul.features.cluster.autopilot_config import change, in_force
from konsul.features.cluster.tables import JoinTokenRow, SettingsRow
from konsul.kernel.config import load
from konsul.kernel.schema import compile_schema
from konsul.kernel.settings import GROUPS
from tests.core.node import running
from tests.waiting import until_async

Story = Callable[[Engine], Awaitable[None]]


def told(folder: Path, story: Story) -> None:
    async def run() -> None:
        schema = compile_schema([JoinTokenRow, SettingsRow])
        async with running(folder / "data", schema, backend="memory") as engine:
            await story(engine)

    asyncio.run(run())


async def made(engine: Engine, **more: object) -> str:
    given: dict[str, object] = {"ttl_ms": None, "uses": None, "description": ""} | more
    return (await tokens.create(engine, **given))[0]  # type: ignore[arg-type]


async def lets_in(engine: Engine, token: str, raft_id: int = 1) -> bool:
    try:
        await tokens.admit(engine, token, raft_id, static="", always=False)
    except Forbidden:
        return False
    return True


def test_a_counted_token_is_spent_and_the_same_node_may_ask_again(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        assert await lets_in(engine, ""), "nobody asked for a token so far"
        twice = await made(engine, uses=2)
        assert not await lets_in(engine, "")
        assert [await lets_in(engine, twice, node) for node in (1, 1, 2, 3, 2)] == [
            True,
            True,
            True,
            False,
            True,
        ]
        assert tokens.listed(engine)[0].uses_left == 0
        assert not await lets_in(engine, "", 4), "a token that is used up does not open the door"

    told(tmp_path, story)


def test_who_is_taken_out_needs_another_use_to_come_back(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        once = await made(engine, uses=1)
        assert await lets_in(engine, once, 7)
        assert await lets_in(engine, once, 7), "its answer may have been lost"
        await tokens.forget(engine, 8)
        assert await lets_in(engine, once, 7)
        await tokens.forget(engine, 7)
        assert not await lets_in(engine, once, 7)

    told(tmp_path, story)


def test_nodes_that_hurry_do_not_share_a_use(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        token = await made(engine, uses=2)
        came = await asyncio.gather(*(lets_in(engine, token, node) for node in range(1, 5)))
        assert sum(came) == 2

    told(tmp_path, story)


def test_a_token_ends(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        token = await made(engine, ttl_ms=1)
        await until_async(lambda: not tokens.listed(engine), "it to be over")
        assert not await lets_in(engine, token)
        other = await made(engine)
        assert await lets_in(engine, other)
        await tokens.revoke(engine, tokens.listed(engine)[0].id)
        assert not await lets_in(engine, other)

    told(tmp_path, story)


def test_only_the_hash_is_stored(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        token = await made(engine, description="for the new rack")
        rows, _ = engine.scan_packed(JoinTokenRow.table_id)
        assert token.encode() not in b"".join(part for row in rows for part in row)
        assert rows[0][0].decode() == tokens.digest(token)
        assert tokens.listed(engine)[0].description == "for the new rack"

    told(tmp_path, story)


@pytest.mark.parametrize("wrong", ["", "0" * 15, "0" * 16, "g" * 16, "../" * 6])
def test_what_is_no_token_cannot_be_revoked(tmp_path: Path, wrong: str) -> None:
    async def story(engine: Engine) -> None:
        await made(engine)
        with pytest.raises(NotFound):
            await tokens.revoke(engine, wrong)
        assert len(tokens.listed(engine)) == 1

    told(tmp_path, story)


@pytest.mark.parametrize(
    "bounds", [{"uses": 0}, {"uses": 1_001}, {"ttl_ms": 0}, {"ttl_ms": 10**12}, {"description": "\n"}]
)
def test_bounds_out_of_range_are_refused(tmp_path: Path, bounds: dict[str, object]) -> None:
    async def story(engine: Engine) -> None:
        with pytest.raises(Invalid):
            await made(engine, **bounds)
        assert tokens.listed(engine) == []

    told(tmp_path, story)


def test_autopilots_settings_are_changed_together(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        config = load(GROUPS, environ={"KONSUL_AUTOPILOT_MIN_QUORUM": "5"})
        assert in_force(engine, config).min_quorum == 5
        await asyncio.gather(
            change(engine, config, {"enabled": False}),
            change(engine, config, {"server_stabilization_time": "2s"}),
        )
        now = in_force(engine, load(GROUPS, environ={}))
        assert (now.enabled, now.server_stabilization_time_ms, now.min_quorum) == (False, 2_000, 5)
        with pytest.raises(KonsulError):
            await change(engine, config, {"enabled": True, "min_quorum": 99})
        assert in_force(engine, config) == now

    told(tmp_path, story)


def test_what_a_newer_node_stored_is_left_alone(tmp_path: Path) -> None:
    async def story(engine: Engine) -> None:
        stored = msgpack.packb([b'{"enabled":false,"later":1}'])
        await engine.put(SettingsRow.table_id, b"autopilot", stored)
        config = load(GROUPS, environ={})
        assert in_force(engine, config).enabled is False
        await change(engine, config, {"enabled": True})
        row = engine.get(SettingsRow.table_id, b"autopilot")
        assert row is not None
        assert b'"later":1' in row.cells[0]

    told(tmp_path, story)
