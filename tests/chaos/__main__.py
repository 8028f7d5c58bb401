"""`python -m tests.chaos --kills 200` one node, `--seconds 600` a cluster, `--locks 300` its locks: the long
form of the tests."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos import cluster_run, lock_run
from tests.chaos.run import run

KEPT = Path(__file__).resolve().parents[2] / "reports"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="so many SIGKILLs of one node among writers")
    parser.add_argument("--seconds", type=float, default=0, help="so long all faults on a cluster")
    parser.add_argument("--locks", type=float, default=0, help="so long all faults among holders of locks")
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes the cluster has")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    is_broken = False
    if given.seconds:
        is_broken = not of_a_cluster(given.seconds, given.nodes, seed)
    if given.locks:
        is_broken = not of_locks(given.locks, given.nodes, seed) or is_broken
    if given.kills:
        with tempfile.TemporaryDirectory(prefix="konsul-chaos-") as folder:
            outcome = run(Path(folder), given.kills, seed, progress)
        print(outcome)
        is_broken = is_broken or bool(outcome.problems)
    return 1 if is_broken else 0


def of_a_cluster(seconds: float, nodes: int, seed: int) -> bool:
    """Whether every promise was kept. The history of a run that broke one stays in `reports`."""
    with tempfile.TemporaryDirectory(prefix="konsul-chaos-") as folder:
        outcome = cluster_run.run(Path(folder), seconds, seed, size=nodes, progress=tell)
        if outcome.problems:
            KEPT.mkdir(exist_ok=True)
            kept = KEPT / f"chaos-{seed}.jsonl"
            kept.write_bytes((Path(folder) / "history.jsonl").read_bytes())
            for log in Path(folder).glob("cluster/*.log"):
                (KEPT / f"chaos-{seed}-{log.name}").write_bytes(log.read_bytes())
            print(f"the history and the logs are kept: {kept}")
    print(outcome)
    return not outcome.problems


def of_locks(seconds: float, nodes: int, seed: int) -> bool:
    """As `of_a_cluster`, for who holds locks."""
    with tempfile.TemporaryDirectory(prefix="konsul-chaos-") as folder:
        outcome = lock_run.run(Path(folder), seconds, seed, size=nodes, progress=tell)
        if outcome.problems:
            KEPT.mkdir(exist_ok=True)
            kept = KEPT / f"locks-{seed}.jsonl"
            kept.write_bytes((Path(folder) / "locks.jsonl").read_bytes())
            print(f"the history is kept: {kept}")
    print(outcome)
    return not outcome.problems


def tell(text: str) -> None:
    print(text, flush=True)


def progress(kills: int, acknowledged: int) -> None:
    if kills % 20 == 0:
        print(f"{kills} kills, {acknowledged} writes acknowledged", flush=True)


if __name__ == "__main__":
    sys.exit(main())
