"""A check makes the server connect somewhere: never to where a metadata service answers secrets.

127.0.0.2 stands for the metadata address, so that something listens there and can count: nothing may arrive.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from konsul.features.checks.guard import DENIED
from tests.ask import ask
from tests.checks.counting import Counting
from tests.checks.targets import Web, answer, definition, executors, listening
from tests.security.guarded import Guarded, Login
from tests.waiting import until

METADATA = "127.0.0.2"
SETTINGS = {"KONSUL_CHECK_DENY_NETWORKS": f"{','.join(DENIED)},{METADATA}/32"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A guarded server to whose checks that address is denied."""
    with Guarded(tmp_path_factory.mktemp("checked"), SETTINGS) as server:
        server.furnish()
        yield server


@pytest.fixture
def metadata() -> Iterator[Counting]:
    with Counting(METADATA) as target:
        yield target


def refused(server: Guarded, login: Login, check: dict[str, Any]) -> str:
    """The output of a check that was refused, once it has run."""
    service = {"name": "open-web", "address": "127.0.0.1", "port": 80}
    body = service | {"checks": [{"id": "probe", "interval": "200ms", **check}]}
    # A check that was there before would still show what it said.
    ask(server.port, "DELETE", "/deregister/open-web", headers=server.admin)
    registered = ask(server.port, "PUT", "/register", body, headers=login.headers)
    assert registered.status == 200, registered.body
    found: list[dict[str, Any]] = []

    def ran() -> bool:
        said = ask(server.port, "GET", "/health/check/probe", headers=server.admin).json()
        found[:] = [said]
        return bool(said.get("results")) and bool(said["output"])

    until(ran, "the check to run")
    assert found[0]["status"] == "critical", found
    assert "refused" in found[0]["output"], found
    return json.dumps(found[0])


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("127.0.0.2", id="the_address_itself"),
        pytest.param("2130706434", id="decimal"),
        pytest.param("0x7f000002", id="hexadecimal"),
        pytest.param("0177.0.0.2", id="octal"),
        pytest.param("127.2", id="shortened"),
        pytest.param("[::ffff:127.0.0.2]", id="ipv4_mapped_ipv6"),
        pytest.param("[::ffff:7f00:2]", id="ipv4_mapped_ipv6_in_hex"),
        pytest.param("[::127.0.0.2]", id="ipv4_compatible_ipv6"),
        pytest.param("[64:ff9b::7f00:2]", id="nat64"),
        pytest.param("[2002:7f00:2::]", id="6to4"),
    ],
)
def test_a_check_cannot_reach_the_metadata_address_as(
    guarded: Guarded, attacker: Login, metadata: Counting, host: str
) -> None:
    refused(guarded, attacker, {"http": f"http://{host}:{metadata.port}/latest/meta-data/"})
    assert (metadata.connections, metadata.hits()) == (0, 0)


def test_a_redirect_cannot_lead_to_the_metadata_address(
    guarded: Guarded, attacker: Login, metadata: Counting
) -> None:
    with Counting(locations={"/health": f"{metadata.url}/latest/", "/": "/health"}) as lure:
        refused(guarded, attacker, {"http": f"{lure.url}/"})
        assert lure.hits("/health") > 0
    assert (metadata.connections, metadata.hits()) == (0, 0)


@pytest.mark.parametrize("kind", ["tcp", "udp", "grpc"])
def test_no_other_type_of_check_reaches_it(
    guarded: Guarded, attacker: Login, metadata: Counting, kind: str
) -> None:
    refused(guarded, attacker, {kind: f"{METADATA}:{metadata.port}"})
    assert metadata.connections == 0


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "[fe80::a9fe:a9fe]", "100.100.100.200", "[fd00:ec2::254]", "0.1.2.3"]
)
def test_the_addresses_of_metadata_services_are_denied_unless_settings_say_otherwise(
    guarded: Guarded, attacker: Login, address: str
) -> None:
    said = refused(guarded, attacker, {"http": f"http://{address}/latest/meta-data/"})
    assert "which checks may not reach" in said


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.2/", "http://u:p@127.0.0.2/"])
def test_no_other_scheme_and_no_password_in_a_url(guarded: Guarded, attacker: Login, url: str) -> None:
    body = {"name": "open-web", "address": "127.0.0.1", "port": 80, "checks": [{"http": url}]}
    assert ask(guarded.port, "PUT", "/register", body, headers=attacker.headers).status == 400


def test_a_redirect_cannot_change_to_another_scheme() -> None:
    async def story() -> None:
        lure = Web({"/": answer("302 Found", b"", "Location: file:///etc/passwd")})
        async with listening(lure), executors() as made:
            found = await made.run(definition("http", http=f"http://127.0.0.1:{lure.port}/"))
        assert found.status == "critical"
        assert "no scheme that checks may use" in found.output

    asyncio.run(story())


def test_a_name_cannot_lead_to_the_metadata_address(metadata: Counting) -> None:
    async def story() -> None:
        async with executors(lambda _: [METADATA], deny_networks=(f"{METADATA}/32",)) as made:
            found = await made.run(definition("http", http=f"http://innocent.example:{metadata.port}/"))
        assert found.status == "critical"
        assert "refused" in found.output

    asyncio.run(story())
    assert metadata.connections == 0


def test_a_name_cannot_be_rebound_between_attempts_or_in_one(metadata: Counting) -> None:
    """The name is asked for once per attempt, also where a connection is kept; what it says then is judged
    and used, so a second answer has no use."""
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) % 2 else [METADATA]

    async def story() -> None:
        async with (
            listening(Web()) as web,
            executors(rebinding, deny_networks=(f"{METADATA}/32",)) as made,
        ):
            check = definition("http", http=f"http://rebinding.example:{web.port}/")
            found = [(await made.run(check)).status for _ in range(6)]
        assert found == ["passing", "critical"] * 3
        assert len(web.requests) == 3

    asyncio.run(story())
    assert (len(asked), metadata.connections) == (6, 0)


def test_headers_and_paths_cannot_smuggle_a_second_request(guarded: Guarded, attacker: Login) -> None:
    for check in (
        {"http": "http://127.0.0.1:1/a\r\nX-Evil: 1"},
        {"http": "http://127.0.0.1:1/a b"},
        {"http": "http://127.0.0.1:1/", "headers": {"X": "a\r\nX-Evil: 1"}},
        {"http": "http://127.0.0.1:1/", "headers": {"X: 1\r\nY": "a"}},
        {"http": "http://127.0.0.1:1/", "method": "GET / HTTP/1.1\r\n\r\nDELETE"},
    ):
        body = {"name": "open-web", "address": "127.0.0.1", "port": 80, "checks": [check]}
        assert ask(guarded.port, "PUT", "/register", body, headers=attacker.headers).status == 400, check
