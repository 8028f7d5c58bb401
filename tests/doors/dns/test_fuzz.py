"""Nonsense: thousands of broken messages against the handler, and over sockets beside somebody who asks."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import dns.exception
import dns.message
import pytest
from dns.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from konsul.doors.dns import wire
from konsul.doors.dns.door import DnsDoor
from konsul.doors.dns.words import type_name
from konsul.engine import Engine, Options
from konsul.features import FEATURES
from konsul.kernel.config import Config, load
from konsul.kernel.feature import load_all
from konsul.kernel.node import Kernel
from konsul.kernel.settings import GROUPS
from tests.doors.dns.asking import Asker, question

SENT = 4_000
SEEDS = [
    question("web.service.consul", "SRV").to_wire(),
    question("_web._tcp.service.dc1.consul", "A", size=None).to_wire(),
    question("consul", "SOA").to_wire(),
    question("consul", "NS").to_wire(),
    question("1.0.0.10.in-addr.arpa", "PTR").to_wire(),
    question("0a000001.addr.consul", "ANY").to_wire(),
    question("none.node.consul", "TXT").to_wire(),
    question("db.query.consul", "A").to_wire(),
]
FIXED_MAX = 11
"""What an answer without records may have beyond its question: an OPT record."""


class Nobody:
    """A socket and a connection that keep what they are told."""

    def __init__(self) -> None:
        self.told: list[bytes | None] = []

    def send(self, answer: bytes, client: Any) -> None:  # noqa: ARG002 - the door's
        self.told.append(answer)

    def answer(self, found: bytes | None) -> None:
        self.told.append(found)

    answer_later = answer


class Handler:
    """The door of a node in this process, with a loop of its own."""

    def __init__(self, folder: str) -> None:
        self.loop = asyncio.new_event_loop()
        environ = {"KONSUL_DNS_PORT": "0", "KONSUL_DATA_DIR": folder, "KONSUL_PERSISTENCE_TYPE": "memory"}
        self.config: Config = load(list(GROUPS), environ=environ)
        self.run(self._start())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def _start(self) -> None:
        engine = Engine(Options(data_dir="", backend="memory"))
        self.kernel = Kernel(engine, self.config, load_all(FEATURES))
        self.door = DnsDoor(self.kernel, "127.0.0.1")
        await self.kernel.start()
        await self.door.start()

    async def _stop(self) -> None:
        await self.door.stop()
        await self.kernel.stop(0)

    def close(self) -> None:
        self.run(self._stop())
        self.loop.close()

    def ask(self, data: bytes, *, over_tcp: bool) -> bytes | None:
        """What is answered to `data`."""

        async def asked() -> bytes | None:
            nobody = Nobody()
            if over_tcp:
                self.door.message(data, ("127.0.0.1", 1), cast(Any, nobody))
            else:
                found = self.door.datagram(data, ("127.0.0.1", 1), cast(Any, nobody))
                if found is not None:
                    return found
            # What has to be waited for is answered later.
            await asyncio.gather(*self.door.waiting())
            return nobody.told[0] if nobody.told else None

        found: bytes | None = self.run(asked())
        return found


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    made = Handler(str(tmp_path_factory.mktemp("fuzz")))
    try:
        yield made
    finally:
        made.close()


def mutated(draw: random.Random, message: bytes) -> bytes:
    """A message with a few things wrong."""
    found = bytearray(message)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(found)) if found else 0
        match draw.randrange(6):
            case 0:
                found[at : at + 1] = draw.randbytes(1)
            case 1:
                del found[at:]
            case 2:
                found[at:at] = draw.randbytes(draw.randint(1, 40))
            case 3:
                # A pointer: to itself, ahead, or back to the header.
                found[at : at + 2] = bytes((0xC0 | draw.randrange(64), draw.randrange(256)))
            case 4:
                found[4:12] = bytes(draw.choice((0, 0, 0, 1, 2, 255)) for _ in range(8))
            case _:
                del found[at : at + draw.randint(1, 20)]
    return bytes(found)


def judge(data: bytes, reply: bytes | None, *, over_tcp: bool) -> None:
    """What holds for every answer, whatever it answers."""
    if len(data) < wire.HEADER or data[2] & 0x80:
        assert reply is None
        return
    assert reply is not None
    assert reply[:2] == data[:2]
    assert reply[2] & 0x80
    found = dns.message.from_wire(reply, one_rr_per_rrset=True)
    if not over_tcp:
        limit = wire.PLAIN_MAX_BYTES
        try:
            query = wire.parse(data)
            if query is not None and query.edns is not None:
                limit = min(query.edns.max_bytes, 1_232)
        except wire.Refused:
            limit = max(len(data), wire.HEADER) + FIXED_MAX
        assert len(reply) <= limit
    if not found.answer and not found.authority:
        assert len(reply) <= len(data) + FIXED_MAX


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(min_value=0), base=st.sampled_from(SEEDS), over_tcp=st.booleans())
def test_a_broken_message_gets_an_answer_or_none(
    handler: Handler, seed: int, base: bytes, over_tcp: bool
) -> None:
    data = mutated(random.Random(seed), base)
    judge(data, handler.ask(data, over_tcp=over_tcp), over_tcp=over_tcp)
    assert not handler.door.counters.refused["fault"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=600), over_tcp=st.booleans())
def test_any_bytes_get_an_answer_or_none(handler: Handler, data: bytes, over_tcp: bool) -> None:
    judge(data, handler.ask(data, over_tcp=over_tcp), over_tcp=over_tcp)
    assert not handler.door.counters.refused["fault"]


LABEL = st.binary(min_size=1, max_size=63)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(LABEL, max_size=4),
    below=st.sampled_from([b"service", b"node", b"addr", b"query", b"dc1", b"x"]),
    kind=st.integers(0, 0xFFFF),
)
def test_any_name_and_type_gets_an_answer_that_can_be_read(
    handler: Handler, labels: list[bytes], below: bytes, kind: int
) -> None:
    try:
        name = wire.name_of((*labels, below, b"consul"))
    except ValueError:
        return
    data = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + name + kind.to_bytes(2) + b"\0\1"
    reply = handler.ask(data, over_tcp=False)
    judge(data, reply, over_tcp=False)
    assert not handler.door.counters.refused["fault"]
    assert type_name(kind)


@given(data=st.one_of(st.binary(max_size=200), st.sampled_from(SEEDS)), seed=st.integers(min_value=0))
@settings(max_examples=500, deadline=None)
def test_what_is_read_here_is_read_alike_by_a_library(data: bytes, seed: int) -> None:
    """Whatever passes for a question here is the same question for dnspython."""
    data = mutated(random.Random(seed), data) if seed % 3 else data
    try:
        query = wire.parse(data)
    except wire.Refused:
        return
    if query is None:
        return
    read: Message = dns.message.from_wire(data, ignore_trailing=True)
    assert len(read.question) == 1
    assert read.question[0].name.to_wire() == query.question[:-4]
    assert int(read.question[0].rdtype) == query.type
    assert (read.edns >= 0) == (query.edns is not None)
    assert tuple(label.lower() for label in read.question[0].name.labels[:-1]) == query.labels


def test_a_flood_of_nonsense_harms_nobody(asker: Asker) -> None:
    """Broken datagrams and streams, while somebody who asks properly is answered each time."""
    asker.register("bystander", address="10.9.9.9")
    draw = random.Random(4_711)
    messages = [mutated(draw, draw.choice(SEEDS)) for _ in range(SENT)]
    lines_before = len(asker.server.output().splitlines())
    stop = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            for message in messages:
                line.sendto(message, ("127.0.0.1", asker.port))
        for start in range(0, len(messages), 100):
            with socket.create_connection(("127.0.0.1", asker.port), 30) as stream:
                try:
                    for message in messages[start : start + 100]:
                        framed = len(message).to_bytes(2) + message
                        stream.sendall(framed if draw.random() < 0.9 else message)
                except OSError:
                    # It was cut off, which is what such a client may expect.
                    continue
        stop.set()

    sender = threading.Thread(target=send)
    sender.start()
    asked = 0
    while not stop.is_set() or not asked:
        assert asker.texts("bystander.service.consul") == ["10.9.9.9"]
        assert asker.texts("bystander.service.consul", tcp=True) == ["10.9.9.9"]
        asked += 1
    sender.join()
    assert asker.server.running()
    assert asker.metric('konsul_dns_refused_total{reason="fault"}') == 0
    # Requests of the test itself are logged; nonsense is not.
    said = asker.server.output().splitlines()[lines_before:]
    assert [line for line in said if "Request completed" not in line] == []
