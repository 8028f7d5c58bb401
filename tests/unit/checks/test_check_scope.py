"""Whom an unknown check makes this node ask the leader for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from konsul.errors import Unauthenticated
from konsul.features.checks.commands import scope_of
from konsul.kernel.context import Context
from konsul.kernel.pipeline import AUTHENTICATED, Identity


class Asked:
    """An engine without checks that counts how often the leader is asked."""

    def __init__(self) -> None:
        self.barriers = 0

    def get(self, table: int, key: bytes) -> None:
        """Nothing is there."""

    async def barrier(self, *_: object) -> None:
        self.barriers += 1


def context(engine: Asked, kind: str) -> Context:
    def authorise(identity: Identity, needs: str, resource: str) -> str:
        if needs == AUTHENTICATED and identity.kind == "anonymous":
            raise Unauthenticated("unauthorized")
        return ""

    found: Any = SimpleNamespace(
        engine=engine,
        identity=Identity(kind=kind),
        pipeline=SimpleNamespace(authorise=authorise),
        terms=SimpleNamespace(timeout_ms=None),
    )
    return cast("Context", found)


def test_the_leader_is_asked_for_somebody_and_not_for_nobody() -> None:
    engine = Asked()
    with pytest.raises(Unauthenticated):
        asyncio.run(scope_of(context(engine, "anonymous"), "unknown"))
    assert engine.barriers == 0
    assert asyncio.run(scope_of(context(engine, "user"), "unknown")) == ""
    assert engine.barriers == 1
