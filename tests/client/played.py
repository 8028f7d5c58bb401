"""A server that answers from a list, and a clock that moves only when the client waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from konsul.client import AsyncClient, Client, Settings

ADDRESS = "http://konsul.test:8888"
Turn = httpx.Response | Exception
JITTER = 0.5


class Played:
    """What the server says, turn by turn, and what it was asked. The last turn repeats."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.seen: list[httpx.Request] = []
        self.pauses_s: list[float] = []
        self.now_s = 100.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if isinstance(turn, Exception):
            raise turn
        # A copy, for httpx closes what it was given.
        return httpx.Response(turn.status_code, headers=turn.headers, content=turn.content)

    def sleep(self, pause_s: float) -> None:
        """Moves the clock instead of waiting."""
        self.pauses_s.append(pause_s)
        self.now_s += pause_s

    async def sleep_async(self, pause_s: float) -> None:
        """As `sleep`."""
        self.sleep(pause_s)

    def settings(self, **changes: Any) -> Settings:
        """Settings for the played server."""
        return Settings(**{"address": ADDRESS, **changes})

    def client(self, **changes: Any) -> Client:
        """A blocking client of this server."""
        return Client(
            self.settings(**changes),
            transport=httpx.MockTransport(self),
            sleep=self.sleep,
            clock=lambda: self.now_s,
            jitter=lambda: JITTER,
        )

    def async_client(self, **changes: Any) -> AsyncClient:
        """An asyncio client of this server."""
        return AsyncClient(
            self.settings(**changes),
            transport=httpx.MockTransport(self),
            sleep=self.sleep_async,
            clock=lambda: self.now_s,
            jitter=lambda: JITTER,
        )


Doing = Callable[[Any], Any]


def run(played: Played, doing: Doing, *, both: str, **changes: Any) -> Any:
    """Does the same through the client called `both`: "sync" or "async"."""
    if both == "sync":
        with played.client(**changes) as client:
            return doing(client)

    async def alone() -> Any:
        async with played.async_client(**changes) as client:
            return await doing(client)

    return asyncio.run(alone())


def ok(document: object = None, **headers: str) -> httpx.Response:
    """A 200 with a JSON body."""
    return httpx.Response(200, json={} if document is None else document, headers=headers)


def refusal(status: int, error: str, message: str, **headers: str) -> httpx.Response:
    """A refusal in the standard shape."""
    body = {"error": error, "message": message, "request_id": "r-1", "timestamp": "t", "path": "/p"}
    return httpx.Response(status, json=body, headers=headers)
