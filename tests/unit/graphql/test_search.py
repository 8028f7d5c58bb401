"""Searching services through GraphQL."""

from __future__ import annotations

from pathlib import Path

from tests.unit.graphql.asked import Asked, node, story
from tests.unit.graphql.test_services import registered

SEARCH = """query($filter: String, $sort: String, $descending: Boolean! = false, $limit: Int, $after: String,
  $name: String,
  $tags: [String!], $metadata: [MetadataFilter!], $node: String, $zone: String, $health: String) {
  searchServices(filter: $filter, sort: $sort, descending: $descending, limit: $limit, after: $after,
    name: $name, tags: $tags, metadata: $metadata, node: $node, zone: $zone, health: $health) {
    services { name } after } }"""


async def names(ask: Asked, **said: object) -> list[str]:
    """What a search without a next page finds."""
    page = (await ask(SEARCH, **said))["searchServices"]
    assert page["after"] is None
    return [one["name"] for one in page["services"]]


def test_a_search_finds_orders_and_pages(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, KONSUL_SERVICE_TTL="2h") as ask:
            await registered(ask, "a", "b", tags=["x"], metadata=[{"key": "env", "value": "prod"}])
            await registered(ask, "c", tags=["y"])
            assert await names(ask) == ["a", "b", "c"]
            assert await names(ask, filter="x in Tags and Service != a") == ["b"]
            assert await names(ask, name="c", health="passing") == ["c"]
            assert await names(ask, tags=["x"], metadata=[{"key": "env", "value": "prod"}]) == ["a", "b"]
            assert await names(ask, node="n") == []
            assert await names(ask, zone="z") == []
            assert await names(ask, sort="modify_index", descending=True) == ["c", "b", "a"]
            first = (await ask(SEARCH, sort="name", descending=True, limit=2))["searchServices"]
            assert [one["name"] for one in first["services"]] == ["c", "b"]
            assert await names(ask, sort="name", descending=True, limit=2, after=first["after"]) == ["a"]

    story(told)


def test_a_search_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            for said, words in (
                ({"filter": "Port = 1"}, "Invalid filter: line 1, column 6"),
                ({"filter": ""}, "Invalid filter: line 1, column 1"),
                ({"sort": "color"}, "Invalid sort parameter"),
                ({"health": "good"}, "Invalid health parameter"),
                ({"after": "x"}, "Invalid after parameter"),
                ({"limit": 1_001}, "limit must be at most 1000"),
            ):
                _, message = await ask.refused(SEARCH, **said)
                assert words in message

    story(told)
