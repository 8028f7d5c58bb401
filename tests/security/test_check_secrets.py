"""What a check's definition, its output and its refusals tell, and to whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded
from tests.waiting import until

SECRETS = {"Authorization": "Bearer tell-nobody", "X-Api-Key": "tell-nobody", "Cookie": "id=tell-nobody"}
HEADERS = SECRETS | {"Accept": "text/plain"}
HIDDEN = dict.fromkeys(SECRETS, "(hidden)") | {"Accept": "text/plain"}
WORDS = ["read", "write", "list", "register", "deregister"]


class _Picky(BaseHTTPRequestHandler):
    """Lets in whoever brings the secrets."""

    def do_GET(self) -> None:
        is_known = all(self.headers[name] == value for name, value in SECRETS.items())
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Picky)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("told")) as found:
        register(found.admin, "db", {"id": "db-ttl", "ttl": "1h"}, node="vault")
        own = [{"name": "shop*", "capabilities": WORDS}]
        found.policy("shop", service=own, health=[{"capabilities": ["read"]}])
        yield found


@pytest.fixture(scope="module")
def shop(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("shop", "shop") as client:
        register(client, "shop")
        yield client


def body_of(name: str, *checks: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": name, "address": "127.0.0.1", "port": 80, "ttl": "1h", "checks": list(checks)} | members


def register(client: httpx.Client, name: str, *checks: dict[str, Any], **members: Any) -> dict[str, Any]:
    answer = client.put("/register", json=body_of(name, *checks, **members)).raise_for_status()
    made: dict[str, Any] = answer.json()["service"]
    return made


def until_passing(client: httpx.Client, check_id: str) -> None:
    path = f"/health/check/{check_id}"
    until(lambda: client.get(path).json()["status"] == "passing", f"the target to be content with {check_id}")


def test_secrets_of_a_check_reach_its_target_and_are_shown_to_nobody(node: Guarded, target: str) -> None:
    admin = node.admin
    probe = {"http": target, "headers": HEADERS, "interval": "100ms"}
    made = register(admin, "web", probe | {"id": "probe"})
    assert made["checks"][0]["headers"] == HIDDEN
    added = admin.post("/health/check", json=probe | {"service": "web", "id": "added"})
    assert added.status_code == 200, added.text
    for check_id in ("probe", "added"):
        until_passing(admin, check_id)
        assert admin.get(f"/health/check/{check_id}").json()["headers"] == HIDDEN
    for path in (
        "/services/web",
        "/services",
        "/services/web/instances",
        "/health/checks",
        "/lb/service/web",
    ):
        assert "tell-nobody" not in admin.get(path).raise_for_status().text, path


def test_a_hidden_value_is_not_taken_for_the_secret(node: Guarded) -> None:
    probe = {"id": "later", "http": "http://127.0.0.1:1/", "headers": HEADERS}
    register(node.admin, "later", probe)
    answer = node.admin.put("/register", json=node.admin.get("/services/later").json())
    assert answer.status_code == 400
    assert "the value of Authorization is hidden in answers: give it again" in answer.json()["message"]


def test_a_refused_id_does_not_tell_strangers_whose_it_is(node: Guarded, shop: httpx.Client) -> None:
    check = {"id": "db-ttl", "ttl": "1h"}
    told = "check validation failed: check id db-ttl belongs to"
    for client, owner in ((shop, "another"), (node.admin, "service db db")):
        for answer in (
            client.put("/register", json=body_of("shop", check)),
            client.post("/health/check", json=check | {"service": "shop"}),
        ):
            assert (answer.status_code, answer.json()["message"]) == (400, f"{told} {owner}")


def test_an_alias_is_for_those_who_may_read_what_it_stands_for(node: Guarded, shop: httpx.Client) -> None:
    register(shop, "shop-own")
    shop.post("/health/check", json={"service": "shop", "id": "mine", "ttl": "1h"}).raise_for_status()
    cases = [
        ({"alias_service": "db"}, 403),
        ({"alias_node": "vault"}, 403),
        ({"alias_service": "shop-own"}, 200),
    ]
    for members, status in cases:
        alias = members | {"id": "shop-alias", "interval": "1h"}
        batch = {"services": [body_of("shop", alias)]}
        assert shop.put("/register", json=body_of("shop", alias)).status_code == status, members
        assert shop.post("/batch/services/register", json=batch).status_code == status, members
        assert shop.post("/health/check", json=alias | {"service": "shop"}).status_code == status, members
        assert shop.put("/health/check/mine/definition", json=members).status_code == status, members


def test_a_refused_change_does_not_tell_strangers_whose_check_it_is(
    node: Guarded, shop: httpx.Client
) -> None:
    for method, path in (
        ("DELETE", "/health/check/db-ttl"),
        ("PUT", "/health/check/db-ttl/pass"),
        ("PUT", "/health/check/db-ttl/definition"),
    ):
        refusals = []
        for at in (path, path.replace("db-ttl", "none")):
            answer = shop.request(method, at, json={})
            assert answer.status_code == 403
            refusals.append(
                {name: answer.json().get(name) for name in ("message", "resource", "capability", "path")}
            )
        assert refusals[0] == refusals[1], "as of one that is not there"
    assert node.admin.get("/health/check/db-ttl").json()["status"] == "critical"
