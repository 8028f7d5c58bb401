"""The stations a verb passes, and the services beside them: order, outcomes, bounds."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Literal, cast

import pytest

from konsul.errors import (
    Conflict,
    Forbidden,
    Invalid,
    KonsulError,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from konsul.kernel.command import VERBS, command
from konsul.kernel.context import Context
from konsul.kernel.lifecycle import Services
from konsul.kernel.pipeline import (
    ACTS_MAX,
    ANONYMOUS,
    INSIDE,
    Act,
    Headers,
    Identity,
    Pipeline,
    Tally,
    by_role,
)
from konsul.kernel.route_classes import BATCH, ITEMS
from tests.played_audit import PlayedAudit
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


def acts(of: Context) -> list[Act]:
    return list(of.noted.get("acts", ()))


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
def test_an_outcome_is_counted_and_noted_for_the_audit(error: Exception | None, outcome: str) -> None:
    pipeline = Pipeline(audit=PlayedAudit())
    of = context(pipeline)
    if error is None:
        assert asyncio.run(of.run(sample, names=["a", "b"])) == "done"
    else:
        with pytest.raises(type(error)):
            asyncio.run(of.run(sample, names=["a", "b"], error=error))
    assert acts(of) == [Act("sample.run", ("a", "b"), outcome)]
    assert pipeline.tally.counts == {("sample.run", outcome): 1}


def test_without_an_audit_nothing_is_noted() -> None:
    of = context(Pipeline())
    assert asyncio.run(of.run(sample, names="a")) == "done"
    assert not of.noted


def test_what_a_request_does_is_noted_up_to_a_cap_then_counted() -> None:
    of = context(Pipeline(audit=PlayedAudit()))

    async def many() -> None:
        for _ in range(ACTS_MAX + 3):
            await of.run(sample, names="a")

    asyncio.run(many())
    assert (len(acts(of)), of.noted["more_acts"]) == (ACTS_MAX, 3)


def test_every_resource_is_authorised_before_anything_runs() -> None:
    asked: list[tuple[str, str]] = []

    def authorise(_identity: Identity, needs: str, resource: str) -> str:
        asked.append((needs, resource))
        if resource == "secret":
            raise Forbidden(reason="rule 1 of policy p")
        return f"because it is {resource}"

    pipeline = Pipeline(authorise=authorise, audit=PlayedAudit())
    of = context(pipeline)
    with pytest.raises(Forbidden):
        asyncio.run(of.run(sample, names=["open", "secret", "later"], error=RuntimeError("it ran")))
    assert asked == [("sample:write", "open"), ("sample:write", "secret")]
    assert asyncio.run(of.run(sample, names="open")) == "done"
    assert acts(of) == [
        Act("sample.run", ("open", "secret", "later"), "denied", "rule 1 of policy p"),
        Act("sample.run", ("open",), "success", "because it is open"),
    ]
    assert not pipeline.is_open()
    assert Pipeline().is_open()


def test_only_a_batch_is_paid_for_by_its_items() -> None:
    paid: list[tuple[str, int]] = []

    def limit(_identity: Identity, _client: str, route_class: str, cost: int) -> Headers:
        paid.append((route_class, cost))
        if cost > 2:
            raise RateLimited(headers=[(b"x-ratelimit-limit", b"2")])
        return [(b"x-ratelimit-remaining", b"1")]

    of = context(Pipeline(limit=limit))
    asyncio.run(of.run(sample, names=["a", "b"]))
    assert paid == []
    of.noted["class"] = BATCH
    asyncio.run(of.run(sample, names=["a", "b"]))
    assert (paid, of.noted["rate"]) == ([(ITEMS, 2)], [(b"x-ratelimit-remaining", b"1")])
    with pytest.raises(RateLimited):
        asyncio.run(of.run(sample, names=["a", "b", "c"]))
    assert of.noted["rate"] == [(b"x-ratelimit-limit", b"2")]


@pytest.mark.parametrize(
    ("identity", "refused"),
    [
        (Identity("user", "u1", roles=("admin",)), None),
        (INSIDE, None),
        (Identity("user", "u1", roles=("user",)), Forbidden),
        (ANONYMOUS, Unauthenticated),
    ],
)
def test_without_policies_administration_is_for_administrators(
    identity: Identity, refused: type[KonsulError] | None
) -> None:
    assert by_role(identity, "kv:read", "a") in ("", "admin")
    if refused is None:
        assert by_role(identity, "admin:write", "") == "admin"
    else:
        with pytest.raises(refused):
            by_role(identity, "admin:write", "")


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
