"""Following tables: what a node has made of rows stays as the rows are, whatever happens to its watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from konsul.errors import KonsulError
from konsul.kernel.context import Context
from konsul.kernel.logging import logger
from konsul.kernel.pipeline import INSIDE as SELF
from konsul.kernel.watching import INSIDE, Spec, Watch

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

AGAIN_S: Final = 0.25
"""After so long what failed is tried again: the cluster's tables may not have reached this node yet."""
Changes: TypeAlias = "set[tuple[int, bytes]] | None"
"""Table and key of what has changed; None: anything may have."""


class Following:
    """Watches of whole tables, open from start to stop, for one party."""

    def __init__(
        self,
        kernel: Kernel,
        specs: Iterable[Spec],
        take: Callable[[Changes], bool],
        lost: Callable[[], None] = lambda: None,
        *,
        at_once: bool = False,
    ) -> None:
        """`take` reads what has changed, True if it could: once per turn of the loop, or `at_once` for each
        change before the next watch is told. None whenever the watches were opened, and when they missed
        something; again None after it could not. `lost`: nothing is told until the next None."""
        self._kernel, self._specs, self._take, self._lost = kernel, tuple(specs), take, lost
        self._at_once = at_once
        self.watches: list[Watch] = []
        self._changes: Changes = set()
        self._is_owed = False
        self._stands = False
        self._is_blind = False
        self._task: asyncio.Task[None] | None = None

    def start(self, name: str) -> None:
        """What is stored was taken when this returns, if the node has its tables. `name`: of the task."""
        self._open(name)
        self._task = asyncio.create_task(self._keep(name), name=name)

    async def stop(self) -> None:
        """Nothing is told any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close()

    def health(self) -> str | None:
        """What is wrong, or None."""
        task = self._task
        return f"ended: {task.get_name()}" if task is not None and task.done() else None

    def note(self, table: int, key: bytes) -> None:
        """A row has changed."""
        if self._changes is not None:
            self._changes.add((table, key))
        self._owe()

    def note_all(self) -> None:
        """A watch has missed something."""
        self._changes = None
        self._owe()

    def lose(self) -> None:
        """A watch has ended: those of the others are opened anew with it."""
        self._stands = False
        self._lost()

    def _open(self, name: str) -> None:
        kernel = self._kernel
        context = Context(kernel.engine, kernel.config, SELF, "", "", kernel.pipeline)
        self._close()
        try:
            for spec in self._specs:
                sink = _Table(self, spec.table)
                self.watches.append(kernel.watching.open(context, spec, sink, transport=INSIDE))
        except KonsulError as error:
            if not self._is_blind:
                logger().warning("tables are not followed for now", task=name, why=str(error))
            self._is_blind = True
            self._close()
            return
        self._stands, self._is_blind = True, False
        # What changed before the watches stood was told to nobody.
        self._changes = None
        self._tell()

    def _close(self) -> None:
        if self._stands:
            self.lose()
        for watch in self.watches:
            watch.close()
        self.watches = []

    def _owe(self) -> None:
        if self._at_once:
            self._tell()
        elif not self._is_owed:
            self._is_owed = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._is_owed = False
        if not self._stands:
            return
        changes, self._changes = self._changes, set()
        was_taken = False
        try:
            was_taken = self._take(changes)
        except KonsulError as error:
            # No tables yet, or a snapshot is being taken in.
            logger().debug("changed tables could not be read", why=str(error))
        except Exception:
            logger().exception("following tables failed")
        if not was_taken:
            self._changes = None

    async def _keep(self, name: str) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            if not self._stands and self._kernel.phase != "stopping":
                self._open(name)
            elif self._changes is None:
                self._tell()


class _Table:
    """The sink of one table's watch."""

    def __init__(self, following: Following, table: int) -> None:
        self._following, self._table = following, table

    def event(self, index: int, key: bytes, payload: bytes) -> bool:  # noqa: ARG002 - the protocol's
        self._following.note(self._table, key)
        return True

    def behind(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self._following.note_all()

    def compacted(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        self._following.note_all()

    def ended(self, error: KonsulError) -> None:  # noqa: ARG002 - the protocol's
        self._following.lose()
