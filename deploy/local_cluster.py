"""Some nodes of one cluster on this machine, in the foreground; Ctrl-C stops them all. `make cluster`.

A node that ends is not started again by this program, so that one can kill a node and see what the others do.
The line that starts it again, from another terminal, is printed at its end.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HTTP_PORT = 8888
RAFT_PORT = 7001
DNS_PORT = 8600
MOST_NODES = 7
FORM_S = 60.0
STOP_S = 30.0
POLL_S = 0.2


@dataclass(frozen=True)
class Place:
    """Where one node is: its name, its ports on loopback, its data directory."""

    name: str
    http_port: int
    raft_port: int
    dns_port: int
    """0: any that is free, told in its log."""
    data: Path

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.http_port}"


def places(
    count: int,
    folder: Path,
    http_port: int = HTTP_PORT,
    raft_port: int = RAFT_PORT,
    dns_port: int = DNS_PORT,
) -> list[Place]:
    """`count` nodes n1, n2, ... on consecutive ports, each with a folder below `folder`."""
    found = []
    for number in range(count):
        name, dns = f"n{number + 1}", dns_port + number if dns_port else 0
        found.append(Place(name, http_port + number, raft_port + number, dns, folder / name))
    return found


def command(place: Place, all_of_them: Sequence[Place]) -> list[str]:
    """The one command that runs a node. The same for every start: an old member finds its cluster itself."""
    others = ",".join(f"127.0.0.1:{one.raft_port}" for one in all_of_them if one is not place)
    flags = {
        "--port": str(place.http_port),
        "--dns-port": str(place.dns_port),
        "--data-dir": str(place.data),
        "--raft-enabled": "true",
        "--raft-node-id": place.name,
        "--raft-bind-addr": f"127.0.0.1:{place.raft_port}",
        "--raft-bootstrap-expect": str(len(all_of_them)),
    }
    joined = {"--raft-join": others} if others else {}
    return ["konsul", *(word for pair in (flags | joined).items() for word in pair)]


def start(place: Place, all_of_them: Sequence[Place], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts one node; what it logs goes to `<data>.log`, so that this terminal stays readable."""
    place.data.parent.mkdir(parents=True, exist_ok=True)
    with place.data.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "konsul.server", *command(place, all_of_them)[1:]],
            env={"KONSUL_HOST": "127.0.0.1", **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to this program alone, which then stops the nodes in its own way.
            start_new_session=True,
        )


def until_formed(nodes: Mapping[Place, subprocess.Popen[bytes]], stop: threading.Event) -> bool:
    """Whether the nodes had a leader within a minute; says who leads."""
    from konsul.client import Client, Policy, Settings
    from konsul.errors import KonsulError

    first = next(iter(nodes))
    end_s = time.monotonic() + FORM_S
    with Client(Settings(first.url, policy=Policy(deadline_s=5.0, retries=0))) as client:
        while time.monotonic() < end_s and not stop.is_set():
            if any(process.poll() is not None for process in nodes.values()):
                return False
            try:
                leader = client.cluster.leader()
                print(f"{leader['leader_id']} leads", flush=True)
                return True
            except KonsulError:
                stop.wait(POLL_S)
    return False


def tell_why(nodes: Mapping[Place, subprocess.Popen[bytes]]) -> None:
    """Which nodes ended, and the last thing each of them logged; else where the logs are."""
    ended = [place for place, process in nodes.items() if process.poll() is not None]
    for place in ended:
        lines = place.data.with_suffix(".log").read_text("utf-8", "replace").splitlines()
        print(f"{place.name} ended: {lines[-1] if lines else 'it said nothing'}", file=sys.stderr)
    if not ended:
        print(f"no leader in {FORM_S:g} s: see the logs beside the data directories", file=sys.stderr)


def watch(nodes: Mapping[Place, subprocess.Popen[bytes]], stop: threading.Event) -> int:
    """Until `stop`, or until no node is left; says which ones end. The exit status."""
    alive = dict(nodes)
    while alive and not stop.wait(POLL_S):
        for place, process in list(alive.items()):
            if process.poll() is not None:
                del alive[place]
                again = shlex.join(command(place, list(nodes)))
                print(f"{place.name} ended with {process.returncode}; start it again with", flush=True)
                print(f"  {again}", flush=True)
    return 0 if alive or stop.is_set() else 1


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to all, then SIGKILL to those that did not heed it in time."""
    for process in processes:
        process.terminate()
    deadline_s = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cluster; the exit status."""
    parser = argparse.ArgumentParser("local_cluster", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=3, choices=range(1, MOST_NODES + 1), metavar="N")
    parser.add_argument("--data", type=Path, default=Path("data/cluster"), metavar="FOLDER")
    parser.add_argument("--port", type=int, default=HTTP_PORT, help="HTTP port of n1, the others follow")
    parser.add_argument("--raft-port", type=int, default=RAFT_PORT, help="the same for peers")
    parser.add_argument("--dns-port", type=int, default=DNS_PORT, help="the same for DNS; 0: any free ones")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    where = places(given.nodes, given.data, given.port, given.raft_port, given.dns_port)
    nodes: dict[Place, subprocess.Popen[bytes]] = {}
    try:
        for place in where:
            nodes[place] = start(place, where, os.environ)
            print(f"{place.name}  {place.url}  pid {nodes[place].pid}  data {place.data}", flush=True)
        if not until_formed(nodes, stop) and not stop.is_set():
            tell_why(nodes)
            return 1
        print("Ctrl-C stops them all", flush=True)
        return watch(nodes, stop)
    finally:
        end(list(nodes.values()))


if __name__ == "__main__":
    sys.exit(main())
