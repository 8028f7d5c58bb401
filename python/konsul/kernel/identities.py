"""Whether those who hold connections open are still who they were."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from konsul.errors import KonsulError
from konsul.kernel.pipeline import Identity, Pipeline

_TICK_S: Final = 1.0
_NEVER: Final = float("inf")


class Holder(Protocol):
    """Something that stays open in the name of an identity."""

    identity: Identity

    def refuse(self, error: KonsulError) -> None:
        """The identity no longer holds, and `error` says why: ends it."""


class Identities:
    """Puts the identity of everything that is open through the renew slot: when something changed, and every
    second once the first of them may have expired. For the loop's thread.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._held: dict[Holder, None] = {}
        self._checking: asyncio.Handle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._expires_at_s = _NEVER
        """The earliest end of a credential, in Unix time."""

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, holder: Holder) -> None:
        """It is open, or somebody else's now. Costs nothing while identities do not change."""
        if self._pipeline.renew is None:
            return
        self._held[holder] = None
        expires_at_s = holder.identity.expires_at_s
        if expires_at_s is not None:
            self._expires_at_s = min(self._expires_at_s, expires_at_s)
            if self._ticking is None:
                self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def drop(self, holder: Holder) -> None:
        """It is closed. Again: does nothing."""
        self._held.pop(holder, None)

    def recheck(self) -> None:
        """Looks at all of them on the loop's next turn, once, however often it is called until then."""
        if self._held and self._checking is None:
            self._checking = asyncio.get_running_loop().call_soon(self._check)

    def stop(self) -> None:
        """Looks at nothing any more."""
        for handle in (self._checking, self._ticking):
            if handle is not None:
                handle.cancel()
        self._checking = self._ticking = None

    def _tick(self) -> None:
        self._ticking = None
        if not self._held:
            self._expires_at_s = _NEVER
            return
        if time.time() >= self._expires_at_s:
            self._check()
        if self._expires_at_s < _NEVER:
            self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _check(self) -> None:
        self._checking = None
        renew = self._pipeline.renew
        if renew is None:
            return
        # Of a thousand that one caller holds, one is asked about.
        found: dict[Identity, Identity | KonsulError] = {}
        expires_at_s = _NEVER
        for one in list(self._held):
            now = found.get(one.identity)
            if now is None:
                try:
                    now = renew(one.identity)
                except KonsulError as error:
                    now = error
                found[one.identity] = now
            if isinstance(now, KonsulError):
                one.refuse(now)
                continue
            one.identity = now
            if now.expires_at_s is not None:
                expires_at_s = min(expires_at_s, now.expires_at_s)
        self._expires_at_s = expires_at_s
