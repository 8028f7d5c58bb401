"""Keeps the policies current: the API's by a watch, the directory's by looking at it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.errors import KonsulError
from konsul.features.acl.book import PolicyBook, book_of
from konsul.features.acl.tables import FORM, PolicyRow
from konsul.kernel.context import Context
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import INSIDE as SELF
from konsul.kernel.watching import INSIDE, Spec, Watch

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

POLL_S: Final = 1.0
"""How often the directory is looked at."""


class Policies:
    """Reads the policies at the start, then whenever they change."""

    name: ClassVar[str] = "acl-policies"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._watch: Watch | None = None
        self._polling: asyncio.Task[None] | None = None
        self._is_owed = False
        self._is_behind = False
        """Whether the tables could not be read when they had changed."""

    async def start(self) -> None:
        """Every policy there is is in force when this returns."""
        book = book_of(self._kernel.engine)
        if book is None:
            return
        book.reload_directory()
        self._open()
        self._is_behind = not book.reload_rows()
        self._polling = asyncio.create_task(self._poll(book), name="acl-directory")
        logger().info("acl on", policies=len(book.names()), directory=book.directory)

    async def stop(self) -> None:
        """Keeps nothing current any more."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        if self._watch is not None:
            self._watch.close()

    def health(self) -> str | None:
        """What is wrong with the policies, or None."""
        if self._polling is not None and self._polling.done():
            return "the policy directory is not looked at any more"
        return None

    # The sink of the watch: whatever it sees, the rows are read again.

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        """See `konsul.kernel.watching.Sink`."""
        if not self._is_owed:
            # Once for all changes of this turn of the loop.
            self._is_owed = True
            asyncio.get_running_loop().call_soon(self._reload)
        return True

    def behind(self, index: int) -> None:
        """As `event`."""
        self.event(index, b"", b"")

    def compacted(self, index: int) -> None:
        """As `event`: a snapshot took the place of the log."""
        self.event(index, b"", b"")

    def ended(self, error: KonsulError) -> None:  # noqa: ARG002 - the protocol's
        """The poll opens it anew."""
        self._watch = None

    def _open(self) -> None:
        kernel = self._kernel
        context = Context(kernel.engine, kernel.config, SELF, "", "", kernel.pipeline)
        spec = Spec(FORM, PolicyRow.table_id, "**", "admin:read", coalesce=True)
        try:
            self._watch = kernel.watching.open(context, spec, self, transport=INSIDE)
        except KonsulError as error:
            logger().warning("policies are not watched yet", why=str(error))

    def _reload(self) -> None:
        self._is_owed = False
        book = book_of(self._kernel.engine)
        if book is None:
            return
        self._is_behind = not book.reload_rows()
        if not self._is_behind:
            self._kernel.identities_changed()

    async def _poll(self, book: PolicyBook) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(POLL_S)
            # The disk may be slow, and the loop must not be.
            changed = book.take(await loop.run_in_executor(None, book.look))
            if self._watch is None and self._kernel.phase != "stopping":
                self._open()
                self._is_behind = True
            if self._is_behind:
                self._reload()
            if changed:
                self._kernel.identities_changed()
