"""Who takes part: how each store is found, started and loaded. All of them durable unless they cannot be."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from benches import release
from benches.served import Served, answers, free_port, send

HERE = Path(__file__).parent
DOORS = HERE.parent / "doors"


class Measured(Protocol):
    """One process or several: entered to serve, measured meanwhile."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def cpu_s(self) -> float: ...
    def rss_mb(self) -> float: ...


@dataclass(frozen=True)
class Contender:
    """One store. `start` gives what serves and, once it does, its address; `store` writes one key."""

    name: str
    durable: str
    start: Callable[[Path], tuple[Measured, Callable[[], str]]]
    store: Callable[[str, str, str], object]
    get: Path
    put: Path


def konsul() -> Contender:
    """This Konsul, release build."""
    interpreter = release.python()

    def start(folder: Path) -> tuple[Measured, Callable[[], str]]:
        served, url = release.konsul(interpreter, folder)
        return served, lambda: url

    return Contender("Konsul", "yes", start, _put_json, DOORS / "get.lua", DOORS / "put.lua")


def etcd() -> Contender | None:
    """etcd through its JSON gateway; Debian's package is etcd-server. `KONSUL_BENCH_ETCD` names another
    binary."""
    binary = found("KONSUL_BENCH_ETCD", "etcd")
    if binary is None:
        return None

    def start(folder: Path) -> tuple[Measured, Callable[[], str]]:
        url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        command = [binary, "--name", "bench", "--data-dir", str(folder / "etcd")]
        command += ["--listen-client-urls", url, "--advertise-client-urls", url]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"bench={peer}"]
        return Served(command, {}, folder / "etcd.log", answers(f"{url}/health")), lambda: url

    def store(url: str, key: str, value: str) -> object:
        fields = {
            "key": base64.b64encode(key.encode()).decode(),
            "value": base64.b64encode(value.encode()).decode(),
        }
        return send("POST", f"{url}/v3/kv/put", json.dumps(fields).encode())

    return Contender("etcd (JSON gateway)", "yes", start, store, HERE / "etcd_get.lua", HERE / "etcd_put.lua")


def consul() -> Contender | None:
    """Consul, one server. `KONSUL_BENCH_CONSUL` names its binary where it is not on the path."""
    binary = found("KONSUL_BENCH_CONSUL", "consul")
    if binary is None:
        return None

    def start(folder: Path) -> tuple[Measured, Callable[[], str]]:
        http, rpc, lan = (free_port() for _ in range(3))
        url = f"http://127.0.0.1:{http}"
        command = [binary, "agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1", "-log-level=warn"]
        command += [f"-data-dir={folder / 'consul'}", f"-http-port={http}", f"-server-port={rpc}"]
        command += [
            f"-serf-lan-port={lan}",
            "-serf-wan-port=-1",
            "-dns-port=-1",
            "-grpc-port=-1",
            "-grpc-tls-port=-1",
        ]
        return Served(command, {}, folder / "consul.log", _takes_writes(url)), lambda: url

    def store(url: str, key: str, value: str) -> object:
        return send("PUT", f"{url}/v1/kv/{key}", value.encode(), "application/octet-stream")

    return Contender("Consul", "yes", start, store, HERE / "consul_get.lua", HERE / "consul_put.lua")


def original() -> Contender | None:
    """The first Konsul, in Go. `KONSUL_BENCH_ORIGINAL` names its binary."""
    binary = found("KONSUL_BENCH_ORIGINAL", "konsul-go")
    if binary is None:
        return None

    def start(folder: Path) -> tuple[Measured, Callable[[], str]]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environ = {"KONSUL_HOST": "127.0.0.1", "KONSUL_PORT": str(port), "KONSUL_LOG_LEVEL": "error"}
        return Served([binary], environ, folder / "original.log", answers(f"{url}/health/live")), lambda: url

    return Contender("original Konsul", "no, memory", start, _put_json, DOORS / "get.lua", DOORS / "put.lua")


def everyone() -> list[Contender]:
    """Konsul first, then whoever is installed."""
    others = (etcd(), consul(), original())
    return [konsul(), *(other for other in others if other is not None)]


def _put_json(url: str, key: str, value: str) -> object:
    return send("PUT", f"{url}/kv/{key}", json.dumps({"value": value}).encode())


def _takes_writes(url: str) -> Callable[[], bool]:
    """Consul serves HTTP before it has a leader."""

    def asked() -> bool:
        try:
            send("PUT", f"{url}/v1/kv/ready", b"1", "application/octet-stream")
        except OSError:
            return False
        return True

    return asked


def found(variable: str, name: str) -> str | None:
    """The program that the variable names, else the one on the path."""
    given = os.environ.get(variable)
    return given if given else shutil.which(name)
