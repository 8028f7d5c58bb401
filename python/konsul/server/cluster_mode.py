"""What the settings of a cluster mean for the engine, and what the start log says of them."""

from __future__ import annotations

from typing import Any, Final

from konsul.kernel.address import is_loopback, is_unspecified, join_address, split_address
from konsul.kernel.cluster_settings import ClusterSettings, PeerAddresses, RaftTlsSettings
from konsul.kernel.config import Config, ConfigError
from konsul.kernel.logging import logger
from konsul.kernel.node import VERSION
from konsul.kernel.settings import HttpSettings, RaftSettings, TlsSettings

_LOOPBACK: Final = "127.0.0.1"


def check(config: Config) -> None:
    """Judges what several groups of settings say together.

    Raises:
        ConfigError: with the names and what was expected.
    """
    cluster = config.of(ClusterSettings)
    if not cluster.enabled:
        return
    problem = PeerAddresses(cluster, config.of(RaftTlsSettings)).problem()
    if problem:
        raise ConfigError(problem)


def is_secure(config: Config) -> bool:
    """Whether this node shows certificates to its peers."""
    return config.of(ClusterSettings).enabled and config.of(RaftTlsSettings).enabled


def data_dir(config: Config, otherwise: str) -> str:
    """The data directory in force."""
    cluster = config.of(ClusterSettings)
    return cluster.data_dir if cluster.enabled and cluster.data_dir else otherwise


def http_url(config: Config) -> str:
    """Where clients find this node."""
    cluster, http = config.of(ClusterSettings), config.of(HttpSettings)
    scheme = config.of(TlsSettings).scheme
    if cluster.http_advertise_addr:
        return f"{scheme}://{cluster.http_advertise_addr}"
    host = http.host or _LOOPBACK
    if is_unspecified(host):
        host = split_address(PeerAddresses(cluster, config.of(RaftTlsSettings)).advertise)[0]
    return f"{scheme}://{join_address(host, http.port)}"


def options(config: Config) -> dict[str, Any]:
    """The members of `konsul.engine.Options` that a cluster brings; none for a single node."""
    cluster, tls, raft = config.of(ClusterSettings), config.of(RaftTlsSettings), config.of(RaftSettings)
    if not cluster.enabled:
        return {}
    peers = PeerAddresses(cluster, tls)
    files = (tls.cert_file, tls.key_file, tls.ca_file) if tls.enabled else ("", "", "")
    return {
        "cluster": True,
        "node_id": 0,
        "node_name": cluster.node_id,
        "bind_addr": peers.bind,
        "advertise_addr": peers.advertise,
        "http_addr": http_url(config),
        "zone": cluster.zone,
        "read_only": cluster.read_only,
        "lease_ms": raft.lease_ms,
        "leader_wait_ms": raft.election_ms,
        "max_append_entries": raft.max_append_entries,
        "snapshot_rate_bytes": raft.snapshot_rate_bytes,
        "tls_cert_file": files[0],
        "tls_key_file": files[1],
        "tls_ca_file": files[2],
        "allow_plaintext": not tls.enabled,
        "version": VERSION,
    }


def announce(config: Config) -> None:
    """What was decided about the cluster, before anything is opened."""
    log, cluster, tls = logger(), config.of(ClusterSettings), config.of(RaftTlsSettings)
    if not cluster.enabled:
        _announce_without_effect(config)
        return
    peers = PeerAddresses(cluster, tls)
    log.info(
        "cluster",
        node_id=cluster.node_id,
        node_name=cluster.node_name or cluster.node_id,
        bind_addr=peers.bind,
        advertise_addr=peers.advertise,
        http_address=http_url(config),
        bootstrap=cluster.bootstrap,
        bootstrap_expect=cluster.expect,
        join=[*cluster.join, *cluster.discovery_seeds],
        zone=cluster.zone or None,
        read_only=cluster.read_only,
        tls=tls.enabled,
        join_token=bool(cluster.join_token or cluster.join_token_file),
    )
    if not (tls.enabled or peers.is_local):
        log.warning(
            "peers speak in the clear: whoever reaches this address can read and forge the log",
            bind_addr=peers.bind,
        )
    http_host = config.of(HttpSettings).host or _LOOPBACK
    if is_loopback(http_host) and not (peers.is_local or cluster.http_advertise_addr):
        log.warning(
            "the HTTP API is on loopback only: clients of other machines cannot follow a redirect here"
        )
    if "KONSUL_RAFT_COMMIT_TIMEOUT" in config.sources:
        log.info("KONSUL_RAFT_COMMIT_TIMEOUT has no effect: followers are told of a commit at once")


def _announce_without_effect(config: Config) -> None:
    """A node that is configured for a cluster and is not in one should not go unnoticed."""
    groups = (ClusterSettings, RaftTlsSettings)
    names = {one.env for group in groups for one in group.declarations.values()} - {"KONSUL_RAFT_ENABLED"}
    given = sorted(names & set(config.sources))
    if given:
        logger().warning("without effect, because KONSUL_RAFT_ENABLED is off", settings=given)
