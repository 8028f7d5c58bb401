"""The Python library `gql`: queries over HTTP, subscriptions over its WebSocket transport."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXTransport
from gql.transport.websockets import WebsocketsTransport

from tests.ask import ask, put
from tests.conftest import LiveServer
from tests.waiting import until

WITHIN_S = 30.0
LIST = "query List($prefix: String) { kvList(prefix: $prefix) { total hasMore items { key value } } }"
CHANGES = "subscription Changes($prefix: String) { kvChanged(prefix: $prefix) { type key value oldValue } }"


def request(document: str, **variables: object) -> GraphQLRequest:
    return GraphQLRequest(gql(document), variable_values=variables)


def test_a_query_checked_against_the_schema_it_fetched(server: LiveServer) -> None:
    put(server.port, "gql/a", "1")
    put(server.port, "gql/b", "2")
    transport = HTTPXTransport(url=f"{server.base_url}/graphql", trust_env=False)
    with Client(transport=transport, fetch_schema_from_transport=True) as session:
        found = session.execute(request(LIST, prefix="gql/"))
        with pytest.raises(TransportQueryError, match="key"):
            session.execute(request('mutation { kvSet(key: "", value: "v") { key } }'))
    assert found["kvList"] == {
        "total": 2,
        "hasMore": False,
        "items": [{"key": "gql/a", "value": "1"}, {"key": "gql/b", "value": "2"}],
    }


@pytest.mark.parametrize("protocol", [["graphql-transport-ws"], ["graphql-ws"]])
def test_a_subscription_sees_each_change_once(server: LiveServer, protocol: list[Any]) -> None:
    asyncio.run(watched(server, protocol))


async def watched(server: LiveServer, protocol: list[Any]) -> None:
    transport = WebsocketsTransport(
        url=f"ws://127.0.0.1:{server.port}/graphql",
        subprotocols=protocol,
        connect_args={"proxy": None},
        connect_timeout=WITHIN_S,
        ack_timeout=WITHIN_S,
    )
    prefix = f"gql-{protocol[0]}/"
    seen: list[dict[str, Any]] = []

    async def listen() -> None:
        async with Client(transport=transport, execute_timeout=WITHIN_S) as session:
            async for change in session.subscribe(request(CHANGES, prefix=prefix)):
                seen.append(change["kvChanged"])

    listening = asyncio.create_task(listen())
    try:
        await asyncio.to_thread(armed, server, prefix, seen)
        seen.clear()
        await asyncio.to_thread(put, server.port, f"{prefix}key", "one")
        await asyncio.to_thread(put, server.port, "gql-elsewhere", "not watched")
        await asyncio.to_thread(put, server.port, f"{prefix}key", "two")
        await asyncio.to_thread(ask, server.port, "DELETE", f"/kv/{prefix}key")
        await asyncio.to_thread(until, lambda: len(seen) >= 3 or listening.done(), "three changes")
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    assert seen == [
        {"type": "SET", "key": f"{prefix}key", "value": "one", "oldValue": None},
        {"type": "SET", "key": f"{prefix}key", "value": "two", "oldValue": "one"},
        {"type": "DELETE", "key": f"{prefix}key", "value": None, "oldValue": "two"},
    ]


def armed(server: LiveServer, prefix: str, seen: list[dict[str, Any]]) -> None:
    """Waits until the subscription is there: it has seen what was written for it, and all of that."""
    written = 0

    def noticed() -> bool:
        nonlocal written
        if not seen:
            written += 1
            put(server.port, f"{prefix}are-you-there", str(written))
        return bool(seen) and seen[-1]["value"] == str(written)

    until(noticed, "the subscription", WITHIN_S)
