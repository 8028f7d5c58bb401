"""The main job on real data: packages as keys, /etc/services as services, a SIGKILL, and everything
compared."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from konsul.client import AsyncClient, Client, Operation, Service
from konsul.errors import Conflict, KonsulError
from loadtests import compare, debian
from loadtests.compare import Differences
from tests.process import Server

PREFIX = "debian/"
SINGLES = 5_000
IN_FLIGHT = 16
UPDATES = 100
SETTINGS = {
    # Nobody sends heartbeats here: the catalog must outlive the run.
    "KONSUL_SERVICE_TTL": "24h",
    "KONSUL_LOG_LEVEL": "warn",
}
DIFFERENT, NOT_RUN = 1, 2


class Demo:
    """One run: what was sent, and the differences found so far."""

    def __init__(self, server: Server, sent: dict[str, bytes], services: list[Service], singles: int) -> None:
        self.server = server
        self.sent = sent
        self.services = services
        self.singles = singles
        self.differences = Differences()
        self.client = Client(f"http://127.0.0.1:{server.port}")

    def run(self) -> None:
        """Everything, in order."""
        self.store()
        self.register()
        self.read_back("read back")
        self.query()
        self.update()
        self.kill_and_compare()
        self.weigh()

    def store(self) -> None:
        """Some keys one by one with many requests in flight, the rest in batches."""
        pairs = list(self.sent.items())
        single, bulk = pairs[: self.singles], pairs[self.singles :]
        with told(f"stored {len(single)} keys one by one, {IN_FLIGHT} in flight", len(single), "keys"):
            asyncio.run(store_singly(self.client.settings.address, single))
        with told(f"stored {len(bulk)} keys in batches", len(bulk), "keys"):
            result = self.client.kv.set_many(bulk)
        self.differences.expect("keys stored in batches", result.count, len(bulk))

    def register(self) -> None:
        """Half of the services one by one, half in batches."""
        half = len(self.services) // 2
        with told(f"registered {len(self.services)} services", len(self.services), "services"):
            for one in self.services[:half]:
                self.client.services.register(one)
            result = self.client.services.register_many(self.services[half:])
        self.differences.tables("services refused", dict(result.failed), {})

    def read_back(self, when: str) -> None:
        """Every key by one listing, every key by batches, every service: all as sent."""
        with told(f"{when}: listed {len(self.sent)} keys with values", len(self.sent), "keys"):
            found = compare.rows(self.client, PREFIX)
        self.differences.tables(f"{when}, listed", compare.values(found), self.sent)
        with told(f"{when}: got {len(self.sent)} keys in batches", len(self.sent), "keys"):
            batch = self.client.kv.get_many(self.sent)
        self.differences.tables(f"{when}, got", batch.found, self.sent)
        services = compare.by_instance(self.client.services.list())
        self.differences.tables(f"{when}, services", services, compare.by_instance(self.services))

    def query(self) -> None:
        """Listings by prefix and by folder; services by tag and metadata."""
        client, differences = self.client, self.differences
        sections = {key.split("/")[1] for key in self.sent}
        folders = set(client.kv.keys(PREFIX, separator="/"))
        differences.expect("sections", folders, {f"{PREFIX}{section}/" for section in sections})
        for section in sorted(sections):
            prefix = f"{PREFIX}{section}/"
            expected = sorted((key for key in self.sent if key.startswith(prefix)), key=str.encode)
            differences.expect(f"keys of {prefix}", list(client.kv.keys(prefix)), expected)
        protocols = {one.tags[0] for one in self.services}
        for protocol in sorted(protocols):
            carrying = [one for one in self.services if protocol in one.tags]
            found = client.services.query(tags=[protocol, "etc-services"])
            what = f"services tagged {protocol}"
            differences.tables(what, compare.by_instance(found), compare.by_instance(carrying))
        for one in self.services[:: max(1, len(self.services) // 20)]:
            same = [other for other in self.services if other.meta["port"] == one.meta["port"]]
            found = client.services.query(meta={"port": one.meta["port"]})
            what = f"services on port {one.meta['port']}"
            differences.tables(what, compare.by_instance(found), compare.by_instance(same))
        print(f"queried {len(sections)} sections, {len(protocols)} protocols and a sample of ports")

    def update(self) -> None:
        """Compare-and-set on some keys: the first succeeds, the same again is refused; one in a
        transaction."""
        keys = list(itertools.islice(self.sent, 0, None, max(1, len(self.sent) // UPDATES)))
        for key in keys:
            index = self.client.kv.get(key).modify_index
            changed = self.sent[key] + b"\nKonsul: updated"
            self.client.kv.set(key, changed, cas=index)
            self.sent[key] = changed
            stale = refused(partial(self.client.kv.set, key, b"stale", cas=index))
            self.differences.expect(f"a stale compare-and-set on {key}", stale, True)
        first, last = keys[0], keys[-1]
        index = self.client.kv.get(first).modify_index
        self.client.transaction(
            [
                Operation("check", first, index=index),
                Operation("set", first, value=b"in one"),
                Operation("set", last, value=b"transaction"),
            ]
        )
        self.sent[first] = b"in one"
        self.sent[last] = b"transaction"
        print(f"updated {len(keys)} keys by compare-and-set, and 2 in a transaction")

    def kill_and_compare(self) -> None:
        """SIGKILL right after an acknowledged write, restart, and the same rows with the same indices."""
        before = compare.rows(self.client, PREFIX)
        last = self.client.kv.set(f"{PREFIX}last/word", b"acknowledged").modify_index
        self.sent[f"{PREFIX}last/word"] = b"acknowledged"
        self.server.kill()
        began_s = time.monotonic()
        self.server.start()
        print(f"killed with SIGKILL; ready again after {time.monotonic() - began_s:.2f} s")
        self.read_back("after the kill")
        after = compare.rows(self.client, PREFIX)
        self.differences.expect("the last word's index", after[f"{PREFIX}last/word"].modify_index, last)
        self.differences.tables("rows before and after the kill", {k: after.get(k) for k in before}, before)
        again = self.client.kv.set(f"{PREFIX}last/word", b"acknowledged").modify_index
        self.differences.expect("an index that was never used", again > last, True)

    def weigh(self) -> None:
        """What it costs."""
        assert self.server.process is not None
        sent_bytes = sum(len(key) + len(value) for key, value in self.sent.items())
        print(f"sent {mib(sent_bytes)} of keys and values")
        print(f"server memory {mib(resident_bytes(self.server.process.pid))} resident")
        print(f"data directory {mib(disk_bytes(self.server.data_dir))} on disk")


async def store_singly(address: str, pairs: list[tuple[str, bytes]]) -> None:
    """One request per key, IN_FLIGHT at a time."""
    waiting: Iterator[tuple[str, bytes]] = iter(pairs)
    async with AsyncClient(address) as client:

        async def worker() -> None:
            for key, value in waiting:
                await client.kv.set(key, value)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


def refused(write: Callable[[], object]) -> bool:
    """Whether a write ended in a conflict."""
    try:
        write()
    except Conflict:
        return True
    return False


@contextmanager
def told(what: str, count: int, unit: str) -> Iterator[None]:
    """Prints what was done, how long it took, and the rate."""
    began_s = time.monotonic()
    yield
    took_s = time.monotonic() - began_s
    print(f"{what}: {took_s:.2f} s, {count / max(took_s, 1e-9):,.0f} {unit}/s", flush=True)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def disk_bytes(folder: Path) -> int:
    """Blocks that the files of a folder take."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def mib(count_bytes: int) -> str:
    """Bytes for people."""
    return f"{count_bytes / 1_048_576:.1f} MiB"


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m loadtests.real_data", description=__doc__)
    parser.add_argument("--limit", type=int, metavar="N", help="at most N packages and N services")
    parser.add_argument("--singles", type=int, default=SINGLES, metavar="N", help="keys stored one by one")
    parser.add_argument("--packages", type=Path, metavar="FILE", help="instead of apt-cache dumpavail")
    parser.add_argument("--services", type=Path, default=debian.SERVICES, metavar="FILE")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="kept afterwards; default temporary")
    return parser.parse_args(argv)


def read(options: argparse.Namespace) -> tuple[dict[str, bytes], list[Service]]:
    """The input. Raises NoInput."""
    try:
        dump = options.packages.read_bytes() if options.packages else debian.dumpavail()
        lines = options.services.read_text(encoding="utf-8").splitlines()
    except OSError as cause:
        raise debian.NoInput(f"cannot read {cause.filename}: {cause.strerror}") from cause
    return debian.packages(dump, options.limit), debian.services(lines, options.limit)


def demonstrate(options: argparse.Namespace, folder: Path) -> int:
    """Runs it all; returns the exit code."""
    sent, services = read(options)
    print(f"read {len(sent)} packages and {len(services)} services")
    data_dir = options.data_dir or folder / "data"
    with Server(data_dir, SETTINGS, log=folder / "server.log") as server:
        demo = Demo(server, sent, services, min(options.singles, len(sent)))
        with demo.client:
            demo.run()
        status = server.stop()
        demo.differences.expect("exit status of the graceful stop", status, 0)
    for line in demo.differences.report():
        print(f"DIFFERENT {line}", file=sys.stderr)
    if demo.differences.found:
        return DIFFERENT
    print(f"everything is as it was sent: {len(sent)} keys, {len(services)} services")
    return 0


def main(argv: list[str]) -> int:
    """Exit codes: 0 all the same, 1 a difference or a refusal, 2 nothing to read."""
    options = parse(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="konsul-demo-") as folder:
            return demonstrate(options, Path(folder))
    except debian.NoInput as cause:
        print(f"Nothing to show: {cause}", file=sys.stderr)
        return NOT_RUN
    except (KonsulError, AssertionError) as cause:
        print(f"The demonstration failed: {cause}", file=sys.stderr)
        return DIFFERENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
