"""What pages and services in JavaScript use: `graphql-ws`, `@apollo/client`, `subscriptions-transport-ws`,
`graphql-sse`, each under Node, their own code and nothing played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ask import ask, put
from tests.conftest import LiveServer
from tests.real_clients import packages
from tests.real_clients.spoken import Spoken
from tests.waiting import until

pytestmark = pytest.mark.timeout(packages.INSTALL_MAX_S + 120)
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where the clients are, their packages installed."""
    return packages.node()


@contextmanager
def client(server: LiveServer, folder: Path, name: str, prefix: str) -> Iterator[Spoken]:
    """A client that subscribes to the changes below `prefix`."""
    with Spoken(["node", f"{name}.mjs", server.base_url, prefix], folder) as running:
        yield running


def armed(server: LiveServer, running: Spoken, prefix: str) -> None:
    """Waits until the subscription is there: it has told everything that was written for it."""
    written = 0

    def noticed() -> bool:
        nonlocal written
        if not running.heard_of("change"):
            written += 1
            put(server.port, f"{prefix}are-you-there", str(written))
            return False
        return bool(change(running)["value"] == str(written))

    until(noticed, "the subscription", WITHIN_S)


def change(running: Spoken) -> dict[str, Any]:
    """The next change it is told, without errors beside it."""
    told = running.hear("change")
    assert "errors" not in told, told
    found: dict[str, Any] = told["data"]["kvChanged"]
    return {name: value for name, value in found.items() if name != "__typename"}


def tells_everything(server: LiveServer, running: Spoken, prefix: str) -> None:
    """Three writes, three changes: nothing else, nothing twice."""
    armed(server, running, prefix)
    put(server.port, f"{prefix}key", "one")
    put(server.port, "node-elsewhere", "not watched")
    put(server.port, f"{prefix}key", "zwei \u2603")
    ask(server.port, "DELETE", f"/kv/{prefix}key")
    assert [change(running) for _ in range(3)] == [
        {"type": "SET", "key": f"{prefix}key", "value": "one", "oldValue": None},
        {"type": "SET", "key": f"{prefix}key", "value": "zwei \u2603", "oldValue": "one"},
        {"type": "DELETE", "key": f"{prefix}key", "value": None, "oldValue": "zwei \u2603"},
    ]


def test_graphql_ws(server: LiveServer, folder: Path) -> None:
    prefix = "graphql-ws/"
    put(server.port, f"{prefix}before", "there")
    with client(server, folder, "graphql_ws", prefix) as running:
        assert running.hear("connected") == "graphql-transport-ws"
        assert running.hear("answer") == {"data": {"kv": {"key": f"{prefix}before", "value": "there"}}}
        assert "nobodyKnowsThis" in running.hear("refused")[0]["message"]
        tells_everything(server, running, prefix)


def test_graphql_ws_comes_back_after_a_kill(server: LiveServer, folder: Path) -> None:
    prefix = "graphql-ws-killed/"
    put(server.port, f"{prefix}before", "there")
    with client(server, folder, "graphql_ws", prefix) as running:
        tells_everything(server, running, prefix)
        server.restart()
        assert running.hear("closed") == 1006
        tells_everything(server, running, prefix)


def test_graphql_ws_keeps_a_quiet_connection(server: LiveServer, folder: Path) -> None:
    put(server.port, "graphql-ws-quiet/before", "there")
    with client(server, folder, "graphql_ws", "graphql-ws-quiet/") as running:
        for _ in range(3):
            running.hear("pong")


def test_apollo(server: LiveServer, folder: Path) -> None:
    prefix = "apollo/"
    both = [
        {"kv": {"__typename": "KVPair", "key": f"{prefix}apollo", "value": "über"}},
        {"kv": None},
    ]
    with client(server, folder, "apollo", prefix) as running:
        assert running.hear("set")["kvSet"]["value"] == "über"
        for way in ("plain", "hashed", "together"):
            assert running.hear(way) == both, way
        tells_everything(server, running, prefix)


def test_subscriptions_transport_ws(server: LiveServer, folder: Path) -> None:
    prefix = "legacy/"
    put(server.port, f"{prefix}before", "there")
    with client(server, folder, "legacy_ws", prefix) as running:
        assert running.hear("connected") == "graphql-ws"
        assert running.hear("answer") == {"data": {"kv": {"key": f"{prefix}before", "value": "there"}}}
        tells_everything(server, running, prefix)


def test_graphql_sse(server: LiveServer, folder: Path) -> None:
    prefix = "sse/"
    put(server.port, f"{prefix}before", "there")
    with client(server, folder, "graphql_sse", prefix) as running:
        assert running.hear("answer") == {"data": {"kv": {"key": f"{prefix}before", "value": "there"}}}
        tells_everything(server, running, prefix)
