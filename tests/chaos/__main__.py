"""`python -m tests.chaos --kills 200`: the long form of the test; its seed repeats a run."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="konsul-chaos-") as folder:
        outcome = run(Path(folder), given.kills, seed, progress)
    print(outcome)
    return 1 if outcome.problems else 0


def progress(kills: int, acknowledged: int) -> None:
    if kills % 20 == 0:
        print(f"{kills} kills, {acknowledged} writes acknowledged", flush=True)


if __name__ == "__main__":
    sys.exit(main())
