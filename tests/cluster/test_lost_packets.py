"""Packets that are really lost, where the kernel lets a test have networks; else the same over cut links."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import lost_packets
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.namespaces import may_make_networks

ROOT = Path(__file__).resolve().parents[2]
STORY_MAX_S = 280


@pytest.mark.timeout(300)
def test_a_cluster_whose_packets_are_lost_goes_on_and_reads_nothing_old(tmp_path: Path) -> None:
    if may_make_networks():
        command = ["unshare", "-rn", sys.executable, "-m", "tests.cluster.lost_packets", str(tmp_path / "c")]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=STORY_MAX_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return
    with Cluster(tmp_path / "c") as cluster:
        assert cluster.links is not None
        lost_packets.tell(cluster, cluster.links)
