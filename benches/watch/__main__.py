"""Prints what watchers cost and how soon they know. `make watchers` runs all of it, a few minutes."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benches import release, wrk
from benches.served import Served, send
from benches.watch import costs, exact, fanout, stuck
from benches.watch.listening import compiled, many_files

CASES = ("fanout", "cpu", "memory", "exact", "stuck")
SETTINGS = {"KONSUL_WATCH_MAX_PER_CLIENT": "0", "KONSUL_LOG_LEVEL": "warn"}


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; the defaults are what the project's budgets speak of."""
    parser = argparse.ArgumentParser("python -m benches.watch", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help=f"default {','.join(CASES)}")
    parser.add_argument("--watchers", type=int, default=10_000, help="of fanout, cpu and memory")
    parser.add_argument("--some", type=int, default=1_000, help="watchers of exact and stuck")
    parser.add_argument("--writes", type=int, default=40, help="of fanout and stuck")
    parser.add_argument("--rate", type=int, default=1_000, help="writes per second of exact")
    parser.add_argument("--seconds", type=int, default=60, help="of exact")
    parser.add_argument("--rounds", type=int, default=7, help="of cpu")
    parser.add_argument("--round-seconds", type=int, default=5, help="of cpu")
    parser.add_argument("--reports", type=Path, default=release.REPORTS, help="folder, default reports")
    options = parser.parse_args(argv)
    options.cases = options.cases.split(",")
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown cases {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    return options


class Bench:
    """Each case has a server of its own, so that none inherits another's memory."""

    def __init__(self, interpreter: str, folder: Path, options: argparse.Namespace) -> None:
        self._interpreter = interpreter
        self._folder = folder
        self._options = options

    def case(self, name: str) -> list[tuple[str, int]]:
        """The figures of one case in words, and how much of it went wrong."""
        run: dict[str, Callable[[], list[tuple[str, int]]]] = {
            "fanout": self._fanout,
            "cpu": self._cpu,
            "memory": self._memory,
            "exact": self._exact,
            "stuck": self._stuck,
        }
        return run[name]()

    def _served(self, name: str, **settings: str) -> tuple[Path, Served, str]:
        folder = self._folder / name
        folder.mkdir()
        compiled(folder)
        return folder, *release.konsul(self._interpreter, folder, SETTINGS | settings)

    def _fanout(self) -> list[tuple[str, int]]:
        folder, served, url = self._served("fanout")
        with served:
            options = self._options
            found = asyncio.run(fanout.measure(folder, served, url, options.watchers, options.writes))
        return [(str(found), found.spread.wrong)]

    def _cpu(self) -> list[tuple[str, int]]:
        wrk.need()
        folder, served, url = self._served("cpu")
        with served:
            found = costs.cpu(
                folder, served, url, self._options.watchers, self._options.rounds, self._options.round_seconds
            )
        return [(str(found), found.bad)]

    def _memory(self) -> list[tuple[str, int]]:
        found = []
        for kind in ("sse", "ws"):
            folder, served, url = self._served(f"memory-{kind}")
            with served:
                found.append(costs.memory(folder, served, url, self._options.watchers, kind, _a_write(url)))
        return [(str(one), 0) for one in found]

    def _exact(self) -> list[tuple[str, int]]:
        folder, served, url = self._served("exact")
        options = self._options
        with served:
            found = asyncio.run(exact.measure(folder, url, options.some, options.rate, options.seconds))
        return [(str(found), len(found.wrong))]

    def _stuck(self) -> list[tuple[str, int]]:
        folder, served, url = self._served("stuck", KONSUL_WATCH_WRITE_TIMEOUT="5s")
        with served:
            found = asyncio.run(stuck.measure(folder, served, url, self._options.some, self._options.writes))
        return [(str(found), found.wrong)]


def _a_write(url: str) -> Callable[[], None]:
    def write() -> None:
        send("PUT", f"{url}/kv/warm/up", b'{"value":"now"}')

    return write


def main(argv: list[str]) -> int:
    """Exit codes: 0 measured, 1 a watcher missed something or a request failed."""
    options = parse(argv)
    many_files()
    interpreter = release.python()
    options.reports.mkdir(exist_ok=True)
    wrong = 0
    page = [f"# Watchers\n\n{os.cpu_count()} cores shared with the watchers and the writers.\n"]
    print(page[0], flush=True)
    with tempfile.TemporaryDirectory(dir=options.reports, prefix=".watch-") as folder:
        bench = Bench(interpreter, Path(folder), options)
        for name in options.cases:
            for words, bad in bench.case(name):
                wrong += bad
                page.append(f"- **{name}**: {words}")
                print(page[-1], flush=True)
    (options.reports / "watch.md").write_text("\n".join(page) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
