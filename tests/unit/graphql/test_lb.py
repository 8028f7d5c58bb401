"""Load balancing through GraphQL: one instance that serves, chosen as it is wished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.graphql.asked import Asked, node, story

REGISTER = "mutation($i: RegisterServiceInput!) { registerService(input: $i) { name } }"
CHOOSE = """query($service: String!, $strategy: String, $session: String, $ip: String, $rule: String) {
  loadBalance(service: $service, strategy: $strategy, session: $session, clientIp: $ip, rule: $rule) { name }
}"""


async def registered(ask: Asked, name: str, *tags: str) -> None:
    given: dict[str, Any] = {"name": name, "address": "10.0.0.1", "port": 80, "tags": list(tags)}
    await ask(REGISTER, i=given)


async def chosen(ask: Asked, service: str, **wishes: Any) -> Any:
    found = (await ask(CHOOSE, service=service, **wishes))["loadBalance"]
    return None if found is None else found["name"]


def test_one_of_many_is_chosen_by_tag_or_name(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            for name in ("a", "b", "c"):
                await registered(ask, name, "fleet")
            assert [await chosen(ask, "fleet") for _ in range(4)] == ["a", "b", "c", "a"]
            assert await chosen(ask, "b") == "b"
            assert await chosen(ask, "nobody") is None
            kept = {await chosen(ask, "fleet", strategy="ring-hash", session="s") for _ in range(5)}
            assert len(kept) == 1
            near = {await chosen(ask, "fleet", strategy="ip-hash", ip="10.0.0.9") for _ in range(5)}
            assert len(near) == 1

    story(told)


def test_wishes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await registered(ask, "web")
            for wishes, message in (
                ({"strategy": "best"}, "Invalid strategy. Must be one of"),
                ({"ip": "nobody"}, "clientIp: expected an IP address"),
                ({"rule": "canary"}, "there is no rule 'canary'"),
            ):
                code, said = await ask.refused(CHOOSE, service="web", **wishes)
                assert (code, said.startswith(message)) == ("INVALID_INPUT", True), (code, said)

    story(told)
