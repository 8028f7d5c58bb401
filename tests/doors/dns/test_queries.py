"""Prepared queries in DNS: by name, template and id, with their TTL, and never kept too long."""

from __future__ import annotations

from typing import Any

import dns.rcode
import pytest

from tests.doors.dns.asking import Asker


def make(asker: Asker, document: dict[str, Any]) -> str:
    answer = asker.http.post("/query", json=document)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def shop(asker: Asker, space: str) -> str:
    """A service of two instances."""
    asker.register(
        space, id="one", address="10.1.0.1", port=1, tags=["v1"], zone=f"{space}-a", meta={"weight": "7"}
    )
    asker.register(space, id="two", address="10.1.0.2", port=2, tags=["v2"], zone=f"{space}-b")
    return space


def test_a_query_is_asked_by_name_whatever_its_case(asker: Asker, shop: str) -> None:
    id = make(asker, {"name": f"{shop}.Q", "service": {"service": shop}, "dns": {"ttl": "7s"}})
    for name in (f"{shop}.q.query.consul", f"{shop.upper()}.Q.QUERY.consul", f"{id}.query.consul"):
        answer = asker.ask(name)
        assert sorted(one.to_text() for one in answer.answer[0]) == ["10.1.0.1", "10.1.0.2"]
        assert answer.answer[0].ttl == 7
    found = asker.texts(f"{shop}.q.query.consul", "SRV")
    assert [one.split()[:3] for one in found] == [["1", "1", "2"], ["1", "7", "1"]]
    assert asker.texts(f"{shop}.q.query.consul", "AAAA") == []
    assert asker.ask(f"{shop}.q.query.consul", "AAAA").rcode() == dns.rcode.NOERROR
    assert asker.ask(f"{shop}.x.query.consul").rcode() == dns.rcode.NXDOMAIN


def test_what_is_answered_follows_every_change(asker: Asker, shop: str) -> None:
    name = f"{shop}-q.query.consul"
    assert asker.ask(name).rcode() == dns.rcode.NXDOMAIN
    id = make(asker, {"name": f"{shop}-q", "service": {"service": shop, "tags": ["v1"]}})
    for _ in range(3):
        assert asker.texts(name) == ["10.1.0.1"]
    asker.register(shop, id="three", address="10.1.0.3", tags=["v1"])
    assert asker.texts(name) == ["10.1.0.1", "10.1.0.3"]
    changed = {"name": f"{shop}-q", "service": {"service": shop, "tags": ["!v1"]}}
    assert asker.http.put(f"/query/{id}", json=changed).status_code == 200
    assert asker.texts(name) == ["10.1.0.2"]
    assert asker.http.delete(f"/deregister/{shop}?id=two").status_code == 200
    answer = asker.ask(name)
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
    assert asker.http.delete(f"/query/{id}").status_code == 200
    assert asker.ask(name).rcode() == dns.rcode.NXDOMAIN


def test_a_template_answers_and_the_nearest_come_first(asker: Asker, shop: str) -> None:
    make(
        asker,
        {
            "name": f"{shop}-near-",
            "template": {"type": "name_prefix_match"},
            "service": {"service": shop, "near": f"{shop}-${{name.suffix}}"},
        },
    )
    found = asker.texts(f"{shop}-near-b.query.consul", "SRV")
    assert [one.split()[0] + one.split()[2] for one in found] == ["22", "31"]
    assert [one.split()[0] + one.split()[2] for one in asker.texts(f"{shop}-near-a.query.consul", "SRV")] == [
        "21",
        "32",
    ]


def test_a_limit_holds(asker: Asker, shop: str) -> None:
    make(asker, {"name": f"{shop}-one", "service": {"service": shop}, "limit": 1})
    seen = {tuple(asker.texts(f"{shop}-one.query.consul")) for _ in range(40)}
    assert seen <= {("10.1.0.1",), ("10.1.0.2",)}
