"""Messages: sizes, spelling, flags, and what is answered to those that are no proper question."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest
from dns.rcode import BADVERS, FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED

from tests.doors.dns.asking import ANSWER_S, Asker, question

BIG = 60
"""Instances whose SRV records do not fit into any datagram."""


@pytest.fixture(scope="module")
def big(asker: Asker) -> str:
    """A service with many instances."""
    for number in range(BIG):
        asker.register("big", id=f"big-{number}", address=f"10.4.0.{number}", port=1_000 + number)
    return "big.service.consul"


def test_without_edns_an_answer_has_at_most_512_bytes(asker: Asker, big: str) -> None:
    reply = asker.raw(question(big, "SRV", size=None).to_wire())
    assert reply is not None
    found = dns.message.from_wire(reply)
    assert len(reply) <= 512
    assert found.flags & dns.flags.TC
    assert found.edns == -1
    assert 0 < len(found.answer[0]) < BIG
    whole = asker.ask(big, "SRV", size=None, tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == BIG
    assert len(whole.additional) == BIG


@pytest.mark.parametrize(
    ("said", "most"), [(0, 512), (512, 512), (900, 900), (1_232, 1_232), (65_535, 1_232)]
)
def test_what_the_client_takes_is_filled_up_to_the_limit(
    asker: Asker, big: str, said: int, most: int
) -> None:
    reply = asker.raw(question(big, "SRV", size=said).to_wire())
    assert reply is not None
    found = dns.message.from_wire(reply)
    assert most - 40 < len(reply) <= most
    assert found.flags & dns.flags.TC
    assert (found.edns, found.payload) == (0, 1_232)


def test_additional_records_are_left_out_before_answers(asker: Asker, space: str) -> None:
    for number in range(20):
        asker.register(space, id=f"i{number}", address=f"10.5.0.{number}", port=80)
    found = asker.ask(f"{space}.service.consul", "SRV", size=1_232)
    assert not found.flags & dns.flags.TC
    assert len(found.answer[0]) == 20
    assert len(found.additional) < 20
    targets = {str(one.target) for one in found.answer[0]}
    assert {str(extra.name) for extra in found.additional} <= targets


def test_who_retries_over_tcp_gets_all(asker: Asker, big: str) -> None:
    found, was_tcp = dns.query.udp_with_fallback(question(big), "127.0.0.1", ANSWER_S, asker.port)
    assert len(found.answer[0]) == BIG
    assert not was_tcp
    found, was_tcp = dns.query.udp_with_fallback(question(big, "SRV"), "127.0.0.1", ANSWER_S, asker.port)
    assert len(found.answer[0]) == BIG
    assert was_tcp


def test_all_of_a_large_service_are_told_in_turn(asker: Asker, big: str) -> None:
    seen = set()
    for _ in range(200):
        seen |= {one.port for one in asker.ask(big, "SRV").answer[0]}
    assert len(seen) == BIG


def test_the_spelling_of_the_question_comes_back(asker: Asker, space: str) -> None:
    asker.register(space)
    for name in (f"{space}.SERVICE.consul.", f"{space.upper()}.sErViCe.CoNsUl."):
        for kind in ("A", "SRV", "TXT"):
            found = asker.ask(name, kind)
            assert str(found.question[0].name) == name
            assert found.rcode() == NOERROR
        assert str(asker.ask(name).answer[0].name) == name
        # What is compressed is spelled as the question too.
        zone = name.split(".")[2]
        assert str(asker.ask(name, "TXT").authority[0].name) == f"{zone}."


def test_recursion_is_echoed_and_not_offered(asker: Asker) -> None:
    query = question("consul", "SOA")
    for flags, kept in (
        (dns.flags.RD, dns.flags.RD),
        (0, 0),
        (dns.flags.CD, dns.flags.CD),
        (dns.flags.AD, 0),
    ):
        query.flags = dns.flags.Flag(flags)
        found = dns.query.udp(query, "127.0.0.1", ANSWER_S, asker.port)
        assert found.flags == dns.flags.QR | dns.flags.AA | kept


def test_nothing_of_that_type_is_no_missing_name(asker: Asker, space: str) -> None:
    asker.register(space)
    for name, kind, code in (
        (f"{space}.service.consul", "AAAA", NOERROR),
        (f"{space}.service.consul", "MX", NOERROR),
        (f"{space}.service.consul", "TYPE65", NOERROR),
        ("service.consul", "A", NOERROR),
        ("service.dc1.consul", "A", NOERROR),
        ("dc1.consul", "A", NOERROR),
        (f"{space}x.service.consul", "A", NXDOMAIN),
        ("nothing.consul", "A", NXDOMAIN),
        ("a.b.c.d.nothing.consul", "SRV", NXDOMAIN),
        ("\\229.service.consul", "A", NXDOMAIN),
    ):
        for _ in range(2):
            found = asker.ask(name, kind)
            assert (found.rcode(), found.answer) == (code, []), name
            (soa,) = found.authority
            assert (str(soa.name), soa.ttl, soa[0].minimum) == ("consul.", 5, 5)


def test_a_type_that_differs_by_a_bit_is_another_question(asker: Asker, space: str) -> None:
    # 0x41 and 0x61 would be one if the whole question were put into lower case.
    asker.register(space)
    plain = asker.ask(f"{space}.service.consul", "TYPE65")
    other = asker.ask(f"{space}.service.consul", "TYPE97")
    assert (plain.question[0].rdtype, other.question[0].rdtype) == (65, 97)


def test_any_is_answered_by_one_small_record(asker: Asker, space: str) -> None:
    asker.register(space)
    found = asker.ask(f"{space}.service.consul", "ANY")
    assert [records.to_text().split(" ", 4)[-1] for records in found.answer] == ['"RFC8482" ""']
    assert asker.ask(f"{space}no.service.consul", "ANY").rcode() == NXDOMAIN


@pytest.mark.parametrize("kind", ["AXFR", "IXFR", "MAILB", "TKEY", "TSIG"])
def test_what_is_no_lookup_is_refused(asker: Asker, kind: str) -> None:
    reply = asker.raw(_packed("consul", dns.rdatatype.from_text(kind)))
    assert reply is not None
    assert reply[3] & 0xF == REFUSED


def _packed(
    name: str, kind: int, *, group: int = 1, flags: int = 0x0100, counts: tuple[int, ...] = (1, 0, 0, 0)
) -> bytes:
    wire = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 0x1234, flags, *counts) + wire + b"\0" + struct.pack("!HH", kind, group)


def test_other_classes_zones_and_operations_are_turned_away(asker: Asker) -> None:
    for message, code in (
        (_packed("consul", 6, group=3), REFUSED),
        (_packed("version.bind", 16, group=3), REFUSED),
        (_packed("example.com", 1), REFUSED),
        (_packed("notconsul", 1), REFUSED),
        (_packed("consul", 6, flags=0x2800), NOTIMP),
        (_packed("consul", 6, flags=0x2000), NOTIMP),
        (_packed("consul", 6, counts=(0, 0, 0, 0)), FORMERR),
        (_packed("consul", 6, counts=(2, 0, 0, 0)) + _packed("consul", 6)[12:], FORMERR),
        (_packed("consul", 6, counts=(1, 1, 0, 0)), FORMERR),
        (_packed("consul", 6) + b"more", FORMERR),
        (_packed("consul", 41), FORMERR),
        (_packed("consul", 6)[:-1], FORMERR),
        (_packed("consul", 6)[:12] + b"\xc0\x0c\x00\x06\x00\x01", FORMERR),
        (_packed("consul", 6)[:12] + b"\x41" * 300, FORMERR),
        (_packed("consul", 6)[:12] + b"\x01a" * 130 + b"\0\0\1\0\1", FORMERR),
    ):
        reply = asker.raw(message)
        assert reply is not None
        assert (reply[:2], reply[2] >> 7, reply[3] & 0xF) == (b"\x12\x34", 1, code), message
        assert len(reply) <= len(message) + 11


def test_a_later_version_of_edns_is_told_which_is_spoken(asker: Asker) -> None:
    query = question("consul", "SOA")
    query.use_edns(edns=1, payload=1_232)
    found = dns.query.udp(query, "127.0.0.1", ANSWER_S, asker.port)
    assert (found.rcode(), found.edns, found.answer) == (BADVERS, 0, [])


def test_options_of_edns_are_not_answered(asker: Asker) -> None:
    for kind, content in ((dns.edns.OptionType.NSID, b""), (dns.edns.OptionType.COOKIE, b"8 bytes.")):
        query, option = question("consul", "SOA"), dns.edns.GenericOption(kind, content)
        query.use_edns(edns=0, ednsflags=dns.flags.DO, payload=1_232, options=[option])
        found = dns.query.udp(query, "127.0.0.1", ANSWER_S, asker.port)
        assert (found.rcode(), list(found.options), found.ednsflags) == (NOERROR, [], 0)


def test_two_opt_records_or_one_with_a_name_are_an_error(asker: Asker) -> None:
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    one = _packed("consul", 6, counts=(1, 0, 0, 1))
    two = _packed("consul", 6, counts=(1, 0, 0, 2))
    named = b"\x01a\0" + opt[1:]
    for message, code in ((one + opt, NOERROR), (two + opt + opt, FORMERR), (one + named, FORMERR)):
        reply = asker.raw(message)
        assert reply is not None
        assert reply[3] & 0xF == code


@pytest.mark.parametrize(
    "message", [b"", b"x", b"\x12\x34\x01\x00\x00\x01", _packed("consul", 6, flags=0x8180)]
)
def test_what_is_no_question_gets_no_answer(asker: Asker, message: bytes) -> None:
    assert asker.is_silent(message)
