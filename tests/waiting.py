"""The one place in the tests that pauses: waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE_S = 0.01


def until(condition: Callable[[], object], what: str, deadline_s: float = 30.0) -> None:
    """Returns once `condition()` is true.

    Raises:
        AssertionError: it was not within `deadline_s`; names `what`.
    """
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s for {what}")
        time.sleep(PAUSE_S)


async def until_async(condition: Callable[[], object], what: str, deadline_s: float = 30.0) -> None:
    """As `until`, without holding the loop."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s for {what}")
        await asyncio.sleep(PAUSE_S)


async def pace(seconds: float) -> None:
    """Lets time pass for those who act at a rate of their own, as clients and faults do; never to wait for
    something."""
    await asyncio.sleep(seconds)
