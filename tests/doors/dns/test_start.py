"""The door's start: its line in the log, taken ports, switches, and what it costs who does not use it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from konsul.kernel.config import ConfigError, load
from konsul.kernel.settings import GROUPS
from tests.conftest import SMALL, LiveServer
from tests.doors.dns.asking import ON, asking, question
from tests.process import free_port
from tests.waiting import until


def test_the_log_says_domain_and_port(tmp_path: Path) -> None:
    with asking(tmp_path, KONSUL_DNS_DOMAIN="Dc1.Example.", KONSUL_DNS_TTL="90s") as asker:
        asker.register("web")
        found = asker.ask("web.service.dc1.example")
        assert found.answer[0].ttl == 90
        line = next(line for line in asker.server.output().splitlines() if '"msg":"dns"' in line)
        assert '"domain":"dc1.example"' in line
        assert f'"address":"127.0.0.1:{asker.port}"' in line


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_taken_port_ends_the_start_and_says_which(tmp_path: Path, kind: socket.SocketKind) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        server = LiveServer(tmp_path / "data", SMALL | ON | {"KONSUL_DNS_PORT": str(port)})
        assert server.refused() == 1
    output = server.output()
    assert f"cannot listen on 127.0.0.1 port {port} for DNS" in output
    assert "KONSUL_DNS_PORT" in output
    assert "Traceback" not in output
    # Before anything was opened.
    assert not server.data_dir.exists()


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data", SMALL | {"KONSUL_DNS_ENABLED": "false"}) as server:
        assert '"msg":"dns"' not in server.output()
        assert server.status_of("/health/ready") == 200


def test_it_is_on_unless_turned_off(tmp_path: Path) -> None:
    port = free_port()
    server = LiveServer(tmp_path / "data", SMALL | {"KONSUL_DNS_ENABLED": "", "KONSUL_DNS_PORT": str(port)})
    with server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(30)
        line.sendto(question("consul", "SOA").to_wire(), ("127.0.0.1", port))
        assert line.recv(4_096)


def test_it_listens_where_it_is_told(tmp_path: Path) -> None:
    with (
        asking(tmp_path, KONSUL_DNS_HOST="127.0.0.5") as asker,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line,
    ):
        line.settimeout(30)
        line.sendto(question("ns.consul").to_wire(), ("127.0.0.5", asker.port))
        assert b"\x7f\x00\x00\x05" in line.recv(4_096)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KONSUL_DNS_DOMAIN", "-x", "a domain name of at most 128 characters"),
        ("KONSUL_DATACENTER", "dc.1", "letters, digits and dashes"),
        ("KONSUL_DNS_RECURSORS", "resolver.example", "IP addresses"),
        ("KONSUL_DNS_RRL_EXEMPT", "everybody", "addresses or networks"),
        ("KONSUL_DNS_UDP_MAX_BYTES", "100", "512 to 4KiB"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_start(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(GROUPS, environ={name: value})
    assert name in str(refused.value)
    assert said in str(refused.value)


def test_it_stops_with_the_node(tmp_path: Path) -> None:
    with asking(tmp_path) as asker, socket.create_connection(("127.0.0.1", asker.port), 30) as line:
        assert asker.ask("consul", "SOA").answer
        assert asker.server.stop() == 0
        assert line.recv(1) == b""
        assert "Traceback" not in asker.server.output()


def test_a_follower_that_has_no_tables_yet_says_that_it_failed(tmp_path: Path) -> None:
    cluster = {
        "KONSUL_RAFT_ENABLED": "true",
        "KONSUL_RAFT_NODE_ID": "n1",
        "KONSUL_RAFT_BIND_ADDR": f"127.0.0.1:{free_port()}",
        "KONSUL_RAFT_JOIN": f"127.0.0.1:{free_port()}",
        "KONSUL_LOG_FORMAT": "json",
    }
    server = LiveServer(tmp_path / "data", SMALL | ON | cluster)
    server.launch()
    try:
        until(lambda: '"msg":"dns"' in server.output() or not server.running(), "the node to answer DNS")
        line = next(line for line in server.output().splitlines() if '"msg":"dns"' in line)
        port = int(line.partition('"port":')[2].partition(",")[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.settimeout(30)
            asked.sendto(question("web.service.consul").to_wire(), ("127.0.0.1", port))
            assert asked.recv(4_096)[3] & 0xF == 2
    finally:
        server.kill()
