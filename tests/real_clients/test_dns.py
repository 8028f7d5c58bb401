"""dig, the C library's resolver, dnsmasq, unbound and HAProxy, configured as docs/operate/dns.md says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import httpx
import pytest
from dns.exception import Timeout
from dns.rcode import NOERROR, NXDOMAIN

from tests.conftest import SMALL, LiveServer
from tests.doors.dns.asking import ON, Asker, asking, question
from tests.process import free_port
from tests.real_clients.debian import program
from tests.real_clients.dns_page import block, running
from tests.tidy.tree import ROOT
from tests.waiting import until

CLIENT_S = 120
ANSWERS = 30


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    with asking(tmp_path_factory.mktemp("dns")) as found:
        found.register("web", id="one", address="10.1.0.1", port=81, tags=["primary"])
        found.register("web", id="two", address="10.1.0.2", port=82)
        for number in range(60):
            found.register("big", id=f"b{number}", address=f"10.2.0.{number}", port=80)
        yield found


def dig(port: int, *words: str) -> str:
    """What dig prints."""
    binary, more = program("dig", "bind9-dnsutils")
    command = [binary, "-r", "@127.0.0.1", "-p", str(port), "+time=30", "+tries=2", *words]
    done = subprocess.run(
        command, env=os.environ | more, capture_output=True, text=True, timeout=CLIENT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dig_reads_what_it_is_told(asker: Asker) -> None:
    assert sorted(dig(asker.port, "web.service.consul", "+short").split()) == ["10.1.0.1", "10.1.0.2"]
    services = sorted(dig(asker.port, "_web._tcp.service.consul", "SRV", "+short").splitlines())
    assert services == ["1 1 81 0a010001.addr.dc1.consul.", "1 1 82 0a010002.addr.dc1.consul."]
    assert dig(asker.port, "-x", "10.1.0.1", "+short").split() == ["web.service.dc1.consul."]
    told = dig(asker.port, "nobody.service.consul", "+nocookie")
    assert "status: NXDOMAIN" in told
    assert "hostmaster.consul." in told
    assert "WARNING" not in told.replace("recursion requested but not available", "").replace(
        ";; WARNING: \n", ""
    )
    assert "malformed" not in told.lower()


def test_dig_goes_to_tcp_for_what_does_not_fit(asker: Asker) -> None:
    told = dig(asker.port, "big.service.consul", "SRV")
    assert "Truncated, retrying in TCP mode" in told
    assert "ANSWER: 60" in told
    assert "tc" not in told.partition(";; flags:")[2].partition(";")[0]
    assert "ANSWER: 60" in dig(asker.port, "big.service.consul", "+bufsize=1232")
    assert "ANSWER: 60" in dig(asker.port, "big.service.consul", "+noedns", "+tcp")
    assert (
        "tc"
        in dig(asker.port, "big.service.consul", "+noedns", "+ignore")
        .partition(";; flags:")[2]
        .partition(";")[0]
    )


def test_dig_is_told_when_it_speaks_a_later_edns(asker: Asker) -> None:
    assert "BADVERS" in dig(asker.port, "web.service.consul", "+edns=5", "+noednsnegotiation")
    assert "status: NOERROR" in dig(asker.port, "web.service.consul", "+edns=5", "+ednsnegotiation")


def test_the_c_library_finds_services_by_name(tmp_path: Path) -> None:
    """With a network and an /etc/resolv.conf of its own, where the node has port 53."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\nsearch service.consul\n", encoding="ascii")
    inside = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'
    before = ("unshare", "--net", "--mount", "sh", "-c", inside, str(resolv))
    server = LiveServer(tmp_path / "data", SMALL | ON | {"KONSUL_DNS_PORT": "53"}, before=before)
    server.launch()

    def run(*command: str) -> str:
        entered = ["nsenter", "--target", str(server.pid), "--net", "--mount", *command]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            entered, env=environ, capture_output=True, text=True, timeout=CLIENT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr + server.output()[-2_000:]
        return done.stdout

    try:
        until(lambda: '"msg":"ready"' in server.output() or not server.running(), "the node to be ready", 60)
        script = "import sys; from tests.ask import ask; " + (
            "[ask(int(sys.argv[1]), 'PUT', '/register', dict(name='web', id=str(n), address=a, port=80)) "
            "for n, a in enumerate(sys.argv[2:])]"
        )
        run(sys.executable, "-c", script, str(server.port), "10.1.0.1", "10.1.0.2", "fd00::7")
        found = {line.split()[0] for line in run("getent", "ahosts", "web.service.consul").splitlines()}
        assert found == {"10.1.0.1", "10.1.0.2", "fd00::7"}
        # By the search list, where the first tries are names that do not exist.
        found = {line.split()[0] for line in run("getent", "ahosts", "web").splitlines()}
        assert found == {"10.1.0.1", "10.1.0.2", "fd00::7"}
        assert "web.service.dc1.consul" in run("getent", "hosts", "10.1.0.1")
        missing = [
            "nsenter",
            "--target",
            str(server.pid),
            "--net",
            "--mount",
            "getent",
            "hosts",
            "no.service.consul",
        ]
        assert subprocess.run(missing, timeout=CLIENT_S, check=False).returncode == 2
    finally:
        server.kill()


def asks_through(port: int, asker: Asker) -> None:
    """What whoever forwards to the node answers."""

    def told(name: str, kind: str = "A") -> dns.message.Message:
        return dns.query.udp(question(name, kind), "127.0.0.1", CLIENT_S, port)

    def is_up() -> bool:
        try:
            return dns.query.udp(question("consul", "SOA"), "127.0.0.1", 1, port).rcode() == NOERROR
        except (OSError, Timeout):
            return False

    until(is_up, "the resolver to answer", 60)
    found = told("web.service.consul")
    assert sorted(one.to_text() for one in found.answer[0]) == ["10.1.0.1", "10.1.0.2"]
    found = told("_web._tcp.service.consul", "SRV")
    assert {one.port: str(one.target) for one in found.answer[0]} == {
        81: "0a010001.addr.dc1.consul.",
        82: "0a010002.addr.dc1.consul.",
    }
    assert told("nobody.service.consul").rcode() == NXDOMAIN
    assert told("web.service.consul", "AAAA").rcode() == NOERROR
    assert told("WEB.Service.Consul").answer
    found, _ = dns.query.udp_with_fallback(question("big.service.consul", "SRV"), "127.0.0.1", CLIENT_S, port)
    assert len(found.answer[0]) == 60


def test_dnsmasq_sends_the_domain_to_the_node(asker: Asker, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "konsul.conf"
    own = f"port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\n"
    config.write_text(own + block("dnsmasq", asker.port), encoding="utf-8")
    arguments = ["--keep-in-foreground", f"--conf-file={config}", "--log-facility=-", "--pid-file"]
    with running("dnsmasq", "dnsmasq-base", arguments, tmp_path):
        asks_through(port, asker)


def test_unbound_forwards_the_domain_to_the_node(asker: Asker, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "konsul.conf"
    own = (
        f'server:\n  interface: 127.0.0.1@{port}\n  chroot: ""\n  username: ""\n  pidfile: ""\n'
        "  use-syslog: no\n"
        f'  directory: "{tmp_path}"\n  use-caps-for-id: yes\n  num-threads: 1\n'
        "remote-control:\n  control-enable: no\n"
    )
    config.write_text(own + block("unbound", asker.port), encoding="utf-8")
    with running("unbound", "unbound", ["-d", "-p", "-c", str(config)], tmp_path):
        asks_through(port, asker)


class Backend(BaseHTTPRequestHandler):
    """Says on which port it was asked."""

    def do_GET(self) -> None:
        body = str(self.connection.getsockname()[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def backends(count: int) -> Iterator[list[int]]:
    # Each on an address of its own, as instances mostly are.
    servers = [ThreadingHTTPServer((f"127.0.1.{at + 1}", 0), Backend) for at in range(count)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield [server.server_address[1] for server in servers]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def test_haproxy_follows_instances_as_they_turn_critical_and_come_back(tmp_path: Path) -> None:
    front, config = free_port(), tmp_path / "haproxy.cfg"
    with asking(tmp_path) as asker, backends(3) as ports, httpx.Client(timeout=30, trust_env=False) as client:

        def register(port: int) -> None:
            check: dict[str, Any] = {"name": f"up-{port}", "ttl": "1h", "initial_status": "passing"}
            address = f"127.0.1.{ports.index(port) + 1}"
            asker.register("web", id=str(port), address=address, port=port, checks=[check])

        def report(port: int, outcome: str) -> None:
            listed = asker.http.get("/health/service/web").json()
            check = next(one["id"] for one in listed if one["name"] == f"up-{port}")
            assert asker.http.put(f"/health/check/{check}/{outcome}", json={}).status_code == 200

        def seen() -> set[int]:
            answers = [client.get(f"http://127.0.0.1:{front}/") for _ in range(ANSWERS)]
            return {int(one.text) if one.status_code == 200 else -one.status_code for one in answers}

        def serves(expected: set[int]) -> bool:
            try:
                return seen() == expected
            except httpx.TransportError:
                return False

        for port in ports[:2]:
            register(port)
        own = (
            "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n"
            f"  timeout server 30s\nfrontend all\n  bind 127.0.0.1:{front}\n  default_backend web\n"
        )
        config.write_text(own + block("haproxy", asker.port), encoding="utf-8")
        with running("haproxy", "haproxy", ["-db", "-f", str(config)], tmp_path):
            until(lambda: serves(set(ports[:2])), "both instances to be used", 60)
            report(ports[0], "fail")
            until(lambda: serves({ports[1]}), "the critical one to be left out", 60)
            register(ports[2])
            until(lambda: serves({ports[1], ports[2]}), "the new one to be used", 60)
            report(ports[0], "pass")
            until(lambda: serves(set(ports)), "all three to be used", 60)
            for port in ports:
                report(port, "fail")
            until(lambda: serves({-503}), "nobody to be used", 60)
            report(ports[1], "pass")
            until(lambda: serves({ports[1]}), "one to be used again", 60)
