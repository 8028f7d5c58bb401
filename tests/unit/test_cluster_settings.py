"""The settings of a cluster: each works or is refused with its name, its value and the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.config import Config, ConfigError, load
from konsul.kernel.notices import ALIASES, notices
from konsul.kernel.settings import GROUPS, RaftSettings
from konsul.server import cluster_mode
from konsul.server.arguments import parse
from konsul.server.main import engine_options

ON = {"KONSUL_RAFT_ENABLED": "true", "KONSUL_RAFT_NODE_ID": "n1"}


def loaded(**settings: str) -> Config:
    environ = {f"KONSUL_{name}": text for name, text in settings.items()}
    config = load(GROUPS, environ=ON | environ, notice=notices, aliases=ALIASES)
    cluster_mode.check(config)
    return config


def pem(folder: Path) -> dict[str, str]:
    """Three files that look like PEM."""
    found = {}
    for name in ("CERT", "KEY", "CA"):
        file = folder / f"{name}.pem"
        file.write_text("-----BEGIN SOMETHING-----\n")
        found[f"RAFT_TLS_{name}_FILE"] = str(file)
    return found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RAFT_NODE_ID": ""}, "KONSUL_RAFT_NODE_ID is empty"),
        ({"RAFT_NODE_ID": "-a"}, "KONSUL_RAFT_NODE_ID is '-a'"),
        ({"RAFT_BIND_ADDR": "10.0.0.1"}, "expected host:port"),
        ({"RAFT_BIND_ADDR": "10.0.0.1:7000"}, "expected TLS, a loopback address, or KONSUL_RAFT_ALLOW"),
        ({"RAFT_ALLOW_PLAINTEXT": "true"}, "KONSUL_RAFT_ADVERTISE_ADDR is empty"),
        ({"RAFT_ADVERTISE_ADDR": "[::]:7000"}, "KONSUL_RAFT_ADVERTISE_ADDR is [::]:7000"),
        ({"RAFT_BOOTSTRAP": "true", "RAFT_BOOTSTRAP_EXPECT": "3"}, "are both set"),
        ({"RAFT_BOOTSTRAP": "true", "RAFT_PEERS": "n2@h:7000"}, "does not name this node, n1"),
        ({"RAFT_PEERS": "n1@h:7000,n1@i:7000"}, "names a member twice"),
        ({"RAFT_PEERS": "n1"}, "expected members id@host:port"),
        ({"RAFT_BOOTSTRAP": "true", "RAFT_READ_ONLY": "true"}, "KONSUL_RAFT_READ_ONLY is on"),
        ({"RAFT_BOOTSTRAP_EXPECT": "8"}, "expected 0 to 7"),
        ({"RAFT_JOIN_TOKEN_FILE": "nowhere"}, "KONSUL_RAFT_JOIN_TOKEN_FILE nowhere cannot be read"),
        ({"RAFT_JOIN_TOKEN": "12345678", "RAFT_JOIN_TOKEN_FILE": "f"}, "are both set"),
        ({"RAFT_TLS_ENABLED": "true"}, "KONSUL_RAFT_TLS_CERT_FILE is empty"),
        ({"RAFT_TLS_VERIFY_PEER": "false"}, "expected true: nodes always verify each other"),
        ({"RAFT_TLS_MIN_VERSION": "1.1"}, "expected one of 1.2, 1.3"),
        ({"RAFT_DISCOVERY_METHOD": "aws"}, "expected one of static, dns"),
        ({"RAFT_DISCOVERY_METHOD": "dns"}, "expected a KONSUL_RAFT_DISCOVERY_DNS_DOMAIN"),
        ({"RAFT_STEPDOWN_ON_PARTITION": "false"}, "a leader without a quorum always steps down"),
        ({"RAFT_SNAPSHOT_CHECKSUM_ALGORITHM": "sha256"}, "expected one of crc32c"),
        ({"RAFT_LOG_LEVEL": "trace"}, "expected one of debug, info, warn, error"),
        (
            {"RAFT_HEARTBEAT_TIMEOUT": "1s", "RAFT_ELECTION_TIMEOUT": "1s"},
            "KONSUL_RAFT_HEARTBEAT_TIMEOUT (1s) is over a fifth of KONSUL_RAFT_ELECTION_TIMEOUT (1s)",
        ),
        (
            {"RAFT_PROFILE": "fast", "RAFT_LEADER_LEASE_TIMEOUT": "500ms"},
            "KONSUL_RAFT_LEADER_LEASE_TIMEOUT (500ms) is over KONSUL_RAFT_ELECTION_TIMEOUT (300ms)",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_names_and_values(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        loaded(**settings)


def test_a_token_is_never_shown_and_never_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(**{"RAFT_JOIN_TOKEN": "hushh"})
    assert "hushh" not in str(refused.value)
    known = {one.env: one for one in ClusterSettings.declarations.values()}
    for words in (["--raft-join-token", "secret-secret"], ["--raft-join-token=secret-secret"]):
        with pytest.raises(SystemExit):
            parse(words, known)
        said = capsys.readouterr().err
        assert "--raft-join-token is a secret" in said
        assert "secret-secret" not in said


def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-long-secret\n")
    assert loaded(RAFT_JOIN_TOKEN_FILE=str(file)).of(ClusterSettings).token() == "a-long-secret"
    file.write_text("short")
    with pytest.raises(ConfigError, match="holds no token: expected 8 to 512"):
        loaded(RAFT_JOIN_TOKEN_FILE=str(file))


def test_without_a_word_peers_are_spoken_to_on_loopback_only() -> None:
    found = cluster_mode.options(loaded())
    assert (found["bind_addr"], found["advertise_addr"]) == ("127.0.0.1:7000", "127.0.0.1:7000")
    assert (found["node_id"], found["node_name"], found["allow_plaintext"]) == (0, "n1", True)
    assert found["http_addr"] == "http://127.0.0.1:8888"


def test_with_certificates_every_interface_is_listened_on(tmp_path: Path) -> None:
    config = loaded(RAFT_TLS_ENABLED="true", RAFT_ADVERTISE_ADDR="10.0.0.1:7000", HOST="::", **pem(tmp_path))
    found = cluster_mode.options(config)
    assert (found["bind_addr"], found["allow_plaintext"]) == ("0.0.0.0:7000", False)
    assert found["tls_cert_file"].endswith("CERT.pem")
    assert found["http_addr"] == "http://10.0.0.1:8888"
    (tmp_path / "CA.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="is not PEM"):
        loaded(RAFT_TLS_ENABLED="true", RAFT_ADVERTISE_ADDR="10.0.0.1:7000", **pem_paths(tmp_path))


def pem_paths(folder: Path) -> dict[str, str]:
    return {f"RAFT_TLS_{name}_FILE": str(folder / f"{name}.pem") for name in ("CERT", "KEY", "CA")}


def test_plaintext_beyond_this_machine_is_warned_of() -> None:
    config = loaded(RAFT_BIND_ADDR="10.0.0.1:7000", RAFT_ALLOW_PLAINTEXT="true", HOST="10.0.0.1")
    with capture_logs() as said:
        cluster_mode.announce(config)
    assert [line["event"][:24] for line in said if line["log_level"] == "warning"] == [
        "peers speak in the clear"
    ]
    assert said[0]["advertise_addr"] == "10.0.0.1:7000"


def test_the_fast_profile_only_fills_in_what_is_not_set() -> None:
    fast = loaded(RAFT_PROFILE="fast").of(RaftSettings)
    assert (fast.heartbeat_ms, fast.election_ms, fast.lease_ms) == (50, 300, 300)
    own = loaded(RAFT_PROFILE="fast", RAFT_ELECTION_TIMEOUT="2s").of(RaftSettings)
    assert (own.heartbeat_ms, own.election_ms) == (50, 2_000)
    usual = engine_options(loaded())
    assert (usual.heartbeat_ms, usual.election_ms) == (100, 1_000)


@pytest.mark.parametrize(
    ("settings", "expect"),
    [
        ({"RAFT_PEERS": "n1@a:1,n2@b:1,n3@c:1"}, 3),
        ({"RAFT_PEERS": "n2@b:1,n3@c:1"}, 0),
        ({"RAFT_PEERS": "n1@a:1,n2@b:1", "RAFT_JOIN": "b:1"}, 0),
        ({"RAFT_PEERS": "n1@a:1,n2@b:1", "RAFT_BOOTSTRAP": "true"}, 0),
        ({"RAFT_BOOTSTRAP_EXPECT": "5"}, 5),
    ],
)
def test_listed_peers_form_a_cluster_when_nothing_else_is_said(settings: dict[str, str], expect: int) -> None:
    assert loaded(**settings).of(ClusterSettings).expect == expect


def test_old_names_are_read_and_named() -> None:
    environ = {
        "KONSUL_CLUSTER_ENABLED": "true",
        "KONSUL_NODE_ID": "old",
        "KONSUL_RAFT_NODE_ID": "new",
        "KONSUL_RAFT_LISTEN_ADDR": "127.0.0.1:7009",
    }
    config = load(GROUPS, environ=environ, notice=notices, aliases=ALIASES)
    cluster = config.of(ClusterSettings)
    assert (cluster.enabled, cluster.node_id, cluster.bind_addr) == (True, "new", "127.0.0.1:7009")
    assert config.notices == (
        "KONSUL_CLUSTER_ENABLED is an old name: read as KONSUL_RAFT_ENABLED",
        "KONSUL_NODE_ID is an old name: not read, because KONSUL_RAFT_NODE_ID is set",
        "KONSUL_RAFT_LISTEN_ADDR is an old name: read as KONSUL_RAFT_BIND_ADDR",
    )


def test_a_single_node_says_what_it_does_not_use() -> None:
    config = load(GROUPS, environ={"KONSUL_RAFT_NODE_ID": "n1", "KONSUL_RAFT_DATA_DIR": "elsewhere"})
    assert cluster_mode.options(config) == {}
    assert cluster_mode.data_dir(config, "here") == "here"
    with capture_logs() as said:
        cluster_mode.announce(config)
    assert said[0]["settings"] == ["KONSUL_RAFT_DATA_DIR", "KONSUL_RAFT_NODE_ID"]


@pytest.mark.parametrize(
    "address", ["h:0", "h:65536", ":7000", "a b:1", "[::1:7000", "::1:7000", "-a:1", "h:"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="KONSUL_RAFT_BIND_ADDR"):
        loaded(RAFT_BIND_ADDR=address)


@pytest.mark.parametrize("address", ["localhost:1", "[::1]:7000", "127.0.0.1:65535"])
def test_addresses_of_this_machine_need_no_certificates(address: str) -> None:
    assert cluster_mode.options(loaded(RAFT_BIND_ADDR=address))["bind_addr"] == address
