"""One server per module, with what the module's SETTINGS say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import SMALL, LiveServer
from tests.doors.graphql.speaking import Speaker

Asks = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server with the module's SETTINGS."""
    settings = SMALL | getattr(request.module, "SETTINGS", {})
    with LiveServer(tmp_path_factory.mktemp("graphql") / "data", settings) as running:
        yield running


@pytest.fixture
def asks(http: httpx.Client) -> Asks:
    """Posts an operation: the status and the decoded body."""

    def ask(query: str, variables: object = None, **members: object) -> tuple[int, Any]:
        answer = http.post("/graphql", json={"query": query, "variables": variables, **members})
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()

    return ask


@pytest.fixture
def speak(server: LiveServer) -> Iterator[Callable[..., Speaker]]:
    """Opens WebSockets, and closes them at the test's end."""
    opened: list[Speaker] = []

    def dial(dialect: str = "graphql-transport-ws", **options: Any) -> Speaker:
        opened.append(Speaker(server.port, dialect, **options))
        return opened[-1]

    yield dial
    for one in opened:
        one.hang_up()
