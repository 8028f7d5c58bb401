"""Whoever holds a watch open is looked at again when its identity changes or expires."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from konsul.errors import KonsulError
from konsul.features.auth.tables import CHANGES, ApiKeyRow, LoginRow, UserRow
from konsul.kernel.pipeline import Identity
from konsul.kernel.watching import Spec, Watch
from tests.unit.auth.stored import Stage, told
from tests.unit.auth.test_logins import log_in
from tests.waiting import until_async

ROW, FORM = CHANGES[1]


class Listening:
    """A sink that notes how its watch ended."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.end = ""

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        self.told.append(key)
        return True

    def behind(self, index: int) -> None:
        raise AssertionError(index)

    def compacted(self, index: int) -> None:
        raise AssertionError(index)

    def ended(self, error: KonsulError) -> None:
        self.end = str(error)


def watching(stage: Stage, who: Identity) -> tuple[Watch, Listening]:
    sink = Listening()
    spec = Spec(FORM, ROW.table_id, "**", "kv:read")
    return stage.kernel.watching.open(stage.context(who), spec, sink, transport="sse"), sink


@pytest.mark.parametrize("what", ["disabled", "deleted", "logged out"])
def test_a_users_watch_ends_with_what_its_token_rests_on(tmp_path: Path, what: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        await stage.user("bob")
        alice, bob = [stage.known(f"Bearer {(await log_in(stage, name)).token}") for name in ("alice", "bob")]
        (_, ending), (_, staying) = watching(stage, alice), watching(stage, bob)
        if what == "disabled":
            await stage.change(UserRow, "alice", enabled=False)
        elif what == "deleted":
            await stage.delete(UserRow, "alice")
        else:
            await stage.delete(LoginRow, f"alice/{alice.login_id}")
        await until_async(lambda: ending.end == "token revoked", "the watch to end")
        await stage.api_key("k1")
        await until_async(lambda: staying.told == [b"k1"], "the other one to be told")
        assert ending.told == []

    told(tmp_path, story)


def test_a_keys_watch_ends_with_it_and_has_its_new_policies_until_then(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1")
        watch, sink = watching(stage, stage.known(None, key))
        await stage.change(ApiKeyRow, "k1", permissions=["more"])
        await until_async(lambda: watch.identity.policies == ("more",), "the policies of now")
        await stage.change(ApiKeyRow, "k1", enabled=False)
        await until_async(lambda: sink.end == "API key disabled", "the watch to end")

    told(tmp_path, story)


def test_a_watch_ends_when_its_credential_expires(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1", expires_at_ms=time.time_ns() // 1_000_000 + 500)
        _, sink = watching(stage, stage.known(None, key))
        await until_async(lambda: sink.end == "API key expired", "the watch to end")

    told(tmp_path, story)
