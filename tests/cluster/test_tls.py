"""A cluster with mutual TLS: who has no right certificate is nobody, new certificates need no restart."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import certificates
from tests.cluster.harness.cluster import Cluster, members
from tests.cluster.harness.node import Node
from tests.cluster.harness.stories import fresh_key, put, until_written, value_of
from tests.waiting import until

WAIT_S = 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    certificates.authority(made / "ours")
    certificates.authority(made / "theirs")
    return made


@pytest.fixture(scope="module")
def secure(folder: Path) -> Iterator[Cluster]:
    """Three nodes that trust one authority."""
    cluster = Cluster(folder / "cluster")
    for node in cluster.nodes.values():
        node.settings |= certificates.settings_of(node.name, folder / "certificates", folder / "ours")
    with cluster:
        yield cluster


def test_nodes_with_certificates_agree_and_survive_their_leader(secure: Cluster) -> None:
    leader, key = secure.until_leader(), fresh_key()
    other = secure.followers()[0]
    put(other, key, "1")
    leader.kill()
    until_written(other, key, "2")
    secure.heal()
    assert value_of(leader, key) == "2"


def test_a_node_with_a_certificate_of_another_authority_stays_outside(secure: Cluster, folder: Path) -> None:
    joins = {"KONSUL_RAFT_JOIN": ",".join(secure.addresses())}
    theirs = certificates.settings_of("n4", folder / "wrong", signed_by=folder / "theirs")
    node = secure.add("n4", joins | theirs)
    stays_outside(secure, node)


def test_a_certificate_that_its_own_authority_did_not_sign_stops_the_start(folder: Path) -> None:
    theirs, ours = folder / "theirs", folder / "ours"
    wrong = certificates.settings_of("n1", folder / "mixed", signed_by=theirs, trusts=ours)
    cluster = Cluster(folder / "alone", 1, settings=wrong)
    try:
        assert cluster.nodes["n1"].refused() not in (0, None)
        assert "n1.pem" in cluster.nodes["n1"].output()
    finally:
        cluster.close()


def test_a_node_without_a_certificate_stays_outside(secure: Cluster) -> None:
    node = secure.add("n5", {"KONSUL_RAFT_JOIN": ",".join(secure.addresses())})
    stays_outside(secure, node)


def stays_outside(secure: Cluster, node: Node) -> None:
    inside = [each for each in secure.nodes.values() if each is not node]
    before = sum(map(refusals, inside))
    node.launch()
    try:
        until(node.is_alive, "the stranger to run")
        # Counted each time; the log says it once a minute.
        until(lambda: sum(map(refusals, inside)) > before, "a refusal")
        leader = secure.until_leader()
        assert members(leader) | members(leader, "Nonvoter") == {"n1", "n2", "n3"}
        assert node.status_of("/health/ready") == 503
    finally:
        secure.forget(node)


def refusals(node: Node) -> float:
    """How many connections a node refused for their certificates."""
    lines = node.ask("GET", "/metrics").body.decode().splitlines()
    name = "konsul_raft_net_refused_tls_total{"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_client_without_a_certificate_is_not_talked_to(secure: Cluster) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    node = secure.until_leader()
    with socket.create_connection(("127.0.0.1", node.raft_port), WAIT_S) as plain:
        plain.settimeout(WAIT_S)
        assert heard(plain, context) == b""


def heard(plain: socket.socket, context: ssl.SSLContext) -> bytes:
    """What the other side says. A client of TLS 1.3 learns of a refusal with its first read."""
    try:
        with context.wrap_socket(plain) as shown:
            shown.sendall(b"KNSLPEER")
            return shown.recv(1_024)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_an_older_tls_is_refused(secure: Cluster) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", secure.until_leader().raft_port), WAIT_S) as plain:
        plain.settimeout(WAIT_S)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain)


def test_new_certificates_are_taken_without_a_restart(secure: Cluster, folder: Path) -> None:
    assert secure.links is not None
    pids = {node.name: node.pid for node in secure.nodes.values()}
    before = {name: seen_certificate(secure, name) for name in pids}
    for node in secure.nodes.values():
        for file in (folder / "certificates").glob(f"{node.name}*"):
            file.unlink()
        certificates.settings_of(node.name, folder / "certificates", folder / "ours")
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
    until(lambda: all(seen_certificate(secure, name) != before[name] for name in pids), "new certificates")
    for one, other in (("n1", "n2"), ("n2", "n3"), ("n3", "n1")):
        secure.links.reset(one, other)
    secure.until_ready()
    put(secure.followers()[0], fresh_key(), "1")
    secure.until_alike()
    assert {node.name: node.pid for node in secure.nodes.values()} == pids


def seen_certificate(cluster: Cluster, name: str) -> bytes:
    """The certificate that a node shows to a client that has none itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", cluster.nodes[name].raft_port), WAIT_S) as plain,
        context.wrap_socket(plain) as shown,
    ):
        return shown.getpeercert(binary_form=True) or b""
