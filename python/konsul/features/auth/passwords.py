"""Passwords: argon2id hashes, made by few threads so that logins cannot take the machine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from konsul.errors import Busy, Invalid
from konsul.features.auth.credentials import PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN

T = TypeVar("T")
THREADS: Final = 2
_MEMORY_KIB: Final = 19_456
_PASSES: Final = 2
_LANES: Final = 1
"""The first choice of OWASP's password storage cheat sheet for argon2id."""
_HASH_BYTES: Final = 32
_SALT_BYTES: Final = 16
_NICE: Final = 10


def check_password(password: str) -> None:
    """Refuses what is no good password.

    Raises:
        Invalid: too short or too long.
    """
    if len(password) < PASSWORD_CHARS_MIN:
        raise Invalid(f"password: expected at least {PASSWORD_CHARS_MIN} characters")
    if len(password.encode()) > PASSWORD_BYTES_MAX:
        raise Invalid(f"password: expected at most {PASSWORD_BYTES_MAX} bytes")


class Passwords:
    """Hashes and checks passwords; each takes some 20 ms of one of its threads and 19 MiB."""

    def __init__(self, waiting_max: int) -> None:
        """`waiting_max`: hashes that may wait for a thread."""
        self._hasher = PasswordHasher(
            _PASSES, _MEMORY_KIB, _LANES, hash_len=_HASH_BYTES, salt_len=_SALT_BYTES, type=Type.ID
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="password", initializer=_step_back)
        self._room = waiting_max + THREADS
        self._nobodys = _unmatched()
        self.refused = 0
        """How often there was no room."""
        self.hashed = 0
        """How often a hash was computed, to store or to compare: every try at a login costs one."""

    async def hash(self, password: str) -> str:
        """The hash to store, in PHC form.

        Raises:
            Invalid: as `check_password`. Busy: too many wait.
        """
        check_password(password)
        return await self._run(lambda: self._hasher.hash(password))

    async def fits(self, stored: str, password: str) -> bool:
        """True if `stored` is the hash of `password`. Takes as long without a hash: who is no user is not to
        be found out by the clock.

        Raises:
            Busy: too many wait.
        """
        is_known = stored.startswith("$argon2")
        against = stored if is_known else self._nobodys
        given = password if len(password.encode()) <= PASSWORD_BYTES_MAX else ""
        return await self._run(lambda: self._verify(against, given)) and is_known

    def close(self) -> None:
        """Ends the threads once they are through."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room <= 0:
            self.refused += 1
            raise Busy("too many passwords wait to be checked: try again")
        self.hashed += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._room -= 1
        running.add_done_callback(self._leave)
        # Shielded: a client that gives up must not make room before its thread is free.
        return await asyncio.shield(running)

    def _leave(self, _: object) -> None:
        self._room += 1

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError):
            return False


def _step_back() -> None:
    """Requests come before guesses: on a busy machine this thread gets what the others leave."""
    thread = threading.get_native_id()
    # Linux keeps the nice value by thread. Where this fails, nothing is lost.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)


def _unmatched() -> str:
    """A hash of the usual cost that no password has."""

    def random(count: int) -> str:
        return base64.b64encode(os.urandom(count)).rstrip(b"=").decode()

    cost = f"m={_MEMORY_KIB},t={_PASSES},p={_LANES}"
    return f"$argon2id$v=19${cost}${random(_SALT_BYTES)}${random(_HASH_BYTES)}"
