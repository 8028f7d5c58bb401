"""Background work: forgetting whom a change concerns, key files that change, last uses, the first token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from konsul.errors import KonsulError
from konsul.features.auth import bootstrap, uses
from konsul.features.auth.node import Auth, auth_of
from konsul.features.auth.tables import CHANGES
from konsul.kernel.following import Changes, Following
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.logging import logger
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

_KEY_FILES_S: Final = 2.0
_USES_S: Final = 10.0
_BOOTSTRAP_S: Final = 5.0
_CHANGES_WAITING: Final = 10_000
_SPECS: Final = [
    Spec(form, row.table_id, "**", "admin:read", buffer=_CHANGES_WAITING) for row, form in CHANGES
]


class Guarding:
    """Keeps what is remembered of callers true, and the signing keys as their files are."""

    name: ClassVar[str] = "auth"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "everywhere"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._is_on = kernel.config.of(GuardSettings).auth_enabled
        self._following = Following(kernel, _SPECS, self._forget, self._lose, at_once=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._uses = uses.Uses()
        self._files: list[tuple[str, int, int, int]] = []
        self._unloadable = ""
        self._asked: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Remembers callers from now on."""
        if not self._is_on:
            return
        self._files = self._auth.key_files()
        self._kernel.hangups.append(self._hang_up)
        self._following.start("auth-watches")
        self._tasks = [
            asyncio.create_task(_every(_KEY_FILES_S, self.read_keys), name="auth-keys"),
            asyncio.create_task(_every(_USES_S, self._flush), name="auth-uses"),
        ]

    async def stop(self) -> None:
        """Remembers nobody any more; the last uses of keys are written if that is quickly done."""
        if not self._is_on:
            return
        if self._hang_up in self._kernel.hangups:
            self._kernel.hangups.remove(self._hang_up)
        tasks = self._tasks if self._asked is None else [*self._tasks, self._asked]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        await self._following.stop()
        await self._flush()
        self._auth.passwords.close()

    def health(self) -> str | None:
        """What is wrong, or None."""
        ended = [task.get_name() for task in self._tasks if task.done()]
        return f"ended: {', '.join(ended)}" if ended else self._following.health() or self._unloadable or None

    async def read_keys(self) -> None:
        """Takes the signing keys anew if their files were changed; unusable ones change nothing."""
        auth = self._auth
        files = await asyncio.to_thread(auth.key_files)
        if files == self._files:
            return
        try:
            keys = await asyncio.to_thread(auth.load_keys)
        except KonsulError as error:
            if self._unloadable != str(error):
                auth.counts.add(auth.counts.reloads, "failed")
                logger().warning("signing keys not reloaded: the old ones stay", error=str(error))
            # Not noted as seen: a file that is being written is looked at again.
            self._unloadable = str(error)
            return
        self._files, self._unloadable = files, ""
        if keys == auth.keys:
            return
        auth.use(keys)
        auth.counts.add(auth.counts.reloads, "success")
        logger().info("signing keys reloaded", signs=keys.signer.kid, verify=sorted(keys.by_kid))

    def _hang_up(self) -> None:
        self._files = []
        self._asked = asyncio.create_task(self.read_keys(), name="auth-keys-asked")

    @property
    def _auth(self) -> Auth:
        return auth_of(self._kernel.engine)

    async def _flush(self) -> None:
        await self._uses.flush(self._kernel.engine, self._auth.identities.take_used(), time.time())

    def _forget(self, changes: Changes) -> bool:
        """Nobody is known by changed rows any more, and who is connected is looked at again."""
        if changes is None:
            self._auth.forget_all()
            self._auth.identities.remembers = True
        else:
            for table, key in changes:
                self._auth.forget(table, key)
        return True

    def _lose(self) -> None:
        self._auth.identities.remembers = False
        self._auth.identities.clear()


class BootstrapFile:
    """Makes the token of KONSUL_BOOTSTRAP_TOKEN_FILE a key, and another one when the file has another."""

    name: ClassVar[str] = "auth-bootstrap"
    runs: ClassVar[Literal["everywhere", "on-leader"]] = "on-leader"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._is_on = kernel.config.of(GuardSettings).auth_enabled
        self._task: asyncio.Task[None] | None = None
        self._wrong = ""

    async def start(self) -> None:
        """Looks at the file from now on."""
        if self._is_on and auth_of(self._kernel.engine).settings.bootstrap_token_file:
            self._task = asyncio.create_task(_every(_BOOTSTRAP_S, self._look, at_once=True), name=self.name)

    async def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def health(self) -> str | None:
        """What is wrong, or None."""
        return self._wrong or None

    async def _look(self) -> None:
        try:
            token = await asyncio.to_thread(bootstrap.read_token, auth_of(self._kernel.engine).settings)
            if await bootstrap.install_token(self._kernel.engine, token):
                logger().info("the bootstrap token file's token is a key now", key_id=bootstrap.FILE_KEY_ID)
        except KonsulError as error:
            if self._wrong != str(error):
                logger().warning("the bootstrap token file is not in force", error=str(error))
            self._wrong = str(error)
        else:
            self._wrong = ""


async def _every(period_s: float, work: Callable[[], Awaitable[None]], *, at_once: bool = False) -> None:
    """Does the work again and again; a defect in it is logged and does not end it."""
    while True:
        if not at_once:
            await asyncio.sleep(period_s)
        at_once = False
        try:
            await work()
        except Exception:
            logger().exception("background work of auth failed")
