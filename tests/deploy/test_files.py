"""Compose file, image and unit name settings, programs and paths that exist."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from konsul.features import FEATURES
from konsul.kernel import settings
from konsul.kernel.config import declarations
from konsul.kernel.feature import load_all
from tests.tidy.tree import ROOT

DEPLOY = ROOT / "deploy"
DOCKER = DEPLOY / "docker"
VARIABLE = re.compile(r"\bKONSUL_[A-Z_]+\b")
KNOWN = set(declarations([*settings.GROUPS, *(f.config for f in load_all(FEATURES) if f.config is not None)]))
PROGRAMS = {"konsul", "konsulctl"}
NODES = ("n1", "n2", "n3")


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize(
    "path",
    ["docker/compose.yml", "docker/Dockerfile", "systemd/konsul.service", "systemd/konsul.env"],
)
def test_every_setting_exists(path: str) -> None:
    named = set(VARIABLE.findall((DEPLOY / path).read_text(encoding="utf-8")))
    assert named - KNOWN == set()


def test_the_nodes_of_the_compose_file_find_each_other() -> None:
    services = compose()["services"]
    assert set(services) == {"certs", *NODES}
    for name in NODES:
        environment = services[name]["environment"]
        assert environment["KONSUL_RAFT_NODE_ID"] == name
        assert environment["KONSUL_RAFT_ADVERTISE_ADDR"] == f"{name}:7000"
        assert environment["KONSUL_RAFT_JOIN"].split(",") == [f"{other}:7000" for other in NODES]
        assert environment["KONSUL_RAFT_BOOTSTRAP_EXPECT"] == str(len(NODES))
        assert environment["KONSUL_RAFT_TLS_ENABLED"] == "true"
        assert services[name]["depends_on"]["certs"]["condition"] == "service_completed_successfully"


def test_the_compose_file_shares_neither_data_nor_keys_and_opens_no_port_to_others() -> None:
    document = compose()
    used = [volume.split(":")[0] for name in NODES for volume in document["services"][name]["volumes"]]
    assert len(used) == len(set(used)), "a volume of two nodes"
    assert set(used) <= set(document["volumes"])
    assert not any(
        volume.startswith("ca:") for name in NODES for volume in document["services"][name]["volumes"]
    )
    ports = [port for name in NODES for port in document["services"][name]["ports"]]
    assert len(set(ports)) == len(NODES)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_certificates_are_made_before_and_found_where_the_nodes_look() -> None:
    document = compose()
    certs = document["services"]["certs"]
    assert certs["command"] == list(NODES)
    script = (DOCKER / "make-certs.sh").read_text(encoding="utf-8")
    assert f"./make-certs.sh:{certs['entrypoint'][1]}:ro" in certs["volumes"]
    for name, file in (("CA", "ca.pem"), ("CERT", "node.pem"), ("KEY", "node-key.pem")):
        environment = document["services"]["n1"]["environment"]
        assert environment[f"KONSUL_RAFT_TLS_{name}_FILE"] == f"/app/certs/{file}"
        assert file in script


def test_the_script_makes_each_certificate_once_and_renews_what_is_not_valid(tmp_path: Path) -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CERTS": str(tmp_path),
        "OWNER": f"{os.getuid()}:{os.getgid()}",
        "HOME": str(tmp_path),
    }

    def make() -> dict[str, bytes]:
        command = ["sh", str(DOCKER / "make-certs.sh"), "n1", "n2"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.pem")}

    first = make()
    names = {f"{node}/{file}" for node in ("n1", "n2") for file in ("ca.pem", "node.pem", "node-key.pem")}
    assert set(first) == names | {"ca/konsul-ca.pem", "ca/konsul-ca-key.pem"}
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in first)
    assert make() == first
    (tmp_path / "n1" / "node.pem").write_text("not valid")
    again = make()
    assert {name for name in first if first[name] != again[name]} == {"n1/node.pem", "n1/node-key.pem"}


def test_the_image_has_the_probe_that_is_asked_for() -> None:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    assert 'CMD ["konsulctl", "health", "live"' in text
    assert 'ENTRYPOINT ["konsul"]' in text
    assert "--interval=30s --timeout=3s --start-period=5s --retries=3" in text
    probes = [compose()["services"][name]["healthcheck"]["test"] for name in NODES]
    assert all(probe[:4] == ["CMD", "konsulctl", "health", "ready"] for probe in probes)


def test_what_the_image_is_built_from_is_in_the_repository() -> None:
    kept = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    wanted = [line[1:] for line in kept if line.startswith("!")]
    assert {"core", "ext", "python", "pyproject.toml", "Cargo.toml", "Cargo.lock"} <= set(wanted)
    assert [name for name in wanted if not (ROOT / name).exists()] == []


def test_the_unit_runs_as_nobody_special_and_may_do_nothing_special() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "konsul.service", encoding="utf-8")
    service = unit["Service"]
    assert service["User"] == "konsul"
    assert service["CapabilityBoundingSet"] == ""
    assert service["Type"] == "exec"
    assert service["ExecStart"].rpartition("/")[2] in PROGRAMS
    hardening = ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute")
    assert {service[name] for name in hardening} == {"true"}
    data = (DEPLOY / "systemd" / "konsul.env").read_text(encoding="utf-8")
    assert f"KONSUL_DATA_DIR=/var/lib/{service['StateDirectory']}\n" in data
    assert service["EnvironmentFile"] == f"/etc/{service['ConfigurationDirectory']}/konsul.env"
