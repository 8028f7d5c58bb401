"""A server whose rates are so slow that no test sees a token come back, and clients with addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import SMALL, LiveServer

SLOW = 0.001
"""Tokens per second: one comes back in 1,000 s."""
BURST = 10
RATE_LIMITED = SMALL | {
    "KONSUL_RATE_LIMIT_ENABLED": "true",
    "KONSUL_RATE_LIMIT_REQUESTS_PER_SEC": str(SLOW),
    "KONSUL_RATE_LIMIT_BURST": str(BURST),
    "KONSUL_TRUSTED_PROXIES": "127.0.0.1",
}
ADMIN = "/admin/ratelimit"
_hosts = count(1)


def address() -> str:
    """An address that no other test of this process asks from (RFC 2544's)."""
    number = next(_hosts)
    return f"198.18.{number >> 8}.{number & 255}"


@contextmanager
def limited(data_dir: Path, **more: str) -> Iterator[LiveServer]:
    """Such a server. The machine itself is on the white list, so that administering costs nothing."""
    with LiveServer(data_dir, RATE_LIMITED | more) as server:
        with admin(server) as http:
            body = {"identifier": "127.0.0.1", "type": "ip", "reason": "the tests"}
            assert http.post(f"{ADMIN}/whitelist", json=body).status_code == 200
        yield server


def admin(server: LiveServer) -> httpx.Client:
    """Asks from the machine itself."""
    return httpx.Client(base_url=server.base_url, trust_env=False, timeout=30)


def caller(server: LiveServer, client: str | None = None) -> httpx.Client:
    """Asks from an address, by default one that is new."""
    headers = {"X-Forwarded-For": client or address()}
    return httpx.Client(base_url=server.base_url, trust_env=False, timeout=30, headers=headers)


def spend(http: httpx.Client, requests: int) -> list[int]:
    """The statuses of so many requests for a key that is not there."""
    return [http.get("/kv/nothing").status_code for _ in range(requests)]


def left(answer: httpx.Response) -> int:
    """Tokens left, by the answer."""
    return int(answer.headers["x-ratelimit-remaining"])


def members(answer: httpx.Response, name: str) -> Any:
    """A member of a successful answer."""
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["success"] is True
    return document[name]
