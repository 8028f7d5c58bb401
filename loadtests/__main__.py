"""A bounded, headless load test with its report kept: `python -m loadtests`, `make loadtest`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.process import Server

HERE = Path(__file__).resolve().parent
CLASSES = {
    "kv": "KvUser",
    "catalog": "CatalogUser",
    "mixed": "MixedUser",
    "sse": "SseUser",
    "websocket": "WebSocketUser",
    "graphql": "GraphqlUser",
}
SHAPES = ("steps", "spike")
SHAPE_S = 60
SPARE_S = 60
SETTINGS = {"KONSUL_LOG_LEVEL": "warn"}


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m loadtests", description=__doc__)
    parser.add_argument("--host", help="a running server; without it one of its own in a temporary folder")
    every = ",".join(CLASSES)
    parser.add_argument("--kinds", default=every, help=f"which users, default {every}")
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
    fixed = "--headless --only-summary --loglevel WARNING --exit-code-on-error 1 --stop-timeout 10s"
    crowd = f"--users {options.users} --spawn-rate {options.users} --run-time {seconds}s"
    command = [
        *(sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--host", host),
        *("--html", f"{stem}.html", "--csv", str(stem), "--json-file", str(stem)),
        *fixed.split(),
        *([] if options.shape else crowd.split()),
        *(CLASSES[kind] for kind in options.kinds.split(",")),
    ]
    environment = {**os.environ, **({"KONSUL_LOAD_SHAPE": options.shape} if options.shape else {})}
    ended = subprocess.run(command, env=environment, timeout=seconds + SPARE_S, check=False)
    entries = statistics(Path(f"{stem}.json"))
    for line in table(entries):
        print(line)
    requests = sum(one["num_requests"] for one in entries)
    failures = sum(one["num_failures"] for one in entries)
    if failures:
        print(Path(f"{stem}_failures.csv").read_text(), file=sys.stderr)
    print(
        f"{requests} requests, {failures} failures, locust's exit code {ended.returncode}; report {stem}.html"
    )
    return 0 if ended.returncode == 0 and requests > 0 and failures == 0 else 1


def statistics(file: Path) -> list[dict[str, Any]]:
    """Locust's final statistics, one entry per route; none when it did not get that far."""
    return list(json.loads(file.read_text())) if file.exists() else []


def table(entries: list[dict[str, Any]]) -> Iterator[str]:
    """The statistics for people; times in ms."""
    yield f"{'route':<44}{'requests':>9}{'failures':>9}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}"
    for one in sorted(entries, key=lambda one: -one["num_requests"]):
        times = {float(ms): count for ms, count in one["response_times"].items()}
        half, most = percentile(times, 0.5), percentile(times, 0.99)
        name = f"{one['method']} {one['name']}"
        yield (
            f"{name:<44}{one['num_requests']:>9}{one['num_failures']:>9}"
            f"{half:>8.0f}{most:>8.0f}{one['max_response_time']:>8.0f}"
        )


def percentile(times: Mapping[float, int], share: float) -> float:
    """The time in ms that `share` of the requests needed at most; 0 without requests."""
    wanted = share * sum(times.values())
    seen = 0
    for ms in sorted(times):
        seen += times[ms]
        if seen >= wanted:
            return ms
    return 0.0


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
