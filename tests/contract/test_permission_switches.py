"""The matrix under other switches: identities without policies, and nobody where identities are optional."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from konsul.features import FEATURES
from konsul.kernel.guard_settings import PUBLIC_PATHS
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC
from konsul.kernel.routing import StayingRoute
from tests.contract.callers import ENVIRON, FORBIDDEN, IN, UNKNOWN, Callers, verdict
from tests.contract.permission_cases import ENDED_BY_ITSELF, NO_VERB
from tests.contract.test_permissions import ROUTES, House, asked, call_of

NOBODY, SOMEBODY, ADMIN = "none", "no policies", "admin"
OFF = ("/acl/",)
"""Answers 404 to whoever may ask, while the ACL is off."""
ABOUT_ONESELF = frozenset(("/auth/verify", "/auth/logout"))
"""What nobody cannot be told or do, also where nobody has to be somebody."""


class OpenHouse(House):
    """A node whose switches are others, with two callers and nobody."""

    def __init__(self, data_dir: str, **changed: str) -> None:
        self.environ = ENVIRON | changed
        super().__init__(data_dir)

    async def furnish_callers(self) -> None:
        """Without policies: an admin, and a key that has none."""
        self.callers = Callers(self.ways["compiled"])
        reply = await self.callers.ask("POST", "/auth/bootstrap", {})
        self.callers.admin = json.loads(reply.body)["token"]
        made = await self.callers.ask("POST", "/auth/apikeys", {"name": "k"}, self.callers.admin)
        self.callers.keys[SOMEBODY] = json.loads(made.body)["key"]


def house(**changed: str) -> Callable[[pytest.TempPathFactory], Iterator[OpenHouse]]:
    def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHouse]:
        found = OpenHouse(str(tmp_path_factory.mktemp("open-house")), **changed)
        yield found
        found.close()

    return made


without_acl = pytest.fixture(scope="module", name="without_acl")(house(KONSUL_ACL_ENABLED="false"))
optional = pytest.fixture(scope="module", name="optional")(
    house(KONSUL_REQUIRE_AUTH="false", KONSUL_ACL_DEFAULT_POLICY="allow")
)
optional_deny = pytest.fixture(scope="module", name="optional_deny")(house(KONSUL_REQUIRE_AUTH="false"))


def is_administration(needs: str) -> bool:
    return needs.startswith("admin:")


def by_role(caller: str, needs: str) -> str:
    """Policies off, credentials required: data is for everybody who is known, administration for admins."""
    if caller == NOBODY:
        return UNKNOWN
    return FORBIDDEN if caller == SOMEBODY and is_administration(needs) else IN


def by_default_allow(caller: str, needs: str) -> str:
    """Credentials optional, the default policy allows: everything but administration is open."""
    if is_administration(needs) and caller != ADMIN:
        return UNKNOWN if caller == NOBODY else FORBIDDEN
    return IN


def by_default_deny(caller: str, needs: str) -> str:
    """Credentials optional, the default policy denies: nobody gets what a policy would have to give."""
    if caller == ADMIN or needs == AUTHENTICATED:
        return IN
    return UNKNOWN if caller == NOBODY else FORBIDDEN


def wrong_of(house: OpenHouse, expected: Callable[[str, str], str]) -> list[tuple[str, str, str, int]]:
    """Every route by every caller, where the answer is another than expected."""
    found = []
    for method, route in ROUTES:
        if (method, route.path) in ENDED_BY_ITSELF | NO_VERB:
            continue
        needs = PUBLIC if route.path in PUBLIC_PATHS else route.needs
        for caller in (NOBODY, SOMEBODY, ADMIN):
            call = call_of(method, route.path, house.callers.of(caller, needs))
            for front, way in house.ways.items():
                reply = house.run(asked(way, call, isinstance(route, StayingRoute)))
                right = IN if needs == PUBLIC else expected(caller, needs)
                if caller == NOBODY and route.path in ABOUT_ONESELF:
                    right = UNKNOWN
                if verdict(reply.status) != right and not (
                    reply.status == 404 and route.path.startswith(OFF)
                ):
                    found.append((f"{method} {route.path} {front}", caller, right, reply.status))
    return found


def test_without_policies_administration_is_for_admins_only(without_acl: OpenHouse) -> None:
    assert wrong_of(without_acl, by_role) == []


def test_where_identities_are_optional_the_default_decides_but_never_of_administration(
    optional: OpenHouse, optional_deny: OpenHouse
) -> None:
    assert wrong_of(optional, by_default_allow) == []
    assert wrong_of(optional_deny, by_default_deny) == []


def test_the_guards_are_features_of_every_node() -> None:
    assert {"audit", "auth", "acl", "ratelimit"} <= set(FEATURES)
