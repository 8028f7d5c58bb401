"""Response rate limiting: who forges an address makes nobody a victim."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import dns.flags
import dns.message
import pytest

from tests.doors.dns.asking import Asker, asking, question

RATE = 2
SENT = 400


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A server that trusts nobody on this machine but 127.0.9.0/24."""
    settings = {"KONSUL_DNS_RRL_RESPONSES_PER_SEC": str(RATE), "KONSUL_DNS_RRL_EXEMPT": "127.0.9.0/24"}
    with asking(tmp_path_factory.mktemp("limited"), **settings) as found:
        yield found


def flood(asker: Asker, message: bytes, source: str, count: int = SENT) -> Counter[str]:
    """Sends the same question; what came back until a question that is not limited was answered."""
    seen: Counter[str] = Counter()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trusted,
    ):
        line.bind((source, 0))
        line.setblocking(False)
        trusted.bind(("127.0.9.9", 0))
        trusted.settimeout(30)
        after = question("consul", "NS").to_wire()
        for number in range(count):
            line.sendto(message, ("127.0.0.1", asker.port))
            if number % 50 == 49 or number == count - 1:
                # What was sent before this is answered before it.
                trusted.sendto(after, ("127.0.0.1", asker.port))
                trusted.recv(4_096)
                _count(line, seen, len(message))
    return seen


def _count(line: socket.socket, seen: Counter[str], sent: int) -> None:
    while True:
        try:
            reply = line.recv(4_096)
        except BlockingIOError:
            return
        found = dns.message.from_wire(reply)
        is_slip = bool(found.flags & dns.flags.TC) and not found.answer
        seen["slip" if is_slip else found.rcode().name] += 1
        assert not is_slip or len(reply) <= sent


def test_one_question_from_one_network_is_answered_so_often(limited: Asker) -> None:
    seen = flood(limited, question("consul", "SOA").to_wire(), "127.0.1.1")
    # However slow this machine is: one bucket, and what flows into it. Half of the rest is told to use TCP.
    assert RATE <= seen["NOERROR"] < SENT / 2
    assert abs(seen["slip"] - (SENT - seen["NOERROR"]) / 2) <= 1
    assert limited.metric('konsul_dns_rate_limited_total{action="drop"}') >= SENT / 4
    # Another address of that network shares its fate; TCP, where no address is forged, does not.
    assert flood(limited, question("consul", "SOA").to_wire(), "127.0.1.77", 4)["NOERROR"] < 4
    assert limited.ask("consul", "SOA", tcp=True).answer


def test_other_questions_and_other_networks_are_not_concerned(limited: Asker) -> None:
    flood(limited, question("consul", "SOA").to_wire(), "127.0.2.1")
    assert flood(limited, question("ns.consul", "A").to_wire(), "127.0.2.1", RATE)["NOERROR"] == RATE
    assert flood(limited, question("consul", "SOA").to_wire(), "127.0.3.1", RATE)["NOERROR"] == RATE


def test_refusals_are_limited_as_one_question(limited: Asker) -> None:
    seen: Counter[str] = Counter()
    for number in range(100):
        seen += flood(limited, question(f"n{number}.example.com").to_wire(), "127.0.4.1", 4)
    assert RATE <= seen["REFUSED"] < 200
    assert not seen["slip"]


def test_trusted_networks_are_not_limited(limited: Asker) -> None:
    assert flood(limited, question("consul", "SOA").to_wire(), "127.0.9.1")["NOERROR"] == SENT
