"""A real engine with the tables of auth, and rows as the administration writes them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from konsul.engine import Engine
from konsul.features.auth import node, tables
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.credentials import digest, new_api_key
from konsul.features.auth.node import Auth
from konsul.kernel import entry
from konsul.kernel.config import Config
from konsul.kernel.schema import compile_schema
from tests.core.node import running

SECRET = "a secret of thirty-two bytes or more"
PASSWORD = "correct horse battery"
SCHEMA = compile_schema(
    [tables.UserRow, tables.LoginRow, tables.ApiKeyRow, tables.ApiKeyUseRow, tables.AuthStateRow]
)


@dataclass
class Kernel:
    """As much of a kernel as auth asks for."""

    engine: Engine
    config: Config
    access: None = None
    asked_again: int = 0

    def identities_changed(self) -> None:
        self.asked_again += 1


@dataclass
class Stage:
    """What a story plays on."""

    engine: Engine
    auth: Auth
    kernel: Kernel

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
    """Plays a story on a fresh engine."""

    async def run() -> None:
        given = cast(Any, {"jwt_secret": SECRET} | dict(settings or {}))
        async with running(folder / f"data-{secrets.token_hex(4)}", SCHEMA, backend="memory") as engine:
            kernel = Kernel(engine, Config([AuthSettings(**given)]))
            auth = Auth(cast(Any, kernel), maps_certificates=True)
            node.keep(engine, auth)
            try:
                await story(Stage(engine, auth, kernel))
            finally:
                auth.passwords.close()

    asyncio.run(run())
