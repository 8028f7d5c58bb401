"""`konsulctl dns`: the names it shows, and what it is told when it asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.console import Console
from tests.doors.dns.asking import Asker, asking


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    with asking(tmp_path_factory.mktemp("dns"), KONSUL_DNS_DOMAIN="names.example") as found:
        found.register("web", id="one", address="10.1.0.1", port=81)
        found.register("web", id="two", address="10.1.0.2", port=82)
        for number in range(60):
            found.register("big", id=f"b{number}", address=f"10.2.0.{number}", port=80)
        yield found


def test_names_are_shown_without_asking(console: Console) -> None:
    assert console.ok("dns", "srv", "web").text.splitlines() == [
        "DNS query for localhost:8600",
        "SRV Record: _web._tcp.service.consul",
        "dig @localhost -p 8600 _web._tcp.service.consul SRV",
    ]
    said = console.ok("dns", "a", "web", "--server", "10.0.0.1", "-port", "53", "--domain", "dc.example.")
    assert said.text.splitlines() == [
        "DNS query for 10.0.0.1:53",
        "A Record: web.service.dc.example",
        "dig @10.0.0.1 -p 53 web.service.dc.example A",
    ]
    assert console.ok("dns", "a", "web", "--output", "json").json()["name"] == "web.service.consul"


def test_another_type_is_not_known(console: Console) -> None:
    said = console("dns", "mx", "web")
    assert (said.code, said.errors) == (1, "Unknown DNS query type: mx\n")


def test_asked_it_shows_what_is_answered(console: Console, asker: Asker) -> None:
    there = ("--server", "127.0.0.1", "--port", str(asker.port))
    said = console.ok("dns", "srv", "web", "--query", "--domain", "names.example", *there)
    assert sorted(said.text.splitlines()) == [
        "0a010001.addr.dc1.names.example. 30 A 10.1.0.1",
        "0a010002.addr.dc1.names.example. 30 A 10.1.0.2",
        "_web._tcp.service.names.example. 30 SRV 1 1 81 0a010001.addr.dc1.names.example.",
        "_web._tcp.service.names.example. 30 SRV 1 1 82 0a010002.addr.dc1.names.example.",
    ]
    found = console.ok("dns", "lookup", "web.service.names.example", "--output", "json", *there).json()
    assert sorted(one["data"] for one in found["answers"]) == ["10.1.0.1", "10.1.0.2"]
    said = console.ok("dns", "lookup", "names.example", "soa", "--tcp", *there)
    assert "ns.names.example. hostmaster.names.example." in said.text
    assert (
        len(console.ok("dns", "lookup", "big.service.names.example", "SRV", *there).text.splitlines()) == 120
    )
    for words in (("10.1.0.1", "PTR"), ("10.1.0.1",)):
        assert "web.service.dc1.names.example." in console.ok("dns", "lookup", *words, *there).text


def test_what_is_not_there_or_not_told_has_an_exit_status(console: Console, asker: Asker) -> None:
    there = ("--server", "127.0.0.1", "--port", str(asker.port))
    for words, code, why in (
        (("no.service.names.example",), 3, "there is no no.service.names.example."),
        (("web.service.names.example", "AAAA"), 3, "has no AAAA record"),
        (("www.example.com",), 1, "refuses"),
        (("web.service.names.example", "NOTYPE"), 2, "cannot be asked"),
        (("x" * 70 + ".names.example",), 2, "cannot be asked"),
        (("not an address", "PTR"), 2, "cannot be asked"),
    ):
        said = console("dns", "lookup", *words, *there)
        assert said.code == code, said
        assert why in said.errors
    silent = console("dns", "lookup", "web.service.consul", "--server", "127.0.0.1", "--port", "1", "--tcp")
    assert silent.code == 5
    assert "127.0.0.1:1 cannot be asked" in silent.errors
