"""One blocking request to a server on this machine, for tests that need nothing of the client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Status, headers with lower-case names, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    body: object = None,
    timeout_s: float = 30.0,
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Answer:
    """Sends `body` as JSON, or as it is when it is bytes.

    Raises:
        OSError, http.client.HTTPException: no answer.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        is_raw = body is None or isinstance(body, bytes)
        payload = body if is_raw else json.dumps(body).encode()
        sent = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, payload, sent | dict(headers or {}))  # type: ignore[arg-type]
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())
    finally:
        connection.close()


def put(port: int, key: str, value: str) -> Answer:
    return ask(port, "PUT", f"/kv/{key}", {"value": value})


def value_of(port: int, key: str) -> str | None:
    """The stored value, None if there is none."""
    answer = ask(port, "GET", f"/kv/{key}")
    return None if answer.status == 404 else str(answer.json()["value"])
