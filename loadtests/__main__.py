"""A bounded, headless load test with its report kept: `python -m loadtests`, `make loadtest`."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.process import Server

HERE = Path(__file__).resolve().parent
CLASSES = {"kv": "KvUser", "catalog": "CatalogUser", "mixed": "MixedUser"}
SHAPES = ("steps", "spike")
SHAPE_S = 60
SPARE_S = 60
SETTINGS = {"KONSUL_LOG_LEVEL": "warn"}


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m loadtests", description=__doc__)
    parser.add_argument("--host", help="a running server; without it one of its own in a temporary folder")
    parser.add_argument("--kinds", default="kv,catalog,mixed", help="which users, default kv,catalog,mixed")
    parser.add_argument("--users", type=int, default=30, help="how many, default 30")
    parser.add_argument("--seconds", type=int, default=30, help="for how long, default 30")
    parser.add_argument("--shape", choices=SHAPES, help="instead of --users and --seconds")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder, default reports")
    options = parser.parse_args(argv)
    unknown = set(options.kinds.split(",")) - set(CLASSES)
    if unknown:
        parser.error(f"unknown kinds {', '.join(sorted(unknown))}: choose from {', '.join(CLASSES)}")
    return options


def load(options: argparse.Namespace, host: str) -> int:
    """Runs locust; returns the exit code: 0 without any failed request, else 1."""
    options.reports.mkdir(parents=True, exist_ok=True)
    stem = options.reports / f"load-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    seconds = SHAPE_S if options.shape else options.seconds
    command = [
        *(sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--host", host),
        *("--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "1"),
        *("--users", str(options.users), "--spawn-rate", str(options.users)),
        *("--run-time", f"{seconds}s", "--stop-timeout", "10s"),
        *(
            "--html",
            f"{stem}.html",
            "--csv",
            str(stem),
            *(CLASSES[kind] for kind in options.kinds.split(",")),
        ),
    ]
    environment = {**os.environ, **({"KONSUL_LOAD_SHAPE": options.shape} if options.shape else {})}
    ended = subprocess.run(command, env=environment, timeout=seconds + SPARE_S, check=False)
    requests, failures = totals(Path(f"{stem}_stats.csv"))
    print(f"{requests} requests, {failures} failures; report {stem}.html")
    return 0 if ended.returncode == 0 and requests > 0 and failures == 0 else 1


def totals(file: Path) -> tuple[int, int]:
    """Requests and failures of a whole run, from locust's statistics."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows: list[Mapping[str, str]] = list(csv.DictReader(lines))
    whole = next(row for row in rows if row["Name"] == "Aggregated")
    return int(whole["Request Count"]), int(whole["Failure Count"])


def main(argv: list[str]) -> int:
    """Exit codes: 0 no failure, 1 a failed request or a server that did not stop cleanly."""
    options = parse(argv)
    if options.host:
        return load(options, options.host)
    with tempfile.TemporaryDirectory(prefix="konsul-load-") as folder:
        with Server(Path(folder) / "data", SETTINGS) as server:
            code = load(options, f"http://127.0.0.1:{server.port}")
            stopped = server.stop()
        if stopped != 0:
            print(f"the server ended with {stopped}:\n{server.output()[-4000:]}", file=sys.stderr)
        return code or int(stopped != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
