"""Prepared queries and searches while rules bind: names, what is found, what pages tell."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import pytest

from tests.doors.guarded import Guarded, guarded

SERVICES = ("api", "db", "web")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("queries")) as found:
        for name in SERVICES:
            body = {"name": name, "address": "10.0.0.1", "port": 80, "ttl": "0"}
            found.admin.put("/register", json=body).raise_for_status()
        for name, service in (("shop-db", "db"), ("shop-web", "web"), ("other", "web")):
            document = {"name": name, "service": {"service": service}}
            found.admin.post("/query", json=document).raise_for_status()
        template = {"type": "name_prefix_match"}
        document = {"name": "any-", "template": template, "service": {"service": "${name.suffix}"}}
        found.admin.post("/query", json=document).raise_for_status()
        found.policy(
            "shopper",
            query=[
                {"name": "shop-*", "capabilities": ["read", "write"]},
                {"name": "any-web", "capabilities": ["read"]},
            ],
            service=[{"name": "web", "capabilities": ["read"]}],
        )
        found.policy("none", service=[{"name": "elsewhere", "capabilities": ["read"]}])
        yield found


@pytest.fixture(scope="module")
def shopper(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("shopper", "shopper") as client:
        yield client


@pytest.fixture(scope="module")
def stranger(node: Guarded) -> Iterator[httpx.Client]:
    with node.user("stranger", "none") as client:
        yield client


def names(client: httpx.Client, path: str) -> list[str]:
    answer = client.get(path).raise_for_status()
    return [one["name"] for one in answer.json()["instances"]]


def test_a_name_is_what_rules_are_about(node: Guarded, shopper: httpx.Client, stranger: httpx.Client) -> None:
    assert names(shopper, "/query/shop-web/execute") == ["web"]
    assert shopper.get("/query/shop-web/explain").status_code == 200
    assert shopper.get("/query/other/execute").status_code == 403
    assert stranger.get("/query/shop-web/execute").status_code == 403
    # Also by its id, and also where there is none.
    id = node.admin.get("/query/other").json()["id"]
    assert shopper.get(f"/query/{id}").status_code == 403
    assert shopper.get("/query/nothing").status_code == 403
    assert shopper.get("/query/shop-nothing").status_code == 404
    id = node.admin.get("/query/shop-web").json()["id"]
    assert shopper.get(f"/query/{id}").status_code == 200


def test_a_query_finds_only_services_that_its_caller_may_read(node: Guarded, shopper: httpx.Client) -> None:
    assert names(node.admin, "/query/shop-db/execute") == ["db"]
    assert names(shopper, "/query/shop-db/execute") == []


def test_a_template_is_asked_for_by_the_whole_name(shopper: httpx.Client) -> None:
    assert names(shopper, "/query/any-web/execute") == ["web"]
    assert shopper.get("/query/any-db/execute").status_code == 403
    assert shopper.get("/query/any-").status_code == 403


def test_a_list_shows_what_may_be_seen(node: Guarded, shopper: httpx.Client, stranger: httpx.Client) -> None:
    node.admin.post("/query", json={"service": {"service": "web"}}).raise_for_status()
    assert [one.get("name") for one in shopper.get("/query").json()] == ["shop-db", "shop-web"]
    assert None in [one.get("name") for one in node.admin.get("/query").json()]
    assert stranger.get("/query").status_code == 403


def test_a_name_is_changed_only_by_who_may_write_both(node: Guarded, shopper: httpx.Client) -> None:
    document = {"name": "shop-mine", "service": {"service": "web"}}
    assert shopper.post("/query", json=document).status_code == 201
    assert shopper.put("/query/shop-mine", json=document | {"name": "mine"}).status_code == 403
    assert shopper.put("/query/other", json=document | {"name": "shop-other"}).status_code == 403
    assert shopper.put("/query/shop-mine", json=document | {"name": "shop-yours"}).status_code == 200
    assert shopper.post("/query", json={"service": {"service": "web"}}).status_code == 403
    assert shopper.delete("/query/other").status_code == 403
    assert shopper.delete("/query/shop-yours").status_code == 200
    assert node.admin.get("/query/other").status_code == 200


def test_a_page_ends_at_a_name_that_its_reader_sees(node: Guarded) -> None:
    for number in range(30):
        for name in (f"page-{number:02}-hidden", f"page-{number:02}-shown"):
            body = {"name": name, "address": "10.0.0.1", "port": 80, "ttl": "0"}
            node.admin.put("/register", json=body).raise_for_status()
    node.policy("pager", service=[{"name": "page-*-shown", "capabilities": ["read"]}])
    with node.user("pager", "pager") as pager:
        found: list[str] = []
        after: str | None = None
        while True:
            params = {"filter": "Port == 80", "limit": "7"} | ({"after": after} if after else {})
            page = pager.get("/services", params=params).raise_for_status()
            found += [one["name"] for one in page.json()]
            after = page.headers.get("x-konsul-next-after")
            if after is None:
                break
            assert b"shown" in base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
            assert b"hidden" not in base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
        assert found == [f"page-{number:02}-shown" for number in range(30)]
        every = pager.get("/services", params={"sort": "port", "order": "desc"}).raise_for_status().json()
        assert len(every) == 30
