"""The worked example, run as it is documented: against a node of its own, and against one that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.shop.__main__ import free_port
from deploy.shop.plan import INSTANCES, NEEDS
from konsul.client import Client
from tests.conftest import SMALL, LiveServer
from tests.tidy.tree import ROOT

WITHIN_S = 280.0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.shop", *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
        encoding="utf-8",
        timeout=WITHIN_S,
    )


def registered(client: Client) -> tuple[int, int]:
    """How many instances and how many dependencies there are."""
    return len(client.services.list()), len(client.dependencies.graph().edges)


@pytest.mark.timeout(WITHIN_S + 10)
def test_the_shop_is_as_it_should_be_and_leaves_nothing_behind(tmp_path: Path) -> None:
    dns_port = free_port()
    settings = SMALL | {"KONSUL_DNS_ENABLED": "true", "KONSUL_DNS_PORT": str(dns_port)}
    with LiveServer(tmp_path / "data", settings) as server, Client(server.base_url) as client:
        ran = run("--server", server.base_url, "--dns", f"127.0.0.1:{dns_port}")
        assert ran.returncode == 0, ran.stdout + ran.stderr + server.output()[-2_000:]
        lines = ran.stdout.splitlines()
        assert lines[-1] == "all was as it should be"
        assert "80 requests: inventory-1 60, inventory-2 20" in lines
        assert "critical: inventory-1; 40 requests: inventory-2 40; DNS: inventory-2" in lines
        assert "storefront passing" in lines
        assert "payment: critical (0 of 1 serving)" in lines
        assert registered(client) == (0, 0)


def test_the_plan_names_only_services_that_there_are() -> None:
    assert {one for needed in NEEDS.values() for one in needed} <= set(NEEDS)
    assert {one.service for one in INSTANCES} == set(NEEDS)
    assert len({one.id for one in INSTANCES}) == len(INSTANCES)


def test_without_konsul_it_says_so_and_ends() -> None:
    ran = run("--server", f"http://127.0.0.1:{free_port()}")
    assert (ran.returncode, ran.stdout.splitlines()[-1:]) != (0, ["all was as it should be"])
    assert ran.stderr.startswith("failed: ")
    assert "Traceback" not in ran.stderr
