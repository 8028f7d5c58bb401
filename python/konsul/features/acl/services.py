"""Keeps the policies current: the API's by a watch, the directory's by looking at it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.features.acl.book import PolicyBook, book_of
from konsul.features.acl.tables import FORM, PolicyRow
from konsul.kernel.following import Changes, Following
from konsul.kernel.logging import logger
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

POLL_S: Final = 1.0
"""How often the directory is looked at."""
_SPEC: Final = Spec(FORM, PolicyRow.table_id, "**", "admin:read", coalesce=True)


class Policies:
    """Reads the policies at the start, then whenever they change."""

    name: ClassVar[str] = "acl-policies"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._following = Following(kernel, [_SPEC], self._take)
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Every policy there is is in force when this returns."""
        book = book_of(self._kernel.engine)
        if book is None:
            return
        book.reload_directory()
        self._following.start("acl-policies")
        self._polling = asyncio.create_task(self._poll(book), name="acl-directory")
        logger().info("acl on", policies=len(book.names()), directory=book.directory)

    async def stop(self) -> None:
        """Keeps nothing current any more."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        await self._following.stop()

    def health(self) -> str | None:
        """What is wrong with the policies, or None."""
        if self._polling is not None and self._polling.done():
            return "the policy directory is not looked at any more"
        return self._following.health()

    def _take(self, changes: Changes) -> bool:  # noqa: ARG002 - whatever it is, the rows are read again
        book = book_of(self._kernel.engine)
        if book is None or not book.reload_rows():
            return False
        self._kernel.identities_changed()
        return True

    async def _poll(self, book: PolicyBook) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(POLL_S)
            # The disk may be slow, and the loop must not be.
            changed = book.take(await loop.run_in_executor(None, book.look))
            if changed:
                self._kernel.identities_changed()
