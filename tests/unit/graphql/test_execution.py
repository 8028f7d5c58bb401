"""What becomes of an operation that hangs, fails or cannot even be looked up, on a schema made for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import strawberry

from konsul.doors.graphql import execution
from konsul.doors.graphql.door import Door
from konsul.doors.graphql.live import Ended, Live
from konsul.doors.graphql.operation import Asked
from konsul.engine import Engine, Options
from konsul.errors import NotFound
from konsul.kernel.config import Config
from konsul.kernel.context import Context
from konsul.kernel.graphql_settings import GraphqlSettings
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS

closed: list[str] = []


async def for_ever() -> str:
    await asyncio.Event().wait()
    return "never"


@strawberry.type
class Query:
    @strawberry.field
    async def hangs(self) -> str:
        return await for_ever()

    @strawberry.field
    async def breaks(self) -> str | None:
        raise RuntimeError("the inside of the node")

    @strawberry.field
    async def fine(self) -> str:
        return "fine"


@strawberry.type
class Told:
    number: int

    @strawberry.field
    async def slow(self) -> str:
        return "quick" if self.number != 1 else await for_ever()


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def numbers(self, upto: int) -> AsyncGenerator[Told, None]:
        try:
            for number in range(upto):
                yield Told(number=number)
            if upto == 2:
                raise NotFound("the third")
        finally:
            closed.append("numbers")


def toy() -> strawberry.Schema:
    return strawberry.Schema(query=Query, subscription=Subscription)


def played(folder: Path, story: Callable[[Door, Context], Awaitable[None]], build: Any = toy) -> None:
    """Plays a story on a door of a node without features; an operation may take 100 ms."""

    async def run() -> None:
        config = Config([GraphqlSettings(execution_timeout_ms=100, subscription_rate_limit=1)])
        kernel = Kernel(Engine(Options(data_dir=str(folder), backend="memory")), config, ())
        context = Context(kernel.engine, config, ANONYMOUS, "r1", "10.0.0.1", kernel.pipeline)
        await story(Door(kernel, build), context)

    asyncio.run(run())


async def ask(door: Door, context: Context, query: str) -> tuple[int, dict[str, Any]]:
    prepared = await execution.prepare(door, Asked(query))
    return await execution.answer(door, prepared, door.operation(context, "graphql"))


def test_what_hangs_is_given_up(tmp_path: Path) -> None:
    async def story(door: Door, context: Context) -> None:
        status, body = await ask(door, context, "{ fine hangs }")
        assert (status, body["data"]) == (200, None)
        assert body["errors"][0]["extensions"]["code"] == "EXECUTION_TIMEOUT"
        assert "KONSUL_GRAPHQL_EXECUTION_TIMEOUT" in body["errors"][0]["message"]
        assert await ask(door, context, "{ fine }") == (200, {"data": {"fine": "fine"}})

    played(tmp_path, story)


def test_a_defect_is_told_without_its_inside(tmp_path: Path) -> None:
    async def story(door: Door, context: Context) -> None:
        _, body = await ask(door, context, "{ fine breaks }")
        assert body["data"] == {"fine": "fine", "breaks": None}
        (error,) = body["errors"]
        assert error["message"] == "internal system error"
        assert (error["path"], error["extensions"]) == (["breaks"], {"code": "INTERNAL_ERROR"})

    played(tmp_path, story)


def test_an_event_that_hangs_is_given_up_and_the_next_one_told(tmp_path: Path) -> None:
    async def story(door: Door, context: Context) -> None:
        prepared = await execution.prepare(door, Asked("subscription { numbers(upto: 3) { number slow } }"))
        async with Live(door, prepared, door.operation(context, "graphql")) as live:
            told = [body async for body in live.bodies()]
        assert told[0] == {"data": {"numbers": {"number": 0, "slow": "quick"}}}
        assert told[1]["errors"][0]["extensions"]["code"] == "EXECUTION_TIMEOUT"
        assert told[2] == {"data": {"numbers": {"number": 2, "slow": "quick"}}}

    played(tmp_path, story)


def test_a_source_that_fails_ends_the_subscription_with_its_error(tmp_path: Path) -> None:
    async def story(door: Door, context: Context) -> None:
        prepared = await execution.prepare(door, Asked("subscription { numbers(upto: 2) { number } }"))
        told: list[Any] = []
        try:
            async with Live(door, prepared, door.operation(context, "graphql")) as live:
                async for body in live.bodies():
                    told.append(body)
        except Ended as ended:
            told += ended.errors
        assert [one["data"]["numbers"]["number"] for one in told[:2]] == [0, 1]
        assert (told[2]["message"], told[2]["extensions"]) == ("the third", {"code": "NOT_FOUND"})
        assert told[2]["path"] == ["numbers"]

    played(tmp_path, story)


def test_a_subscription_that_is_left_is_closed_and_its_seat_free(tmp_path: Path) -> None:
    closed.clear()

    async def story(door: Door, context: Context) -> None:
        for _ in range(3):
            prepared = await execution.prepare(door, Asked("subscription { numbers(upto: 9) { number } }"))
            async with Live(door, prepared, door.operation(context, "graphql")) as live:
                assert await anext(aiter(live.bodies())) == {"data": {"numbers": {"number": 0}}}

    played(tmp_path, story)
    assert closed == ["numbers"] * 3


def test_a_schema_that_could_not_be_built_is_tried_again_and_built_once(tmp_path: Path) -> None:
    tries: list[int] = []

    def build() -> strawberry.Schema:
        tries.append(len(tries))
        if len(tries) == 1:
            raise RuntimeError("not now")
        return toy()

    async def story(door: Door, context: Context) -> None:
        first = await asyncio.gather(*(door.schema.get() for _ in range(5)), return_exceptions=True)
        assert {type(one) for one in first} == {RuntimeError}
        answers = await asyncio.gather(*(ask(door, context, "{ fine }") for _ in range(5)))
        assert answers == [(200, {"data": {"fine": "fine"}})] * 5

    played(tmp_path, story, build)
    assert len(tries) == 2
