"""Passwords: slow hashes by few threads, one cost whoever asks, no endless queue."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable

import argon2
import pytest

from konsul.errors import Busy, Invalid
from konsul.features.auth import passwords
from konsul.features.auth.passwords import Passwords

PASSWORD = "correct horse battery"


def played(story: Callable[[Passwords], Awaitable[None]], waiting_max: int = 64) -> None:
    async def run() -> None:
        made = Passwords(waiting_max)
        try:
            await story(made)
        finally:
            made.close()

    asyncio.run(run())


def test_the_right_password_fits_and_no_other() -> None:
    async def story(made: Passwords) -> None:
        stored = await made.hash(PASSWORD)
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await made.hash(PASSWORD) != stored, "salted"
        assert await made.fits(stored, PASSWORD)
        for wrong in ("", PASSWORD.title(), f"{PASSWORD} ", PASSWORD[:-1], "x" * 2_000):
            assert not await made.fits(stored, wrong)

    played(story)


@pytest.mark.parametrize("stored", ["", "-", "plain text", "$argon2id$broken"])
@pytest.mark.parametrize("given", ["", "plain text", PASSWORD])
def test_without_a_hash_nothing_fits(stored: str, given: str) -> None:
    async def story(made: Passwords) -> None:
        assert not await made.fits(stored, given)

    played(story)


def test_who_is_no_user_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not measured with a clock: what is verified has the same parameters, so it is the same work."""
    seen: list[argon2.Parameters] = []
    verify = argon2.PasswordHasher.verify

    def noting(hasher: argon2.PasswordHasher, stored: str, password: str) -> bool:
        seen.append(argon2.extract_parameters(stored))
        return verify(hasher, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", noting)

    async def story(made: Passwords) -> None:
        stored = await made.hash(PASSWORD)
        for hashed, password in ((stored, "wrong"), ("", "wrong"), (stored, "x" * 2_000), ("", "x" * 2_000)):
            assert not await made.fits(hashed, password)

    played(story)
    assert len(seen) == 4
    assert len(set(map(repr, seen))) == 1


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1_025, "é" * 600])
def test_what_is_no_good_password_is_refused(password: str) -> None:
    async def story(made: Passwords) -> None:
        with pytest.raises(Invalid, match="password: expected"):
            await made.hash(password)

    played(story)


def test_too_many_at_once_are_sent_away_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def waiting(hasher: argon2.PasswordHasher, password: str) -> str:
        gate.wait(30)
        return "$argon2id$"

    monkeypatch.setattr(argon2.PasswordHasher, "hash", waiting)

    async def story(made: Passwords) -> None:
        hashing = [asyncio.ensure_future(made.hash(PASSWORD)) for _ in range(passwords.THREADS + 1)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await made.hash(PASSWORD)
        # A client that goes away leaves its thread busy, so that its room stays taken.
        hashing[0].cancel()
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await made.hash(PASSWORD)
        assert made.refused == 2
        gate.set()
        await asyncio.gather(*hashing[1:])
        assert await made.hash(PASSWORD)

    played(story, waiting_max=1)


def test_guesses_stand_behind_requests() -> None:
    """What hashes is niced, and nothing else of the process is."""

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def story(made: Passwords) -> None:
        assert await made._run(priority) > priority()

    played(story)
