"""What is remembered of callers against who never remembers anything, over random histories."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from konsul.errors import Unauthenticated
from konsul.features.auth import logins
from konsul.features.auth.identities import Identities
from konsul.features.auth.tables import ApiKeyRow, LoginRow, UserRow
from konsul.kernel.pipeline import Identity
from tests.unit.auth.stored import PASSWORD, Stage, told
from tests.unit.auth.test_services import guarding
from tests.waiting import until_async

STEPS = 80
NAMES = ("alice", "bob", "carol")


def outcome(identities: Identities, header: bytes) -> Identity | str:
    try:
        return identities.identify(header, None, None)
    except Unauthenticated as error:
        return str(error)


class History:
    """Random changes, and every credential that was ever given out."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self.random = stage, random.Random(seed)
        self.headers: list[bytes] = []

    async def step(self) -> None:
        """One change of one user, login or key; some change nothing."""
        name = self.random.choice(NAMES)
        there = self.stage.engine.get(UserRow.table_id, name.encode()) is not None
        key = self.stage.engine.get(ApiKeyRow.table_id, name.encode()) is not None
        able = [self.key] if not key else [self.change_key, self.drop_key]
        able += [self.user] if not there else [self.log_in, self.change_user, self.drop_user, self.log_out]
        await self.random.choice(able)(name)

    async def user(self, name: str) -> None:
        await self.stage.user(name, PASSWORD, policies=[self.random.choice("abc")])

    async def log_in(self, name: str) -> None:
        try:
            issued = await logins.begin(self.stage.auth, self.stage.engine, name, PASSWORD, "")
        except Unauthenticated:
            return
        self.headers.append(f"Bearer {issued.token}".encode())

    async def log_out(self, name: str) -> None:
        mine = [login for login in self.stage.logins() if login.startswith(f"{name}/")]
        if mine:
            await self.stage.delete(LoginRow, self.random.choice(mine))

    async def change_user(self, name: str) -> None:
        roles = self.random.choice((["user"], ["admin"], []))
        await self.stage.change(UserRow, name, roles=roles, enabled=self.random.random() < 0.7)

    async def drop_user(self, name: str) -> None:
        await self.stage.delete(UserRow, name)

    async def key(self, name: str) -> None:
        self.headers.append(b"Bearer " + await self.stage.api_key(name))

    async def change_key(self, name: str) -> None:
        permissions = self.random.choice((["a"], ["*"], []))
        enabled = self.random.random() < 0.7
        await self.stage.change(ApiKeyRow, name, permissions=permissions, enabled=enabled)

    async def drop_key(self, name: str) -> None:
        await self.stage.delete(ApiKeyRow, name)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_is_what_would_be_found_out(tmp_path: Path, seed: int) -> None:
    async def story(stage: Stage) -> None:
        auth, watches = stage.auth, guarding(stage)._following.watches
        fresh = Identities(
            stage.engine, auth.tokens, lambda: auth.keys.marks, entries_max=1, key_prefix="konsul"
        )
        history = History(stage, seed)
        remembered = 0
        for _ in range(STEPS):
            await history.step()
            index = stage.engine.contact()[2]
            await until_async(
                lambda index=index: all(watch.position >= index for watch in watches),  # type: ignore[misc]
                "the change to be told",
            )
            for header in history.headers:
                assert outcome(auth.identities, header) == outcome(fresh, header)
            remembered += auth.identities.entries()
        asked = STEPS * len(history.headers)
        assert remembered > STEPS, "something was remembered"
        assert auth.identities.misses < asked, "and was not asked for again"

    told(tmp_path, story, {"identities_max": 7})


def test_threads_that_ask_meanwhile_see_nothing_torn(tmp_path: Path) -> None:
    """Requests are answered on a thread of their own, changes are told on the loop's."""

    async def story(stage: Stage) -> None:
        identities, watches = stage.auth.identities, guarding(stage)._following.watches
        history = History(stage, 5)
        for name in NAMES:
            await history.key(name)
            await history.user(name)
            await history.log_in(name)
        headers, wrong, over = list(history.headers), [], threading.Event()

        def ask() -> None:
            while not over.is_set():
                for header in headers:
                    try:
                        outcome(identities, header)
                    except Exception as error:
                        wrong.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(STEPS // 2):
                await history.step()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        index = stage.engine.contact()[2]
        await until_async(lambda: all(watch.position >= index for watch in watches), "all to be told")
        assert wrong == []
        for header in headers:
            known = outcome(identities, header)
            identities.clear()
            assert known == outcome(identities, header)

    told(tmp_path, story, {"identities_max": 4})
