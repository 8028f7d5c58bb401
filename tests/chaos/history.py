"""What clients of a cluster did and were told, one operation a line, and the judge of it.

The format and the judge belong to `core/sim`, which checks its simulated histories with the same program.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
BUILD_MAX_S = 900
JUDGE_MAX_S = 900
Kind = Literal["put", "get", "cas", "delete"]
Outcome = Literal["ok", "fail", "unknown"]


def now_us() -> int:
    """The one clock of all clients."""
    return time.monotonic_ns() // 1_000


@dataclass
class Operation:
    """One operation; `outcome` fail: it certainly had no effect, unknown: it may have one at any time."""

    client: str
    op: Kind
    key: str
    arg: str = ""
    expect_index: int = 0
    start_us: int = 0
    end_us: int | None = None
    outcome: Outcome = "unknown"
    value: str | None = None
    index: int | None = None

    def ended(self, outcome: Outcome, *, value: str | None = None, index: int | None = None) -> None:
        self.end_us, self.outcome, self.value, self.index = now_us(), outcome, value, index


class History:
    """Operations in a file, written as they begin to be known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[tuple[Kind, Outcome]] = Counter()
        self._file = path.open("w", encoding="utf-8")

    def record(self, operation: Operation) -> None:
        self.counts[operation.op, operation.outcome] += 1
        self._file.write(json.dumps(asdict(operation)) + "\n")

    def close(self) -> None:
        self._file.close()

    def outcomes(self, outcome: Outcome) -> int:
        return sum(count for (_, found), count in self.counts.items() if found == outcome)


def judge_program() -> Path:
    """The checker of `core/sim`, built first if that is needed."""
    command = ["cargo", "build", "--locked", "--quiet", "-p", "konsul-sim", "--bin", "check-history"]
    command += ["--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_MAX_S, check=False)
    assert done.returncode == 0, f"check-history does not build:\n{done.stderr[-4000:]}"
    for line in done.stdout.splitlines():
        built = json.loads(line)
        if built.get("executable") and built.get("target", {}).get("name") == "check-history":
            return Path(built["executable"])
    raise AssertionError("cargo does not say where check-history is")


def judge(program: Path, path: Path) -> str | None:
    """None if the history in the file is linearizable, else why it is not or why nobody can tell."""
    done = subprocess.run(
        [str(program), str(path)], capture_output=True, text=True, timeout=JUDGE_MAX_S, check=False
    )
    return None if done.returncode == 0 else (done.stdout + done.stderr).strip()
