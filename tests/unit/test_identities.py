"""Who is connected is looked at again: when something changed, and when a credential's time is over."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

from konsul.errors import KonsulError, Unauthenticated
from konsul.kernel.identities import Identities
from konsul.kernel.pipeline import ANONYMOUS, Identity, Pipeline
from tests.waiting import until_async

ANN, BEN = Identity("user", "ann"), Identity("user", "ben")


@dataclass(eq=False)
class Played:
    """Something that is open."""

    identity: Identity
    refused: list[str] = field(default_factory=list)

    def refuse(self, error: KonsulError) -> None:
        self.refused.append(str(error))


class Renewing:
    """The renew slot: who is `gone` is refused, who is `promoted` comes back with a role."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone: set[str] = set()
        self.promoted: set[str] = set()

    def __call__(self, identity: Identity) -> Identity:
        self.asked.append(identity.id)
        if identity.id in self.gone:
            raise Unauthenticated("token revoked")
        if identity.expires_at_s is not None and time.time() >= identity.expires_at_s:
            raise Unauthenticated("token expired")
        return replace(identity, roles=("admin",)) if identity.id in self.promoted else identity


def test_all_that_one_caller_holds_is_asked_about_once_and_ended() -> None:
    async def story() -> None:
        renew = Renewing()
        identities = Identities(Pipeline(renew=renew))
        of_ann, of_ben = [Played(ANN) for _ in range(3)], Played(BEN)
        for one in (*of_ann, of_ben):
            identities.keep(one)
        renew.gone, renew.promoted = {"ann"}, {"ben"}
        for _ in range(5):
            identities.recheck()
        await until_async(lambda: of_ben.identity.is_admin, "ben to be somebody else")
        assert sorted(renew.asked) == ["ann", "ben"]
        assert [one.refused for one in of_ann] == [["token revoked"]] * 3
        assert of_ben.refused == []
        for one in of_ann:
            identities.drop(one)
            identities.drop(one)
        assert len(identities) == 1

    asyncio.run(story())


def test_a_credential_ends_what_it_opened_when_its_time_is_over() -> None:
    async def story() -> None:
        identities = Identities(Pipeline(renew=Renewing()))
        short, long = Played(replace(ANN, expires_at_s=time.time() + 0.1)), Played(BEN)
        identities.keep(long)
        identities.keep(short)
        await until_async(lambda: bool(short.refused), "the end of a credential")
        assert (short.refused[0], long.refused) == ("token expired", [])
        identities.stop()

    asyncio.run(story())


def test_while_nobody_can_change_nobody_is_remembered() -> None:
    identities = Identities(Pipeline())
    identities.keep(Played(ANONYMOUS))
    identities.recheck()
    assert len(identities) == 0
