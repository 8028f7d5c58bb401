"""Requests that two servers could read in two ways: each is refused or read once, and never as two.

What is smuggled is always a read of the guarded key by nobody, behind a request that is allowed: if it were
answered, the answer would be counted here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.guarded import CROWN, Guarded, Login, leaks
from tests.security.wire import head, lines, replies, said, statuses

HIDDEN = f"GET /kv/{CROWN} HTTP/1.1\r\nHost: k\r\n\r\n".encode()
PUT = "PUT"
OPEN = "/kv/open/smuggled?raw"


def sent(guarded: Guarded, who: Login, *framing: str | bytes, body: bytes = b"") -> list[int]:
    """The statuses of everything answered to one PUT with this framing and these bytes behind it."""
    raw = said(guarded.port, head(PUT, OPEN, *lines(who.headers), *framing) + body)
    assert not leaks(raw)
    return [reply.status for reply in replies(raw)]


CHUNKED_HIDDEN = b"0\r\n\r\n" + HIDDEN


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Content-Length: 5", "Transfer-Encoding: xchunked"),
        ("Content-Length: 5", "Transfer-Encoding: identity"),
        ("Content-Length: 5", "Transfer-Encoding : chunked"),
        ("Content-Length: 5", "Transfer-Encoding:\tchunked"),
        ("Content-Length: 5", "Transfer-Encoding: chunked, identity"),
        ("Content-Length: 5", "Transfer-Encoding: identity, chunked"),
        ("Content-Length: 5", "Transfer-Encoding: chunked", "Transfer-Encoding: x"),
        ("Content-Length: 5", "Transfer-Encoding: x", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Transfer-Encoding: CHUNKED"),
        ("Content-Length: 5", "Transfer-Encoding: chunk"),
        ("Content-Length: 5", b"Transfer-Encoding: chunked\x00"),
        ("Content-Length: 5", b"Transfer-Encoding: \x0bchunked"),
        ("Content-Length: 5", "Transfer-Encoding:", " chunked"),
        ("Content-Length: 5", "X: y\rTransfer-Encoding: chunked"),
        ("Content-Length: 5", "X: y\nTransfer-Encoding: chunked"),
    ],
    ids=range(17),
)
def test_a_length_and_an_encoding_at_once(
    guarded: Guarded, attacker: Login, framing: tuple[str | bytes, ...]
) -> None:
    """RFC 9112 section 6.1: refused, or read one way and then closed; the second request has the identity of
    nobody, so that an answer 200 or 403 to it would be a request of somebody."""
    found = sent(guarded, attacker, *framing, body=CHUNKED_HIDDEN)
    assert len(found) <= 2
    assert all(status in (200, 400, 401, 408, 411, 413, 501, 505) for status in found), found
    if len(found) == 2:
        assert found[1] in (400, 401), found


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: 5", "Content-Length: 0"),
        ("Content-Length: 0", "Content-Length: 5"),
        ("Content-Length: 0, 5",),
        ("Content-Length: 5, 5",),
        ("Content-Length: +5",),
        ("Content-Length: -5",),
        ("Content-Length: 0x5",),
        ("Content-Length: 5 5",),
        ("Content-Length: 5;",),
        ("Content-Length: five",),
        ("Content-Length: \u0665",),
        ("Content-Length:",),
        ("Content-Length : 5",),
        ("Content-Length: 99999999999999999999999999",),
        ("Content-Length: 18446744073709551621",),
    ],
    ids=range(15),
)
def test_lengths_that_are_not_one_number(guarded: Guarded, attacker: Login, framing: tuple[str, ...]) -> None:
    found = sent(guarded, attacker, *framing, body=b"hello" + HIDDEN)
    assert found in ([], [400], [413]), found


@pytest.mark.parametrize(
    "body",
    [
        b"5;ext=1\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
        b"5\nhello\n0\n\n" + HIDDEN,
        b"5\r\nhelloXX0\r\n\r\n" + HIDDEN,
        b"0x5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
        b"+5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
        b"-1\r\nhello\r\n0\r\n\r\n" + HIDDEN,
        b"5 \r\nhello\r\n0\r\n\r\n" + HIDDEN,
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n" + HIDDEN,
        b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n" + HIDDEN,
        b"5\r\nhello\r\n0\r\n" + b"T: x\r\n" * 20_000 + b"\r\n" + HIDDEN,
    ],
    ids=range(11),
)
def test_chunks_that_lie(guarded: Guarded, attacker: Login, body: bytes) -> None:
    found = sent(guarded, attacker, "Transfer-Encoding: chunked", body=body)
    assert all(status in (200, 400, 401, 413, 431) for status in found), found
    assert found[1:] in ([], [400], [401]), found


def test_a_field_folded_over_two_lines(guarded: Guarded, attacker: Login) -> None:
    """RFC 9112 section 5.2: a folded line is refused or read as one, never as a field of its own."""
    token = attacker.token
    for framing in (
        ("Authorization: Bearer", f" {token}"),
        ("Authorization:", f"\tBearer {token}"),
        ("X-A: b", f" Authorization: Bearer {token}"),
        (f" Authorization: Bearer {token}",),
    ):
        for status in statuses(guarded.port, head("GET", "/kv/open/door", "Connection: close", *framing)):
            assert status in (400, 401), (framing[0], status)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization ",
        "Authorization\t",
        "Authorization\x00",
        "Author ization",
        "Authorization\u00a0",
        "\u00c1uthorization",
        "(Authorization)",
    ],
)
def test_names_that_are_almost_the_fields(guarded: Guarded, attacker: Login, name: str) -> None:
    raw = head("GET", "/kv/open/door", "Connection: close", f"{name}: Bearer {attacker.token}")
    assert all(status in (400, 401) for status in statuses(guarded.port, raw))


def test_line_ends_within_a_value(guarded: Guarded, attacker: Login) -> None:
    for end in ("\r", "\n", "\x00", "\u2028"):
        smuggled = f"X-Request-ID: a{end}X-API-Key: {guarded.admin_key}"
        raw = said(
            guarded.port, head("GET", f"/kv/{CROWN}", *lines(attacker.headers), smuggled, "Connection: close")
        )
        # A bare line feed ends a line for lenient readers (RFC 9112, 2.2); two credentials are refused.
        assert not leaks(raw)
        for reply in replies(raw):
            assert reply.status in (400, 401, 403)
            assert b"\r\nX-API-Key" not in reply.head


def test_an_answer_has_no_header_of_the_clients_making(guarded: Guarded, attacker: Login) -> None:
    for text in ("a%0d%0aSet-Cookie:%20x=y", "a%0aSet-Cookie: x", "a\u560d\u560aSet-Cookie:x"):
        for target in (f"/kv/open/{text}", f"/no/{text}", f"/kv/open/door?x={text}"):
            raw = said(guarded.port, head("GET", target, *lines(attacker.headers), "Connection: close"))
            for reply in replies(raw):
                assert b"set-cookie" not in reply.head.lower()


def test_many_requests_at_once_have_each_their_own_identity(guarded: Guarded, attacker: Login) -> None:
    """Pipelined on one connection: the right of one is not the right of the next."""
    admin = head("GET", f"/kv/{CROWN}", *lines(guarded.admin))
    nobody, somebody = head("GET", f"/kv/{CROWN}"), head("GET", f"/kv/{CROWN}", *lines(attacker.headers))
    order = [admin, nobody, somebody, admin, somebody, nobody] * 20
    expected = {admin: 200, nobody: 401, somebody: 403}
    found = replies(said(guarded.port, b"".join(order)))
    assert [reply.status for reply in found] == [expected[one] for one in order]
    for one, reply in zip(order, found, strict=True):
        assert leaks(reply.body) is (one is admin)


def test_the_connection_of_an_admin_is_nobodys_afterwards(guarded: Guarded) -> None:
    put = head("PUT", "/kv/open/a?raw", *lines(guarded.admin), "Content-Length: 1") + b"x"
    found = replies(said(guarded.port, put + HIDDEN))
    assert [reply.status for reply in found] == [200, 401]


@pytest.mark.parametrize(
    "first",
    [
        b"GET http://a/kv/%b HTTP/1.1",
        b"GET //%b HTTP/1.1",
        b"GET /kv/%b HTTP/0.9",
        b"GET /kv/%b HTTP/2.0",
        b"GET /kv/%b HTTP/1.1 HTTP/1.1",
        b"GET  /kv/%b HTTP/1.1",
        b"GET\t/kv/%b\tHTTP/1.1",
        b"GET /kv/%b",
        b"\r\n\r\nGET /kv/%b HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 /kv/%b",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n/kv/%b",
    ],
    ids=range(11),
)
def test_first_lines_of_another_kind(guarded: Guarded, first: bytes) -> None:
    raw = said(guarded.port, first % CROWN.encode() + b"\r\nHost: k\r\nConnection: close\r\n\r\n")
    assert not leaks(raw)
    for reply in replies(raw):
        assert 400 <= reply.status < 500 or reply.status == 505


def test_other_hosts_and_none(guarded: Guarded, attacker: Login) -> None:
    for extra in ((), ("Host: elsewhere",), ("Host: a", "Host: b"), ("Host: k:99999",), ("Host: a b",)):
        raw = said(
            guarded.port,
            head("GET", f"/kv/{CROWN}", *extra, *lines(attacker.headers), "Connection: close", host=False),
        )
        assert not leaks(raw)
        for reply in replies(raw):
            assert reply.status in (400, 403)


def test_hop_by_hop_names_do_not_drop_a_credential(guarded: Guarded, attacker: Login) -> None:
    """`Connection: Authorization` is for proxies; here it neither removes the credential nor the guard."""
    (answer,) = replies(
        said(
            guarded.port,
            head(
                "GET",
                "/kv/open/door",
                "Connection: close, Authorization, X-API-Key",
                *lines(attacker.headers),
            ),
        )
    )
    assert answer.status == 200


SPOOFS = (
    ("X-Forwarded-For: 127.0.0.1",),
    ("X-Forwarded-For: 10.1.1.1",),
    ("X-Real-IP: 10.1.1.2",),
    ("Forwarded: for=10.1.1.3",),
    ("True-Client-IP: 10.1.1.4",),
    ("CF-Connecting-IP: 10.1.1.5",),
    ("X-Client-IP: 10.1.1.6",),
    ("X-Forwarded-For: 10.1.1.7, 10.1.1.8",),
    ("X-Forwarded-For: 10.1.1.9", "X-Forwarded-For: 10.1.1.10"),
)


def sources(server: Guarded, mark: str) -> set[str]:
    """The addresses that the audit trail has for this key."""
    return {
        event["source_ip"]
        for event in server.audited()
        if str(event.get("resource", {}).get("id", "")).endswith(mark) or mark in event.get("http_path", "")
    }


def audited_sources(server: Guarded, mark: str) -> set[str]:
    from tests.waiting import until

    until(lambda: sources(server, mark), f"the audit event of {mark}")
    return sources(server, mark)


def test_nobody_chooses_an_address_without_trusted_proxies(guarded: Guarded, attacker: Login) -> None:
    for number, spoof in enumerate(SPOOFS):
        path = f"/kv/open/spoof-{number}-end"
        statuses(guarded.port, head("GET", path, "Connection: close", *lines(attacker.headers), *spoof))
        assert audited_sources(guarded, f"spoof-{number}-end") == {"127.0.0.1"}, spoof


def test_a_trusted_proxy_is_believed_for_the_last_hop_only(tmp_path: Path) -> None:
    settings = {"KONSUL_TRUSTED_PROXIES": "127.0.0.0/8,10.0.0.0/8"}
    with Guarded(tmp_path / "proxied", settings) as server:
        server.furnish()
        who = server.login("attacker")
        for number, (spoof, seen) in enumerate(
            (
                (("X-Forwarded-For: 203.0.113.7",), "203.0.113.7"),
                (("X-Forwarded-For: 1.2.3.4, 203.0.113.7",), "203.0.113.7"),
                (("X-Forwarded-For: 1.2.3.4, 203.0.113.7, 10.0.0.2",), "203.0.113.7"),
                (("X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 203.0.113.7"), "203.0.113.7"),
                (("X-Forwarded-For: 2001:db8::7",), "2001:db8::7"),
                (("X-Real-IP: 203.0.113.9",), "127.0.0.1"),
                (("X-Forwarded-For: not-an-address",), "127.0.0.1"),
                (("X-Forwarded-For: ",), "127.0.0.1"),
                ((f"X-Forwarded-For: {'1.2.3.4,' * 200}203.0.113.7",), "203.0.113.7"),
            )
        ):
            path = f"/kv/open/hop-{number}-end"
            statuses(server.port, head("GET", path, "Connection: close", *lines(who.headers), *spoof))
            assert audited_sources(server, f"hop-{number}-end") == {seen}, spoof
        assert server.get(f"/kv/{CROWN}").status == 401
