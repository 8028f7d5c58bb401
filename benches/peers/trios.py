"""Three nodes of each store: how they find each other, and which of them leads."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from benches import release
from benches.peers.contenders import Contender, consul, etcd, found, konsul
from benches.served import Served, answers, free_port, send

SIZE = 3


class Group:
    """Several processes that serve as one: entered together, measured together."""

    def __init__(self, members: Sequence[Served]) -> None:
        self._members = members
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for member in self._members:
                stack.enter_context(member)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def cpu_s(self) -> float:
        """User and system time of all of them."""
        return sum(member.cpu_s() for member in self._members)

    def rss_mb(self) -> float:
        """Resident memory of all of them."""
        return sum(member.rss_mb() for member in self._members)


def konsuls() -> Contender:
    """Three of this Konsul, release build, defaults in force, each write through the leader."""
    interpreter = release.python()

    def start(folder: Path) -> tuple[Group, Callable[[], str]]:
        ports = [free_port() for _ in range(SIZE)]
        peers = [f"127.0.0.1:{free_port()}" for _ in range(SIZE)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        members = []
        for number in range(SIZE):
            environ = {
                "KONSUL_PORT": str(ports[number]),
                "KONSUL_DATA_DIR": str(folder / f"konsul-{number}"),
                "KONSUL_LOG_FORMAT": "json",
                "KONSUL_RAFT_ENABLED": "true",
                "KONSUL_RAFT_NODE_ID": f"n{number}",
                "KONSUL_RAFT_BIND_ADDR": peers[number],
                "KONSUL_RAFT_BOOTSTRAP_EXPECT": str(SIZE),
                "KONSUL_RAFT_JOIN": ",".join(peer for peer in peers if peer != peers[number]),
            }
            command = [interpreter, "-m", "konsul.server"]
            ready = _last_waits(number, [f"{url}/health/ready" for url in urls])
            members.append(Served(command, environ, folder / f"konsul-{number}.log", ready))

        def leader() -> str:
            return next(url for url in urls if _json(f"{url}/cluster/status")["state"] == "Leader")

        return Group(members), leader

    return replace(konsul(), name="Konsul", start=start)


def etcds() -> Contender | None:
    """Three of etcd."""
    single, binary = etcd(), found("KONSUL_BENCH_ETCD", "etcd")
    if single is None or binary is None:
        return None

    def start(folder: Path) -> tuple[Group, Callable[[], str]]:
        urls = [f"http://127.0.0.1:{free_port()}" for _ in range(SIZE)]
        peers = [f"http://127.0.0.1:{free_port()}" for _ in range(SIZE)]
        members = []
        for number in range(SIZE):
            command = [binary, "--name", f"n{number}", "--data-dir", str(folder / f"etcd-{number}")]
            command += ["--listen-client-urls", urls[number], "--advertise-client-urls", urls[number]]
            command += ["--listen-peer-urls", peers[number], "--initial-advertise-peer-urls", peers[number]]
            command += ["--initial-cluster", ",".join(f"n{at}={peer}" for at, peer in enumerate(peers))]
            ready = _last_waits(number, [f"{url}/health" for url in urls])
            members.append(Served(command, {}, folder / f"etcd-{number}.log", ready))

        def leader() -> str:
            for url in urls:
                status = json.loads(send("POST", f"{url}/v3/maintenance/status", b"{}"))
                if status["leader"] == status["header"]["member_id"]:
                    return url
            raise RuntimeError("no etcd leads")

        return Group(members), leader

    return replace(single, start=start)


def consuls() -> Contender | None:
    """Three of Consul."""
    single, binary = consul(), found("KONSUL_BENCH_CONSUL", "consul")
    if single is None or binary is None:
        return None

    def start(folder: Path) -> tuple[Group, Callable[[], str]]:
        http, rpc, lan = ([free_port() for _ in range(SIZE)] for _ in range(3))
        urls = [f"http://127.0.0.1:{port}" for port in http]
        members = []
        for number in range(SIZE):
            command = [binary, "agent", "-server", f"-bootstrap-expect={SIZE}", "-bind=127.0.0.1"]
            command += [f"-node=n{number}", f"-data-dir={folder / f'consul-{number}'}", "-log-level=warn"]
            command += [f"-http-port={http[number]}", f"-server-port={rpc[number]}"]
            command += [f"-serf-lan-port={lan[number]}", "-serf-wan-port=-1", "-dns-port=-1"]
            command += ["-grpc-port=-1", "-grpc-tls-port=-1"]
            command += [f"-retry-join=127.0.0.1:{port}" for port in lan]
            ready = _last_waits(number, [f"{url}/v1/status/leader" for url in urls])
            members.append(Served(command, {}, folder / f"consul-{number}.log", ready))

        def leader() -> str:
            port = int(str(_json(f"{urls[0]}/v1/status/leader")).rpartition(":")[2])
            return urls[rpc.index(port)]

        return Group(members), leader

    return replace(single, start=start)


def everyone() -> list[Contender]:
    """Konsul first, then whoever is installed."""
    others = (etcds(), consuls())
    return [konsuls(), *(other for other in others if other is not None)]


def _last_waits(number: int, urls: Sequence[str]) -> Callable[[], bool]:
    """The last one launched is ready when all are: none can be before a majority runs."""
    asked = [answers(url) for url in urls] if number == SIZE - 1 else []
    return lambda: all(is_ready() for is_ready in asked)


def _json(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - our own loopback address
        body: dict[str, object] = json.loads(reply.read())
        return body
