"""Names of other zones: sent on, and only an answer to the question comes back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rrset
from dns.message import Message
from dns.rcode import NOERROR, REFUSED, SERVFAIL

from tests.doors.dns.asking import Asker, asking, question
from tests.process import free_port
from tests.waiting import until


class Recursor:
    """Answers on UDP and TCP what `say` makes of a question: the messages to send, in order."""

    def __init__(self) -> None:
        self.port = free_port()
        self.seen: list[tuple[int, int]] = []
        """Port and id of every question over UDP."""
        self.say: Callable[[Message], list[bytes]] = lambda query: [told(query, "192.0.2.1").to_wire()]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._tcp = socket.create_server(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=self._over_udp), threading.Thread(target=self._over_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        # A byte wakes the one, a connection the other.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.sendto(b"", ("127.0.0.1", self.port))
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    def _over_udp(self) -> None:
        while True:
            data, client = self._udp.recvfrom(4_096)
            if not data:
                return
            query = dns.message.from_wire(data)
            self.seen.append((client[1], query.id))
            for reply in self.say(query):
                self._udp.sendto(reply, client)

    def _over_tcp(self) -> None:
        while True:
            line, _ = self._tcp.accept()
            with line:
                data = line.recv(4_096)
                if not data:
                    return
                for reply in self.say(dns.message.from_wire(data[2:])):
                    line.sendall(len(reply).to_bytes(2) + reply)


def told(query: Message, *addresses: str) -> Message:
    """A recursor's answer."""
    reply = dns.message.make_response(query, recursion_available=True)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *addresses))
    return reply


@contextmanager
def forwarding(folder: Path, **settings: str) -> Iterator[tuple[Asker, Recursor]]:
    recursor = Recursor()
    own = {"KONSUL_DNS_RECURSORS": f"127.0.0.1:{recursor.port}", "KONSUL_DNS_RECURSOR_TIMEOUT": "2s"}
    try:
        with asking(folder, **(own | settings)) as asker:
            yield asker, recursor
    finally:
        recursor.close()


def test_names_of_other_zones_are_asked_for(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (asker, recursor):
        for tcp in (False, True):
            found = asker.ask("www.example.com", tcp=tcp)
            assert (found.rcode(), found.answer[0][0].to_text()) == (NOERROR, "192.0.2.1")
            assert found.flags & dns.flags.RA
        # Ours are answered here, and say that others are asked too.
        own = asker.ask("consul", "SOA")
        assert own.flags & dns.flags.RA
        assert own.flags & dns.flags.AA
        assert len(recursor.seen) == 1
        # Who does not want recursion gets none.
        query = question("www.example.com")
        query.flags = dns.flags.Flag(0)
        reply = asker.raw(query.to_wire())
        assert reply is not None
        assert dns.message.from_wire(reply).rcode() == REFUSED
        # An address that nothing here has may be somebody else's.
        recursor.say = lambda query: [dns.message.make_response(query).to_wire()]
        assert asker.ask("1.2.0.192.in-addr.arpa", "PTR").rcode() == NOERROR


def test_what_is_no_answer_to_the_question_is_not_taken(tmp_path: Path) -> None:
    def forged(query: Message) -> list[bytes]:
        other_id = told(query, "192.0.2.66")
        other_id.id = query.id ^ 1
        other_name = told(question("evil.example.com"), "192.0.2.66")
        other_name.id = query.id
        echo = query.to_wire()
        cut = told(query, "192.0.2.66").to_wire()[:20]
        return [other_id.to_wire(), other_name.to_wire(), echo, cut, b"", told(query, "192.0.2.1").to_wire()]

    with forwarding(tmp_path) as (asker, recursor):
        recursor.say = forged
        for _ in range(5):
            assert asker.texts("www.example.com") == ["192.0.2.1"]
        # Ports and ids are drawn for each question.
        assert len({port for port, _ in recursor.seen}) > 1
        assert len({number for _, number in recursor.seen}) > 1


def test_an_answer_that_is_too_long_is_fetched_over_tcp(tmp_path: Path) -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, 200)]
    with forwarding(tmp_path) as (asker, recursor):
        recursor.say = lambda query: [told(query, *addresses).to_wire(max_size=65_535)]
        short = asker.ask("www.example.com")
        assert short.flags & dns.flags.TC
        assert not short.answer
        assert len(asker.ask("www.example.com", tcp=True).answer[0]) == len(addresses)


def test_the_next_recursor_is_asked_when_one_is_silent(tmp_path: Path) -> None:
    recursor = Recursor()
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    servers = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{recursor.port}"
    settings = {"KONSUL_DNS_RECURSORS": servers, "KONSUL_DNS_RECURSOR_TIMEOUT": "200ms"}
    try:
        with silent, asking(tmp_path, **settings) as asker:
            assert asker.texts("www.example.com") == ["192.0.2.1"]
            assert asker.metric('konsul_dns_recursions_total{outcome="failed"}') == 1
            recursor.say = lambda query: []  # noqa: ARG005 - says nothing
            assert asker.ask("www.example.com").rcode() == SERVFAIL
    finally:
        recursor.close()


def test_only_so_many_questions_wait_and_ours_do_not(tmp_path: Path) -> None:
    settings = {"KONSUL_DNS_INFLIGHT": "8", "KONSUL_DNS_RECURSOR_TIMEOUT": "20s"}
    with forwarding(tmp_path, **settings) as (asker, recursor):
        recursor.say = lambda query: []  # noqa: ARG005 - says nothing
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect(("127.0.0.1", asker.port))
            line.settimeout(30)
            for number in range(12):
                line.send(question(f"n{number}.example.com").to_wire())
            refused = [dns.message.from_wire(line.recv(4_096)).rcode() for _ in range(4)]
        assert refused == [SERVFAIL] * 4
        until(lambda: len(recursor.seen) == 8, "those that wait to have been sent")
        assert asker.ask("consul", "SOA").answer
        assert asker.metric('konsul_dns_refused_total{reason="busy"}') == 4


def test_strangers_are_not_served_as_a_resolver(tmp_path: Path) -> None:
    with forwarding(tmp_path, KONSUL_DNS_RECURSION_NETWORKS="10.0.0.0/8") as (asker, recursor):
        assert asker.ask("www.example.com").rcode() == REFUSED
        assert not recursor.seen
