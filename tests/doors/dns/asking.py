"""A server that answers DNS, and somebody who asks it with a library that is not ours."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import httpx
from dns.message import Message

from tests.conftest import SMALL, LiveServer

ANSWER_S = 30.0
"""For a machine on which everything runs at once."""
ON = {"KONSUL_DNS_ENABLED": "true", "KONSUL_DNS_PORT": "0", "KONSUL_SERVICE_TTL": "1h"}


class Asker:
    """Asks one server; registers at it what it asks for."""

    def __init__(self, server: LiveServer, http: httpx.Client) -> None:
        self.server = server
        self.http = http
        self.port = port_of(server)

    def ask(self, name: str, kind: str = "A", *, size: int | None = 1_232, tcp: bool = False) -> Message:
        """The answer. `size`: what the client says it takes; None: without EDNS."""
        query = question(name, kind, size=size)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", ANSWER_S, self.port)

    def texts(self, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
        """The records of the answer section that have the type asked for, in the order of their text."""
        wanted = dns.rdatatype.from_text(kind)
        found = self.ask(name, kind, tcp=tcp).answer
        return sorted(one.to_text() for records in found if records.rdtype == wanted for one in records)

    def register(self, name: str, **more: Any) -> None:
        """One instance."""
        body = {"name": name, "address": "10.0.0.1", "port": 8080, **more}
        answer = self.http.put("/register", json=body)
        assert answer.status_code == 200, answer.text

    def raw(self, message: bytes, within_s: float = ANSWER_S) -> bytes | None:
        """What a datagram is answered; None: nothing in time."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect(("127.0.0.1", self.port))
            line.settimeout(within_s)
            line.send(message)
            try:
                return line.recv(65_535)
            except TimeoutError:
                return None

    def is_silent(self, message: bytes) -> bool:
        """True if a datagram gets no answer: one that is sent behind it is answered first."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect(("127.0.0.1", self.port))
            line.settimeout(ANSWER_S)
            after = question("consul", "SOA").to_wire()
            line.send(message)
            line.send(after)
            return line.recv(65_535)[:2] == after[:2]

    def metric(self, line: str) -> float:
        """A sample of `/metrics`, 0 if it is not there."""
        page = self.http.get("/metrics").text
        return next(
            (float(each.split()[-1]) for each in page.splitlines() if each.startswith(line + " ")), 0.0
        )


def question(name: str, kind: str = "A", *, size: int | None = 1_232) -> Message:
    """A question as a client's library writes it."""
    if size is None:
        return dns.message.make_query(name, kind)
    return dns.message.make_query(name, kind, use_edns=0, payload=size)


def port_of(server: LiveServer) -> int:
    """The port that its log says."""
    said = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    return int([line["port"] for line in said if line["msg"] == "dns"][-1])


@contextmanager
def asking(folder: Path, **settings: str) -> Iterator[Asker]:
    """A running server with somebody who asks it."""
    with (
        LiveServer(folder / "data", SMALL | ON | settings) as server,
        httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as http,
    ):
        yield Asker(server, http)
