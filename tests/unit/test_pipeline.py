"""The stations a verb passes, and the services beside them: order, outcomes, bounds."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Literal, cast

import pytest

from konsul.errors import Conflict, Forbidden, Invalid, KonsulError, NotFound
from konsul.kernel.command import VERBS, AnyVerb, command
from konsul.kernel.context import Context
from konsul.kernel.lifecycle import Services
from konsul.kernel.pipeline import ANONYMOUS, Identity, Pipeline, Tally
from tests.waiting import until_async


@command("sample.run", needs="sample:write", resource="names")
async def sample(ctx: Context, *, names: str | list[str], error: BaseException | None = None) -> str:
    """Does what it is told."""
    if error is not None:
        raise error
    return "done"


# Only declared to be called here; the contract tests look at the features' verbs.
del VERBS["sample.run"]


def context(pipeline: Pipeline) -> Context:
    nothing = cast(Any, None)
    return Context(nothing, nothing, ANONYMOUS, "r1", "192.0.2.1", pipeline)


def run(pipeline: Pipeline, names: str | list[str], error: BaseException | None = None) -> str:
    return asyncio.run(context(pipeline).run(sample, names=names, error=error))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (NotFound("gone"), "not_found"),
        (Conflict("moved"), "cas_conflict"),
        (Invalid("bad"), "error"),
        (RuntimeError("defect"), "error"),
    ],
)
def test_an_outcome_is_counted_and_audited(error: Exception | None, outcome: str) -> None:
    seen: list[tuple[str, list[str], str]] = []

    def audit(context: Context, verb: AnyVerb, resources: list[str], outcome: str) -> None:
        seen.append((verb.name, resources, outcome))

    pipeline = Pipeline(audit=audit)
    if error is None:
        assert run(pipeline, ["a", "b"]) == "done"
    else:
        with pytest.raises(type(error)):
            run(pipeline, ["a", "b"], error)
    assert seen == [("sample.run", ["a", "b"], outcome)]
    assert pipeline.tally.counts == {("sample.run", outcome): 1}


def test_every_resource_is_authorised_before_anything_runs() -> None:
    asked: list[tuple[str, str]] = []

    def authorise(identity: Identity, needs: str, resource: str) -> None:
        asked.append((needs, resource))
        if resource == "secret":
            raise Forbidden("insufficient permissions")

    pipeline = Pipeline(authorise=authorise)
    with pytest.raises(Forbidden):
        run(pipeline, ["open", "secret", "later"], RuntimeError("it ran"))
    assert asked == [("sample:write", "open"), ("sample:write", "secret")]
    assert run(pipeline, "open") == "done"
    assert not pipeline.is_open()
    assert Pipeline().is_open()


def test_resources_are_counted_up_to_a_cap_then_as_other() -> None:
    tally = Tally(by_resource=frozenset(("beat",)), max_resources=2)
    for resource in ("a", "b", "c", "d", "a"):
        tally.add("beat", "success", resource)
    tally.add("quiet", "success", "x")
    assert tally.resources == {
        ("beat", "a", "success"): 2,
        ("beat", "b", "success"): 1,
        ("beat", "other", "success"): 2,
    }


class Recorded:
    """A service that notes its life."""

    name: ClassVar[str] = "recorded"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, journal: list[str], word: str, fails: str = "") -> None:
        self._journal, self._word, self._fails = journal, word, fails

    async def start(self) -> None:
        if self._fails == "start":
            raise KonsulError("will not start")
        self._journal.append(f"+{self._word}")

    async def stop(self) -> None:
        self._journal.append(f"-{self._word}")
        if self._fails == "stop":
            raise KonsulError("will not stop")

    def health(self) -> str | None:
        return f"{self._word} is sick" if self._fails == "health" else None


class OnLeader(Recorded):
    """Runs only where the node leads."""

    runs: ClassVar[Literal["everywhere", "on-leader"]] = "on-leader"


def services(*made: Recorded, leads: bool = True) -> Services:
    return Services(cast(Any, made), lambda: leads)


def test_services_stop_in_reverse_even_when_one_fails() -> None:
    async def story() -> None:
        journal: list[str] = []
        made = services(Recorded(journal, "a"), Recorded(journal, "b", "stop"), Recorded(journal, "c"))
        await made.start()
        await made.stop()
        assert journal == ["+a", "+b", "+c", "-c", "-b", "-a"]

    asyncio.run(story())


def test_a_service_that_does_not_start_stops_the_others() -> None:
    async def story() -> None:
        journal: list[str] = []
        with pytest.raises(KonsulError):
            await services(Recorded(journal, "a"), Recorded(journal, "b", "start")).start()
        assert journal == ["+a", "-a"]

    asyncio.run(story())


def test_a_leader_s_services_follow_leadership() -> None:
    async def story() -> None:
        journal: list[str] = []
        leading = False
        made = Services(cast(Any, (OnLeader(journal, "x"), Recorded(journal, "y"))), lambda: leading)
        await made.start()
        assert journal == ["+y"]
        leading = True
        await until_async(lambda: "+x" in journal, "the service to start")
        leading = False
        await until_async(lambda: "-x" in journal, "the service to stop")
        await made.stop()
        assert journal == ["+y", "+x", "-x", "-y"]

    asyncio.run(story())


def test_sick_services_say_so() -> None:
    async def story() -> None:
        made = services(Recorded([], "a", "health"))
        await made.start()
        assert made.health() == {"recorded": "a is sick"}
        await made.stop()

    asyncio.run(story())
