"""Every kind of name, every type of record."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest
from dns.rcode import NOERROR, NXDOMAIN

from tests.doors.dns.asking import Asker
from tests.waiting import until


def test_a_service_has_the_addresses_of_its_instances(asker: Asker, space: str) -> None:
    asker.register(space, id="one", address="10.1.0.1")
    asker.register(space, id="two", address="10.1.0.2")
    asker.register(space, id="six", address="fd00::6")
    assert asker.texts(f"{space}.service.consul") == ["10.1.0.1", "10.1.0.2"]
    assert asker.texts(f"{space}.service.consul", "AAAA") == ["fd00::6"]


def test_two_instances_at_one_address_are_one_record_and_two_services(asker: Asker, space: str) -> None:
    asker.register(space, id="one", port=1)
    asker.register(space, id="two", port=2)
    assert asker.texts(f"{space}.service.consul") == ["10.0.0.1"]
    found = asker.ask(f"{space}.service.consul", "SRV")
    assert sorted(one.port for one in found.answer[0]) == [1, 2]
    assert len(found.additional) == 1


def test_services_come_with_the_addresses_of_their_targets(asker: Asker, space: str) -> None:
    asker.register(space, id="four", address="10.1.0.1", port=81, meta={"weight": "7"})
    asker.register(space, id="six", address="fd00::6", port=82)
    found = asker.ask(f"{space}.service.consul", "SRV")
    records = {one.port: one for one in found.answer[0]}
    assert (records[81].priority, records[81].weight) == (1, 7)
    assert records[82].weight == 1
    glue = {str(extra.name): extra[0].to_text() for extra in found.additional}
    assert glue[str(records[81].target)] == "10.1.0.1"
    assert glue[str(records[82].target)] == "fd00::6"
    for target, address in glue.items():
        kind = "AAAA" if ":" in address else "A"
        assert asker.texts(target, kind) == [address]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_name_of_rfc_2782_needs_no_tag(asker: Asker, space: str, protocol: str) -> None:
    asker.register(space, port=4711)
    found = asker.ask(f"_{space}._{protocol}.service.consul", "SRV")
    assert [one.port for one in found.answer[0]] == [4711]


def test_a_tag_stands_before_the_name_or_behind_it(asker: Asker, space: str) -> None:
    asker.register(space, id="one", address="10.1.0.1", tags=["primary", "v1.2"])
    asker.register(space, id="two", address="10.1.0.2", tags=["Replica"])
    assert asker.texts(f"primary.{space}.service.consul") == ["10.1.0.1"]
    assert asker.texts(f"v1.2.{space}.service.consul") == ["10.1.0.1"]
    assert asker.texts(f"replica.{space}.service.consul") == ["10.1.0.2"]
    found = asker.ask(f"_{space}._primary.service.consul", "SRV")
    assert len(found.answer[0]) == 1
    assert asker.ask(f"none.{space}.service.consul").rcode() == NXDOMAIN


def test_a_service_whose_name_has_dots_is_found(asker: Asker, space: str) -> None:
    asker.register(f"api.{space}", address="10.1.0.9")
    assert asker.texts(f"api.{space}.service.consul") == ["10.1.0.9"]


def test_capitals_make_no_difference(asker: Asker, space: str) -> None:
    name = f"{space}-Web"
    asker.register(name, address="10.1.0.1")
    until(lambda: asker.texts(f"{name.upper()}.SERVICE.Consul") == ["10.1.0.1"], "the name to be known")
    assert asker.texts(f"{name.lower()}.service.consul") == ["10.1.0.1"]


def test_this_datacentre_may_be_named_and_no_other(asker: Asker, space: str) -> None:
    asker.register(space)
    assert asker.texts(f"{space}.service.dc1.consul") == ["10.0.0.1"]
    assert asker.ask(f"{space}.service.dc2.consul").rcode() == NXDOMAIN


def test_metadata_is_told_as_text(asker: Asker, space: str) -> None:
    asker.register(space, id="one", meta={"version": "1.2", "team": 'a "b" c'})
    asker.register(space, id="two", meta={"long": "x" * 400, "short": "y"})
    assert asker.texts(f"{space}.service.consul", "TXT") == [
        '"short=y"',
        r'"team=a \"b\" c" "version=1.2"',
    ]


def test_a_host_name_is_an_alias_and_the_target_of_a_service(asker: Asker, space: str) -> None:
    asker.register(space, address="db.example.com", port=5432)
    for kind in ("A", "AAAA", "CNAME"):
        (records,) = asker.ask(f"{space}.service.consul", kind).answer
        assert records[0].to_text() == "db.example.com."
    found = asker.ask(f"{space}.service.consul", "SRV")
    assert found.answer[0][0].to_text() == "1 1 5432 db.example.com."
    assert not found.additional


def test_beside_addresses_there_is_no_alias(asker: Asker, space: str) -> None:
    asker.register(space, id="host", address="db.example.com")
    asker.register(space, id="number", address="10.1.0.1")
    assert asker.texts(f"{space}.service.consul") == ["10.1.0.1"]
    assert asker.ask(f"{space}.service.consul", "CNAME").answer[0][0].to_text() == "db.example.com."
    assert len(asker.ask(f"{space}.service.consul", "SRV").answer[0]) == 2


def test_a_node_has_an_address_and_metadata(asker: Asker, space: str) -> None:
    body = {"address": "10.2.0.1", "meta": {"rack": "7"}}
    assert asker.http.put(f"/nodes/{space}", json=body).status_code == 200
    assert asker.texts(f"{space}.node.consul") == ["10.2.0.1"]
    assert asker.texts(f"{space}.node.dc1.consul", "TXT") == ['"rack=7"']
    assert asker.ask(f"{space}.node.consul", "AAAA").rcode() == NOERROR


def test_a_service_on_its_nodes_address_points_at_the_node(asker: Asker, space: str) -> None:
    node = f"n-{space}"
    assert asker.http.put(f"/nodes/{node}", json={"address": "10.2.0.2"}).status_code == 200
    asker.register(space, id="same", address="10.2.0.2", port=1, node=node)
    asker.register(space, id="other", address="10.2.0.3", port=2, node=node)
    found = asker.ask(f"{space}.service.consul", "SRV")
    targets = {one.port: str(one.target) for one in found.answer[0]}
    assert targets == {1: f"{node}.node.dc1.consul.", 2: "0a020003.addr.dc1.consul."}
    # The node moves: what was answered of it before is not answered any more.
    assert asker.http.put(f"/nodes/{node}", json={"address": "10.2.0.3"}).status_code == 200
    found = asker.ask(f"{space}.service.consul", "SRV")
    targets = {one.port: str(one.target) for one in found.answer[0]}
    assert targets == {1: "0a020002.addr.dc1.consul.", 2: f"{node}.node.dc1.consul."}


def test_below_node_a_service_is_found_too(asker: Asker, space: str) -> None:
    asker.register(space, address="10.2.0.9")
    assert asker.texts(f"{space}.node.consul") == ["10.2.0.9"]


@pytest.mark.parametrize(
    ("digits", "kind", "address"),
    [
        ("0a000001", "A", "10.0.0.1"),
        ("FFFFFFFF", "A", "255.255.255.255"),
        ("fd00000000000000000000000000000b", "AAAA", "fd00::b"),
    ],
)
def test_an_address_in_digits_is_that_address(asker: Asker, digits: str, kind: str, address: str) -> None:
    assert asker.texts(f"{digits}.addr.consul", kind) == [address]
    other = asker.ask(f"{digits}.addr.dc1.consul", "A" if kind == "AAAA" else "AAAA")
    assert (other.rcode(), other.answer) == (NOERROR, [])


@pytest.mark.parametrize("label", ["0a00000", "0a0000zz", "0a0000010", "x.0a000001", "%20000001"])
def test_other_digits_are_no_address(asker: Asker, label: str) -> None:
    assert asker.ask(f"{label}.addr.consul").rcode() == NXDOMAIN


def test_an_address_leads_back_to_who_has_it(asker: Asker, space: str) -> None:
    asker.register(space, address="10.99.1.2")
    asker.register(f"{space}-six", address="fd00:99::2")
    node = f"n-{space}"
    assert asker.http.put(f"/nodes/{node}", json={"address": "10.99.1.3"}).status_code == 200

    def named(address: str) -> list[str]:
        return asker.texts(ipaddress.ip_address(address).reverse_pointer, "PTR")

    until(lambda: named("10.99.1.2") == [f"{space}.service.dc1.consul."], "the address to be known")
    until(lambda: named("fd00:99::2") == [f"{space}-six.service.dc1.consul."], "that of IPv6")
    until(lambda: named("10.99.1.3") == [f"{node}.node.dc1.consul."], "that of the node")
    assert asker.ask("9.9.9.9.in-addr.arpa", "PTR").rcode() == NXDOMAIN
    for nonsense in ("9.9.9.in-addr.arpa", "300.9.9.9.in-addr.arpa", "x.ip6.arpa"):
        assert asker.ask(nonsense, "PTR").rcode() == NXDOMAIN


def test_the_zone_says_who_serves_it_and_since_when(asker: Asker, space: str) -> None:
    (servers,) = asker.ask("consul", "NS").answer
    assert servers[0].to_text() == "ns.consul."
    assert asker.texts("ns.consul") == ["127.0.0.1"]
    before = asker.ask("consul", "SOA").answer[0][0]
    asker.register(space)
    after = asker.ask("consul", "SOA").answer[0][0]
    assert after.serial > before.serial
    assert (str(after.mname), str(after.rname), after.minimum) == ("ns.consul.", "hostmaster.consul.", 5)
    assert asker.ask("consul", "A").rcode() == NOERROR


def test_answers_come_in_every_order(asker: Asker, space: str) -> None:
    addresses = [f"10.3.0.{number}" for number in range(1, 6)]
    for address in addresses:
        asker.register(space, id=f"i{address[-1]}", address=address)
    orders = [
        tuple(one.to_text() for one in asker.ask(f"{space}.service.consul").answer[0]) for _ in range(400)
    ]
    assert all(sorted(order) == addresses for order in orders)
    assert len(set(orders)) > 5
    # Ready answers start at every record in turn, so that nobody is first more often than others.
    first = Counter(order[0] for order in orders)
    assert set(first) == set(addresses)
    assert max(first.values()) < 2 * min(first.values())


def test_how_long_an_answer_is_kept_is_the_services_word(asker: Asker, space: str) -> None:
    asker.register(f"{space}-plain")
    asker.register(f"{space}-own", id="one", meta={"dns_ttl": "5m"})
    asker.register(f"{space}-own", id="two", meta={"dns_ttl": "10s"})
    asker.register(f"{space}-never", meta={"dns_ttl": "0"})
    asker.register(f"{space}-odd", meta={"dns_ttl": "soon"})
    for name, ttl in (("plain", 30), ("own", 10), ("never", 0), ("odd", 30)):
        assert asker.ask(f"{space}-{name}.service.consul").answer[0].ttl == ttl
