"""Connections: many questions on one, in pieces, halves and floods; and others are served meanwhile."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import dns.message
import pytest

from tests.doors.dns.asking import ANSWER_S, Asker, asking, question
from tests.waiting import until

LIMITS = {
    "KONSUL_DNS_TCP_IDLE": "1s",
    "KONSUL_DNS_TCP_CONNECTIONS": "24",
    "KONSUL_DNS_TCP_PER_CLIENT": "16",
}


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A server with little room and little time."""
    with asking(tmp_path_factory.mktemp("tight"), **LIMITS) as found:
        yield found


def connect(asker: Asker, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", asker.port), ANSWER_S, (source, 0))


def framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


def read(line: socket.socket) -> dns.message.Message | None:
    """The next answer; None at the end."""
    head = _exactly(line, 2)
    if len(head) < 2:
        return None
    return dns.message.from_wire(_exactly(line, int.from_bytes(head)))


def _exactly(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = line.recv(size - len(found))
        if not piece:
            break
        found += piece
    return found


def is_closed(line: socket.socket) -> bool:
    """Waits for the server to close it; what it still says is read."""
    try:
        while line.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_many_questions_in_one_go_are_all_answered(asker: Asker) -> None:
    sent = [question("consul", "SOA") for _ in range(500)]
    with closing(connect(asker)) as line:
        line.sendall(b"".join(framed(one.to_wire()) for one in sent))
        line.shutdown(socket.SHUT_WR)
        found = [read(line) for _ in sent]
        assert read(line) is None
    assert [one.id for one in found if one is not None] == [one.id for one in sent]


def test_a_question_may_come_in_pieces(asker: Asker) -> None:
    query = question("consul", "NS")
    with closing(connect(asker)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed(query.to_wire()):
            line.sendall(bytes((byte,)))
        found = read(line)
        assert found is not None
        assert found.answer
        # And the connection goes on.
        line.sendall(framed(query.to_wire()))
        assert read(line) is not None


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0",
        framed(b"x"),
        framed(b"\x12\x34\x81\x80" + b"\0" * 8),
        b"\xff\xff" + b"\0" * 100,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_who_does_not_speak_dns_is_not_listened_to(asker: Asker, sent: bytes) -> None:
    with closing(connect(asker)) as line:
        line.sendall(sent)
        assert is_closed(line)
    assert asker.ask("consul", "SOA", tcp=True).answer


def test_a_question_that_never_ends_is_not_waited_for(tight: Asker) -> None:
    before = tight.metric('konsul_dns_tcp_refused_total{reason="idle"}')
    with closing(connect(tight)) as slow, closing(connect(tight)) as silent:
        slow.sendall(framed(question("consul").to_wire())[:5])
        assert is_closed(slow)
        assert is_closed(silent)
    assert tight.metric('konsul_dns_tcp_refused_total{reason="idle"}') >= before + 2


def test_one_byte_now_and_then_does_not_keep_a_place(tight: Asker) -> None:
    with closing(connect(tight)) as slow:
        slow.sendall(b"\x0f\xff")

        def ended() -> bool:
            try:
                slow.sendall(b"x")
            except OSError:
                return True
            return False

        until(ended, "the connection to be closed")


def test_places_are_limited_by_client_and_in_total(tight: Asker) -> None:
    until(lambda: tight.metric("konsul_dns_tcp_connections") == 0, "earlier connections to be gone")
    lines = [connect(tight) for _ in range(40)]
    others = [connect(tight, "127.0.0.2") for _ in range(20)]
    query = framed(question("consul", "SOA").to_wire())
    try:
        served = []
        for line in (*lines, *others):
            try:
                line.sendall(query)
                served.append(read(line) is not None)
            except ConnectionError:
                served.append(False)
        assert sum(served[:40]) <= 16
        assert 0 < sum(served) <= 24
        # Whoever asks over UDP has not noticed.
        assert tight.ask("consul", "SOA").answer
    finally:
        for line in (*lines, *others):
            line.close()
    until(lambda: tight.metric("konsul_dns_tcp_connections") == 0, "all places to be free")
    assert tight.ask("consul", "SOA", tcp=True).answer
    assert tight.metric('konsul_dns_tcp_refused_total{reason="client"}') > 0


def test_who_reads_no_answers_is_cut_off_and_others_are_served(tight: Asker) -> None:
    for number in range(64):
        tight.register("many", id=f"m{number}", address=f"10.7.0.{number}")
    query = framed(question("many.service.consul", "SRV").to_wire())
    with closing(connect(tight)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        line.settimeout(0.2)

        def cut_off() -> bool:
            try:
                line.sendall(query * 100)
            except TimeoutError:
                return False
            except OSError:
                return True
            return False

        until(cut_off, "the connection to be cut", 60)
    assert tight.ask("consul", "SOA", tcp=True).answer


def test_a_connection_stays_as_long_as_it_is_used(tight: Asker) -> None:
    query = framed(question("consul", "SOA").to_wire())
    with closing(connect(tight)) as used, closing(connect(tight)) as unused:
        unused.setblocking(False)

        def other_is_closed() -> bool:
            used.sendall(query)
            assert read(used) is not None
            try:
                return unused.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True

        until(other_is_closed, "the idle connection to be closed")
        used.sendall(query)
        assert read(used) is not None
