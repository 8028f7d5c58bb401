"""Settings of a node that is one of several: who it is, where it is, whom it joins, whom it trusts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from konsul.kernel.address import ADDRESS, ADDRESSES, PEERS, is_loopback, is_unspecified, split_address
from konsul.kernel.config import Settings, between, setting
from konsul.kernel.raft_settings import must_be_on
from konsul.kernel.values import BOOL, INT, TEXT, one_of

NODE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
NODE_ID_EXPECTED: Final = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
NODES_MAX: Final = 7
"""Voters of a cluster: more make it slower, and no safer that anybody needs."""
TOKEN_CHARS: Final = (8, 512)
_PORT: Final = 7_000
_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)


def is_node_id(text: str) -> bool:
    """True for what may be the name of a node."""
    return NODE_ID.fullmatch(text) is not None


def _name(what: str, longest: int = 64) -> Callable[[str], str | None]:
    printable = re.compile(rf"[ -~]{{0,{longest}}}", re.ASCII)
    return lambda text: None if printable.fullmatch(text) else f"{what} of at most {longest} characters"


def _token(text: str) -> str | None:
    if _TOKEN.fullmatch(text) and TOKEN_CHARS[0] <= len(text) <= TOKEN_CHARS[1]:
        return None
    return f"{TOKEN_CHARS[0]} to {TOKEN_CHARS[1]} visible ASCII characters"


class ClusterSettings(Settings):
    """Being one of several nodes."""

    enabled: bool = setting(
        "KONSUL_RAFT_ENABLED", BOOL, default=False, doc="This node is one of a cluster. Off: a single node."
    )
    node_id: str = setting(
        "KONSUL_RAFT_NODE_ID",
        TEXT,
        default="",
        doc="The node's name in the cluster, its own alone; needed in a cluster.",
        check=lambda text: None if is_node_id(text) else NODE_ID_EXPECTED,
    )
    node_name: str = setting(
        "KONSUL_RAFT_NODE_NAME",
        TEXT,
        default="",
        doc="A name for people. Unset: the node id.",
        check=_name("a name"),
    )
    bind_addr: str = setting(
        "KONSUL_RAFT_BIND_ADDR",
        ADDRESS,
        default="",
        doc="Where this node listens for its peers. Unset: `0.0.0.0:7000` with TLS or "
        "KONSUL_RAFT_ALLOW_PLAINTEXT, else `127.0.0.1:7000`.",
    )
    advertise_addr: str = setting(
        "KONSUL_RAFT_ADVERTISE_ADDR",
        ADDRESS,
        default="",
        doc="Where its peers find it. Unset: the bind address, which must not be `0.0.0.0` then.",
    )
    http_advertise_addr: str = setting(
        "KONSUL_RAFT_HTTP_ADVERTISE_ADDR",
        ADDRESS,
        default="",
        doc="Where clients find its HTTP API, for redirects. Unset: KONSUL_HOST, or the host of the "
        "advertised address, and KONSUL_PORT.",
    )
    data_dir: str = setting(
        "KONSUL_RAFT_DATA_DIR",
        TEXT,
        default="",
        doc="The data directory of a node in a cluster. Unset: KONSUL_DATA_DIR.",
    )
    bootstrap: bool = setting(
        "KONSUL_RAFT_BOOTSTRAP",
        BOOL,
        default=False,
        doc="A node without data forms a cluster of itself, unless one of those it is to join has one "
        "already. Changes nothing on a node with data.",
    )
    bootstrap_expect: int = setting(
        "KONSUL_RAFT_BOOTSTRAP_EXPECT",
        INT,
        default=0,
        doc="Nodes without data form a cluster as soon as so many of them see each other; 0: not.",
        check=between(0, NODES_MAX),
    )
    peers: tuple[tuple[str, str], ...] = setting(
        "KONSUL_RAFT_PEERS",
        PEERS,
        default=(),
        doc="The first members, `id@host:port`. With this node among them and nothing else said, they "
        "form a cluster once all see each other; else they are addresses to join.",
    )
    join: tuple[str, ...] = setting(
        "KONSUL_RAFT_JOIN",
        ADDRESSES,
        default=(),
        doc="Members to ask for entry, `host:port`; tried again and again until one lets this node in.",
    )
    join_token: str = setting(
        "KONSUL_RAFT_JOIN_TOKEN",
        TEXT,
        default="",
        doc="Shown when joining, and asked of who joins here.",
        check=_token,
        secret=True,
    )
    join_token_file: str = setting(
        "KONSUL_RAFT_JOIN_TOKEN_FILE", TEXT, default="", doc="A file that holds the join token."
    )
    require_join_token: bool = setting(
        "KONSUL_RAFT_REQUIRE_JOIN_TOKEN",
        BOOL,
        default=False,
        doc="Nobody joins without a token, also while there is none.",
    )
    discovery_method: Literal["static", "dns"] = setting(
        "KONSUL_RAFT_DISCOVERY_METHOD",
        one_of("static", "dns"),
        default="static",
        doc="Where else addresses to join come from. `static`: KONSUL_RAFT_DISCOVERY_SEEDS. `dns`: every "
        "address of a domain name. `aws` is not there: give the domain name of the group instead.",
    )
    discovery_seeds: tuple[str, ...] = setting(
        "KONSUL_RAFT_DISCOVERY_SEEDS", ADDRESSES, default=(), doc="More addresses to join."
    )
    discovery_domain: str = setting(
        "KONSUL_RAFT_DISCOVERY_DNS_DOMAIN",
        TEXT,
        default="",
        doc="The domain name whose addresses are nodes to join.",
        check=_name("a domain name", 253),
    )
    discovery_port: int = setting(
        "KONSUL_RAFT_DISCOVERY_DNS_PORT",
        INT,
        default=_PORT,
        doc="The peer port of nodes found by DNS.",
        check=between(1, 65_535, "a port from 1 to 65535"),
    )
    zone: str = setting(
        "KONSUL_RAFT_ZONE",
        TEXT,
        default="",
        doc="The failure zone this node is in, for redundancy zones.",
        check=_name("a zone"),
    )
    read_only: bool = setting(
        "KONSUL_RAFT_READ_ONLY", BOOL, default=False, doc="The node holds a copy for reads and never votes."
    )
    redirect_writes: bool = setting(
        "KONSUL_RAFT_REDIRECT_WRITES",
        BOOL,
        default=False,
        doc="Answer a write on a follower with 307 to the leader instead of forwarding it.",
    )
    leave_on_terminate: bool = setting(
        "KONSUL_RAFT_LEAVE_ON_TERMINATE",
        BOOL,
        default=False,
        doc="Leave the cluster for good when the process is told to end.",
    )
    allow_plaintext: bool = setting(
        "KONSUL_RAFT_ALLOW_PLAINTEXT",
        BOOL,
        default=False,
        doc="Speak to peers on other machines without TLS: whoever reaches the port can read and forge.",
    )
    log_level: Literal["debug", "info", "warn", "error"] = setting(
        "KONSUL_RAFT_LOG_LEVEL",
        one_of("debug", "info", "warn", "error"),
        default="info",
        doc="Least level written of what the cluster logs; KONSUL_LOG_LEVEL holds as well.",
    )
    quorum_check: bool = setting(
        "KONSUL_RAFT_QUORUM_CHECK_ENABLED",
        BOOL,
        default=True,
        doc="Accepted as true only.",
        check=must_be_on("a leader always checks that a quorum hears it"),
    )
    lease_enforcement: bool = setting(
        "KONSUL_RAFT_LEADERSHIP_LEASE_ENFORCEMENT",
        BOOL,
        default=True,
        doc="Accepted as true only.",
        check=must_be_on("reads are never answered on a lease that is over"),
    )
    stepdown_on_partition: bool = setting(
        "KONSUL_RAFT_STEPDOWN_ON_PARTITION",
        BOOL,
        default=True,
        doc="Accepted as true only.",
        check=must_be_on("a leader without a quorum always steps down"),
    )
    snapshot_checksum: Literal["crc32c"] = setting(
        "KONSUL_RAFT_SNAPSHOT_CHECKSUM_ALGORITHM",
        one_of("crc32c"),
        default="crc32c",
        doc="What guards a snapshot; there is no other.",
    )

    @property
    def expect(self) -> int:
        """How many fresh nodes form the cluster; 0: they do not."""
        is_listed = self.node_id in {name for name, _ in self.peers}
        alone = not (self.bootstrap or self.bootstrap_expect or self.join)
        return len(self.peers) if alone and is_listed else self.bootstrap_expect

    def token(self) -> str:
        """The static join token, empty for none.

        Raises:
            OSError: its file cannot be read.
        """
        if not self.join_token_file:
            return self.join_token
        with Path(self.join_token_file).open("rb") as file:
            return file.read(TOKEN_CHARS[1] + 2).decode("ascii", "replace").strip()

    def problem(self) -> str | None:
        """Rules that only count in a cluster."""
        if not self.enabled:
            return None
        return self._identity_problem() or self._forming_problem() or self._token_problem()

    def _identity_problem(self) -> str | None:
        if not self.node_id:
            return "KONSUL_RAFT_NODE_ID is empty: a node of a cluster needs a name of its own"
        if self.advertise_addr and is_unspecified(split_address(self.advertise_addr)[0]):
            return (
                f"KONSUL_RAFT_ADVERTISE_ADDR is {self.advertise_addr}: expected the address at which peers "
                "find this node"
            )
        return None

    def _forming_problem(self) -> str | None:
        if self.bootstrap and self.bootstrap_expect:
            return (
                "KONSUL_RAFT_BOOTSTRAP and KONSUL_RAFT_BOOTSTRAP_EXPECT are both set: expected one of them, "
                "because a node forms a cluster either alone or with others"
            )
        names = [name for name, _ in self.peers]
        wrong = next((name for name in names if not is_node_id(name)), None)
        if wrong is not None:
            return f"KONSUL_RAFT_PEERS names {wrong!r}: expected {NODE_ID_EXPECTED}"
        if len(set(names)) < len(names):
            return "KONSUL_RAFT_PEERS names a member twice"
        if self.bootstrap and names and self.node_id not in names:
            return f"KONSUL_RAFT_PEERS does not name this node, {self.node_id}, which is to bootstrap"
        if self.expect and self.read_only:
            return "KONSUL_RAFT_READ_ONLY is on: a node that never votes cannot form a cluster"
        if self.bootstrap and self.read_only:
            return "KONSUL_RAFT_READ_ONLY is on: a node that never votes cannot bootstrap a cluster"
        if self.discovery_method == "dns" and not self.discovery_domain:
            return "KONSUL_RAFT_DISCOVERY_METHOD is dns: expected a KONSUL_RAFT_DISCOVERY_DNS_DOMAIN"
        return None

    def _token_problem(self) -> str | None:
        if not self.join_token_file:
            return None
        if self.join_token:
            return "KONSUL_RAFT_JOIN_TOKEN and KONSUL_RAFT_JOIN_TOKEN_FILE are both set: expected one of them"
        try:
            problem = _token(self.token())
        except OSError as error:
            return f"KONSUL_RAFT_JOIN_TOKEN_FILE {self.join_token_file} cannot be read: {error.strerror}"
        return None if problem is None else f"KONSUL_RAFT_JOIN_TOKEN_FILE holds no token: expected {problem}"


class RaftTlsSettings(Settings):
    """Certificates between nodes."""

    enabled: bool = setting(
        "KONSUL_RAFT_TLS_ENABLED",
        BOOL,
        default=False,
        doc="Nodes speak TLS 1.3 and show each other certificates (`konsulctl tls` makes them).",
    )
    cert_file: str = setting(
        "KONSUL_RAFT_TLS_CERT_FILE", TEXT, default="", doc="The node's certificate and those between, PEM."
    )
    key_file: str = setting("KONSUL_RAFT_TLS_KEY_FILE", TEXT, default="", doc="Its private key, PEM.")
    ca_file: str = setting(
        "KONSUL_RAFT_TLS_CA_FILE", TEXT, default="", doc="Who signs the certificates of nodes, PEM."
    )
    verify_peer: bool = setting(
        "KONSUL_RAFT_TLS_VERIFY_PEER",
        BOOL,
        default=True,
        doc="Accepted as true only.",
        check=must_be_on("nodes always verify each other"),
    )
    min_version: Literal["1.2", "1.3"] = setting(
        "KONSUL_RAFT_TLS_MIN_VERSION",
        one_of("1.2", "1.3"),
        default="1.3",
        doc="Accepted for compatibility: nodes speak TLS 1.3, which satisfies both.",
    )
    server_name: Literal["server.konsul"] = setting(
        "KONSUL_RAFT_TLS_SERVER_NAME",
        one_of("server.konsul"),
        default="server.konsul",
        doc="The name every node's certificate carries; there is no other.",
    )

    def problem(self) -> str | None:
        """All three files, and readable."""
        if not self.enabled:
            return None
        for name, path in (("CERT", self.cert_file), ("KEY", self.key_file), ("CA", self.ca_file)):
            if not path:
                return f"KONSUL_RAFT_TLS_{name}_FILE is empty: KONSUL_RAFT_TLS_ENABLED needs that file"
            try:
                with Path(path).open("rb") as file:
                    head = file.read(1 << 16)
            except OSError as error:
                return f"KONSUL_RAFT_TLS_{name}_FILE {path} cannot be read: {error.strerror}"
            if b"-----BEGIN " not in head:
                return f"KONSUL_RAFT_TLS_{name}_FILE {path} is not PEM"
        return None


class PeerAddresses:
    """Where one node listens and is found, decided from several groups of settings."""

    def __init__(self, cluster: ClusterSettings, tls: RaftTlsSettings) -> None:
        is_reachable = tls.enabled or cluster.allow_plaintext
        unset = f"{'0.0.0.0' if is_reachable else '127.0.0.1'}:{_PORT}"  # noqa: S104 - the documented default
        self.bind = cluster.bind_addr or unset
        self.advertise = cluster.advertise_addr or self.bind
        self.is_plaintext = not tls.enabled
        self.is_local = is_loopback(split_address(self.bind)[0])
        self._allowed = cluster.allow_plaintext

    def problem(self) -> str | None:
        """What is wrong with them, or None."""
        if is_unspecified(split_address(self.advertise)[0]):
            return (
                f"KONSUL_RAFT_ADVERTISE_ADDR is empty and KONSUL_RAFT_BIND_ADDR is {self.bind}: expected the "
                "address at which peers find this node"
            )
        if self.is_plaintext and not self.is_local and not self._allowed:
            return (
                f"KONSUL_RAFT_BIND_ADDR is {self.bind} and KONSUL_RAFT_TLS_ENABLED is off: expected TLS, a "
                "loopback address, or KONSUL_RAFT_ALLOW_PLAINTEXT=true"
            )
        return None
