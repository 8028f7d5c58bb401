"""The short form of the lock run of `make chaos`, its judge judged, and a holder that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from konsul.client import Client
from tests.chaos.lock_history import Belief, Guarded, judge
from tests.chaos.lock_run import run
from tests.cluster.harness.cluster import Cluster
from tests.waiting import until

SEED = 20261122
SECONDS = 15.0


@pytest.mark.timeout(600)
def test_locks_under_all_faults_exclude_and_their_tokens_only_rise(tmp_path: Path) -> None:
    outcome = run(tmp_path, SECONDS, SEED, contenders=4)
    assert outcome.problems == [], str(outcome)
    assert outcome.counts["held"] > 1, f"hardly a lock was held: the run proves nothing: {outcome}"
    assert outcome.counts["written"] > 3, str(outcome)
    assert outcome.faults.total() > 0, str(outcome)


A = Belief("a", "k", "s1", 5, 10, 20)
B = Belief("b", "k", "s2", 6, 21, 30)


def test_the_judge_accepts_one_holder_after_the_other() -> None:
    elsewhere = Belief("c", "other", "s3", 1, 15, 25)
    assert judge([B, A, elsewhere], [Guarded("a", "k", 5, 100), Guarded("b", "k", 6, 101)]) == []


@pytest.mark.parametrize(
    "later",
    [
        Belief("b", "k", "s2", 6, 20, 30),
        Belief("b", "k", "s2", 6, 12, 13),
        Belief("b", "k", "s2", 5, 21, 30),
        Belief("b", "k", "s2", 4, 21, 30),
    ],
    ids=["at one moment", "in between", "same token", "lower token"],
)
def test_the_judge_sees_two_holders_and_tokens_that_do_not_rise(later: Belief) -> None:
    assert len(judge([A, later], [])) == 1


def test_the_judge_sees_a_late_write_of_a_former_holder() -> None:
    writes = [Guarded("b", "k", 6, 101), Guarded("a", "k", 5, 102)]
    assert len(judge([A, B], writes)) == 1


HOLDER = """
import sys
from konsul.client import Client
with Client(sys.argv[1]) as client, client.lock("crown", ttl="3s", lock_delay="500ms", value="first") as held:
    print(held.lock_index, flush=True)
    held.lost.wait()
"""


@pytest.mark.timeout(300)
def test_whoever_is_killed_loses_his_lock_also_when_the_leader_is_killed_with_him(tmp_path: Path) -> None:
    settings = {"KONSUL_SESSION_TTL_MIN": "500ms"}
    with Cluster(tmp_path, 3, settings=settings, through_links=False) as cluster:
        leader = cluster.until_leader()
        addresses = ",".join(node.base_url for node in cluster.followers())
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, addresses], stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            token = int(holder.stdout.readline())
            with Client(addresses) as client:
                first = client.kv.get("crown")
                assert (first.lock_index, first.text) == (token, "first")
                holder.send_signal(signal.SIGKILL)
                leader.kill()
                cluster.until_leader(besides=leader)
                with client.lock("crown", ttl="10s", wait="60s", value="second") as held:
                    freed = client.kv.get("crown")
                    assert held.lock_index == freed.lock_index == token + 1
                    # Its session ended, its delay passed, and only then was it given to somebody else.
                    assert freed.session == held.session != first.session
                    assert freed.modify_index > first.modify_index
                until(lambda: not list(client.sessions.list()), "no session to be left")
        finally:
            holder.kill()
            holder.wait()
            if holder.stdout is not None:
                holder.stdout.close()
