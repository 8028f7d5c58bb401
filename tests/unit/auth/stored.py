"""A real node with nothing but auth, inside this process, and rows as the administration writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from konsul.engine import Engine
from konsul.features.auth import tables
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.credentials import digest, new_api_key
from konsul.features.auth.node import Auth, auth_of
from konsul.kernel import entry
from konsul.kernel.config import Config
from konsul.kernel.context import Context
from konsul.kernel.feature import load
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import ANONYMOUS, Identity
from konsul.kernel.tls_settings import TlsSettings
from tests.core.node import options

SECRET = "a secret of thirty-two bytes or more"
PASSWORD = "correct horse battery"


@dataclass
class Stage:
    """What a story plays on."""

    kernel: Kernel

    @property
    def engine(self) -> Engine:
        return self.kernel.engine

    @property
    def auth(self) -> Auth:
        return auth_of(self.kernel.engine)

    def context(self, identity: Identity = ANONYMOUS, client: str = "192.0.2.1") -> Context:
        """The context of a request."""
        return Context(self.engine, self.kernel.config, identity, "", client, self.kernel.pipeline)

    def known(
        self, authorization: bytes | str | None = None, key: bytes | None = None, cert: bytes | None = None
    ) -> Identity:
        """Who that is."""
        header = authorization.encode() if isinstance(authorization, str) else authorization
        return self.auth.identities.identify(header, key, cert)

    async def user(self, user_id: str, password: str = PASSWORD, **more: object) -> None:
        """Stores a user."""
        row = tables.UserRow(
            user_id=user_id,
            username=user_id.title(),
            password_hash=await self.auth.passwords.hash(password),
            **cast(Any, {"roles": ["user"], "policies": []} | more),
        )
        await self.engine.put(tables.UserRow.table_id, user_id.encode(), entry.cells(*row.cells()))

    async def change(self, row: type[Any], key: str, **cells: object) -> None:
        """Patches a row."""
        await self.engine.commit(entry.encode([entry.case([], [entry.patch(row, key, cells)])]))

    async def delete(self, row: type[Any], key: str) -> None:
        """Deletes a row."""
        await self.engine.commit(entry.encode([entry.case([], [entry.delete(row, key)])]))

    async def api_key(self, key_id: str, **more: object) -> bytes:
        """Stores an API key; returns it."""
        text = new_api_key("konsul")
        given = cast(Any, {"permissions": ["dev"]} | more)
        row = tables.ApiKeyRow(key_id=key_id, name=f"the {key_id}", digest=digest(text), **given)
        await self.engine.put(tables.ApiKeyRow.table_id, key_id.encode(), entry.cells(*row.cells()))
        return text.encode()

    def logins(self) -> list[str]:
        """The keys of all logins."""
        return [key.decode() for key, _ in self.engine.scan(tables.LoginRow.table_id).rows]


Story = Callable[[Stage], Awaitable[None]]


def told(folder: Path, story: Story, settings: Mapping[str, object] | None = None) -> None:
    """Plays a story on a fresh node. `settings`: fields of AuthSettings."""

    async def run() -> None:
        own = AuthSettings(**cast(Any, {"jwt_secret": SECRET} | dict(settings or {})))
        groups = [GuardSettings(auth_enabled=True), TlsSettings(client_identity="user"), own]
        engine = Engine(options(folder / "data", backend="memory"))
        kernel = Kernel(engine, Config(groups), (load("auth"),))
        await kernel.start()
        try:
            await story(Stage(kernel))
        finally:
            await kernel.stop(1_000)

    asyncio.run(run())
