"""Services and health through GraphQL: every query and mutation, with what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from konsul.kernel.node import VERSION
from tests.unit.graphql.asked import Asked, node, story

WHOLE = """{ name id address port status expiresAt tags meta ttl metadata { key value }
  checks { id serviceId name type status output interval timeout lastChecked } }"""
REGISTER = f"mutation($i: RegisterServiceInput!) {{ registerService(input: $i) {WHOLE} }}"


def of(name: str, **more: Any) -> dict[str, Any]:
    """An input that is fine."""
    return {"name": name, "address": "10.0.0.1", "port": 80, **more}


async def registered(ask: Asked, *names: str, **more: Any) -> None:
    """Registers one instance of each."""
    for name in names:
        await ask(REGISTER, i=of(name, **more))


def test_a_registered_service_is_read_whole(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, KONSUL_SERVICE_TTL="2h") as ask:
            given = of(
                "web",
                tags=["b", "a"],
                metadata=[{"key": "zone", "value": "eu"}, {"key": "env", "value": "prod"}],
                checks=[
                    {
                        "name": "alive",
                        "type": "HTTP",
                        "interval": "300s",
                        "timeout": "1500ms",
                        "http": {"url": "http://10.0.0.1/", "headers": [{"name": "a", "value": "b"}]},
                    },
                    {"id": "own", "name": "beat", "type": "TTL", "ttl": "30s"},
                ],
            )
            web = (await ask(REGISTER, i=given))["registerService"]
            expires = datetime.fromisoformat(web.pop("expiresAt"))
            assert timedelta(minutes=118) < expires - datetime.now(UTC) <= timedelta(hours=2)
            first, second = web.pop("checks")
            assert first.pop("id")
            assert first == {
                "serviceId": "web",
                "name": "alive",
                "type": "HTTP",
                "status": "CRITICAL",
                "output": None,
                "interval": "5m0s",
                "timeout": "1.5s",
                "lastChecked": None,
            }
            assert (second["id"], second["type"], second["interval"]) == ("own", "TTL", None)
            assert web == {
                "name": "web",
                "id": "web",
                "address": "10.0.0.1",
                "port": 80,
                "status": "ACTIVE",
                "tags": ["b", "a"],
                "meta": {"zone": "eu", "env": "prod"},
                "ttl": "2h0m0s",
                "metadata": [{"key": "env", "value": "prod"}, {"key": "zone", "value": "eu"}],
            }
            read = (await ask(f'{{ service(name: "web") {WHOLE} }}'))["service"]
            del read["expiresAt"]
            assert read.pop("checks")[0]["name"] == "alive"
            assert read == web
            assert await ask('{ service(name: "none") { name } }') == {"service": None}

    story(told)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": ""}, "service name is required"),
        ({"address": ""}, "service address is required"),
        ({"port": 0}, "service port is required"),
        ({"port": 65_536}, "service port must be between 1 and 65535"),
        ({"port": -1}, "service port must be between 1 and 65535"),
        ({"tags": ["a", "a"]}, "tag validation failed: duplicate tag: a"),
        (
            {"metadata": [{"key": "_x", "value": ""}]},
            "metadata validation failed: reserved metadata key: _x",
        ),
        (
            {"metadata": [{"key": "x", "value": "1"}, {"key": "x", "value": "2"}]},
            "metadata validation failed: duplicate metadata key: x",
        ),
        (
            {"checks": [{"name": "c", "type": "HTTP"}]},
            "check validation failed: a check of type HTTP needs http",
        ),
        (
            {"checks": [{"name": "c", "type": "TTL", "ttl": "1s", "tcp": {"address": "a:1"}}]},
            "check validation failed: a check of type TTL has no tcp",
        ),
        (
            {"checks": [{"name": "c", "type": "TTL", "ttl": "0s"}]},
            "check validation failed: invalid ttl: 0s (expected a duration such as 30s)",
        ),
    ],
)
def test_the_rules_are_those_of_rest(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            before = ask.kernel.engine.contact()[2]
            refused = ("INVALID_INPUT", f"failed to register service: {reason}")
            assert await ask.refused(REGISTER, i=of("web") | change) == refused
            assert ask.kernel.engine.contact()[2] == before

    story(told)


def test_lists_are_sorted_and_paged(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web-1", "web", "db")
            await ask(REGISTER, i=of("web", id="a", tags=["x"]))
            found = (await ask("{ services { name id } servicesCount }"))["services"]
            everything = [("db", "db"), ("web", "a"), ("web", "web"), ("web-1", "web-1")]
            assert [(each["name"], each["id"]) for each in found] == everything
            assert await ask("{ servicesCount }") == {"servicesCount": 4}
            page = "query($l: Int, $o: Int) { services(limit: $l, offset: $o) { id } }"
            for limit, offset in ((2, 0), (2, 2), (2, 3), (0, 1), (9, 4), (None, 3)):
                got = [each["id"] for each in (await ask(page, l=limit, o=offset))["services"]]
                ids = [own_id for _, own_id in everything]
                assert got == ids[offset:][: len(ids) if limit is None else limit]
            tagged = await ask('{ services(tag: "x") { id } }')
            assert tagged == {"services": [{"id": "a"}]}
            of_one = await ask(
                '{ serviceInstances(name: "web") { id } none: serviceInstances(name: "w") { id } }'
            )
            assert of_one == {"serviceInstances": [{"id": "a"}, {"id": "web"}], "none": []}
            one = await ask('{ service(name: "web") { id } }')
            assert one == {"service": {"id": "web"}}

    story(told)


@pytest.mark.parametrize(
    "field",
    [
        "services(limit: -1) { id }",
        "services(offset: -1) { id }",
        "services(limit: 1001) { id }",
        'serviceInstances(name: "w", offset: -1) { id }',
        'servicesByTags(tags: ["a"], limit: -1) { id }',
        "servicesByTags(tags: [{}]) {{ id }}".format(", ".join(f'"t{n}"' for n in range(33))),
    ],
)
def test_queries_refuse_what_no_page_can_be(tmp_path: Path, field: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            assert (await ask.refused(f"{{ {field} }}"))[0] == "INVALID_INPUT"

    story(told)


def test_a_list_is_never_cut_without_saying_so(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            ask.page_max = 2
            await registered(ask, "a", "b", "c", tags=["t"])
            for field in ("services", 'servicesByTags(tags: ["t"])'):
                code, message = await ask.refused(f"{{ {field} {{ id }} }}")
                assert (code, message[:20]) == ("INVALID_INPUT", "more than 2 services")
            assert len((await ask("{ services(limit: 2) { id } }"))["services"]) == 2
            assert await ask("{ services(limit: 2, offset: 2) { id } }") == {"services": [{"id": "c"}]}

    story(told)


def test_queries_by_tag_and_metadata(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            eu = [{"key": "zone", "value": "eu"}]
            await registered(ask, "a", tags=["x", "y"], metadata=eu)
            await registered(ask, "b", tags=["x"], metadata=[*eu, {"key": "env", "value": "dev"}])
            await registered(ask, "c", tags=["y"])
            by = """query($t: [String!]!, $m: [MetadataFilter!]!) {
              tags: servicesByTags(tags: $t) { name } meta: servicesByMetadata(filters: $m) { name }
              both: servicesByQuery(tags: $t, metadata: $m) { name } }"""

            async def names(tags: list[str], *pairs: tuple[str, str]) -> list[str]:
                filters = [{"key": key, "value": value} for key, value in pairs]
                found = await ask(by, t=tags, m=filters)
                return ["".join(each["name"] for each in found[part]) for part in ("tags", "meta", "both")]

            assert await names(["x"], ("zone", "eu")) == ["ab", "ab", "ab"]
            assert await names(["y", "x"], ("zone", "eu"), ("env", "dev")) == ["a", "b", ""]
            assert await names([]) == ["", "", ""]
            assert await names(["y"]) == ["ac", "", "ac"]
            assert await names(["none"], ("zone", "none")) == ["", "", ""]
            assert await ask("{ servicesByQuery { name } }") == {"servicesByQuery": []}

    story(told)


def test_deregister_says_whether_it_was_there(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web")
            await ask(REGISTER, i=of("web", id="a"))
            gone = 'mutation { one: deregisterService(name: "web") two: deregisterService(name: "web")'
            gone += ' three: deregisterService(name: "web", id: "a") four: deregisterService(name: "") }'
            assert await ask(gone) == {"one": True, "two": False, "three": True, "four": False}

    story(told)


def test_a_heartbeat_answers_the_service(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, KONSUL_SERVICE_TTL="1h") as ask:
            await registered(ask, "web")
            index = ask.kernel.engine.contact()[2]
            beat = "mutation { updateHeartbeat(name: %s) { name status expiresAt } }"
            found = (await ask(beat % '"web"'))["updateHeartbeat"]
            assert (found["name"], found["status"]) == ("web", "ACTIVE")
            assert ask.kernel.engine.contact()[2] == index
            for name in ("none", "web x", "n" * 2_000):
                refused = ("NOT_FOUND", f"service not found: {name}")
                assert await ask.refused(beat % f'"{name}"') == refused

    story(told)


def test_health_is_told_in_figures(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web", "db")
            await ask('mutation { kvSet(key: "a", value: "b") { key } }')
            found = await ask(
                "{ health { status version uptime timestamp services { total active expired } "
                "kvStore { totalKeys } } }"
            )
            health = found["health"]
            stamp = datetime.fromisoformat(health.pop("timestamp"))
            assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)
            assert health.pop("uptime").endswith("s")
            assert health == {
                "status": "healthy",
                "version": VERSION,
                "services": {"total": 2, "active": 2, "expired": 0},
                "kvStore": {"totalKeys": 1},
            }

    story(told)
