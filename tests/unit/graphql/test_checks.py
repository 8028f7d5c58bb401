"""Checks through GraphQL: read, told, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.graphql.asked import Asked, node, story

REGISTER = "mutation($i: RegisterServiceInput!) { registerService(input: $i) { name } }"
UPDATE = """mutation($service: String!, $check: String!, $status: HealthCheckStatus!, $output: String) {
  updateServiceCheck(serviceId: $service, checkId: $check, status: $status, output: $output)
  { id status output lastChecked }
}"""


async def registered(ask: Asked, name: str, *ids: str) -> None:
    checks = [{"id": one, "name": one, "type": "TTL", "ttl": "1h"} for one in ids]
    given: dict[str, Any] = {"name": name, "address": "10.0.0.1", "port": 80, "checks": checks}
    await ask(REGISTER, i=given)


def test_a_check_is_told_and_read(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web", "a", "b")
            found = await ask(UPDATE, service="web", check="a", status="WARNING", output="slow")
            assert found["updateServiceCheck"].pop("lastChecked")
            assert found == {"updateServiceCheck": {"id": "a", "status": "WARNING", "output": "slow"}}
            whole = "id serviceId name type status output service { name port }"
            found = await ask(f'{{ healthCheck(id: "a") {{ {whole} }} }}')
            assert found["healthCheck"] == {
                "id": "a",
                "serviceId": "web",
                "name": "a",
                "type": "TTL",
                "status": "WARNING",
                "output": "slow",
                "service": {"name": "web", "port": 80},
            }
            found = await ask('{ healthCheck(serviceId: "web") { id } none: healthCheck(id: "x") { id } }')
            assert found == {"healthCheck": {"id": "a"}, "none": None}
            found = await ask('{ service(name: "web") { health checks { id status } } }')
            checks = [{"id": "a", "status": "WARNING"}, {"id": "b", "status": "CRITICAL"}]
            assert found["service"] == {"health": "CRITICAL", "checks": checks}

    story(told)


def test_before_the_first_run_nobody_has_looked(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web", "a")
            found = await ask("{ healthChecks { id lastChecked } }")
            assert found["healthChecks"] == [{"id": "a", "lastChecked": None}]

    story(told)


def test_listings_filter(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web", "a", "b")
            await registered(ask, "db", "c")
            await ask(UPDATE, service="db", check="c", status="PASSING")
            found = await ask("""{ all: healthChecks { id } web: healthChecks(service: "web") { id }
                fine: healthChecks(status: PASSING) { id } first: healthChecks(limit: 1) { id }
                none: healthChecks(limit: 0) { id } by: healthChecks(filter: "Name == b") { id } }""")
            assert {name: [one["id"] for one in checks] for name, checks in found.items()} == {
                "all": ["a", "b", "c"],
                "web": ["a", "b"],
                "fine": ["c"],
                "first": ["a"],
                "none": [],
                "by": ["b"],
            }

    story(told)


def test_what_cannot_be_is_refused_with_a_code(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web", "a")
            for question, code in (
                ("{ healthCheck { id } }", "INVALID_INPUT"),
                ('{ healthCheck(id: "a", serviceId: "web") { id } }', "INVALID_INPUT"),
                ('{ healthCheck(serviceId: "a\\" or 1") { id } }', "INVALID_INPUT"),
                ('{ healthChecks(filter: "Nonsense ==") { id } }', "INVALID_INPUT"),
            ):
                assert (await ask.refused(question))[0] == code, question
            for service, check in (("db", "a"), ("web", "x")):
                refused = await ask.refused(UPDATE, service=service, check=check, status="PASSING")
                assert refused[0] == "NOT_FOUND"

    story(told)
