"""Runs the shop and tells what happens: `python -m deploy.shop`, or `make shop`.

Without `--server` it starts a node of its own with a data directory that is gone afterwards. It ends by
itself, takes back what it registered, and its exit status says whether all was as it should be.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from deploy.local_cluster import end
from deploy.shop.asking import Asking, Failed, until
from deploy.shop.crew import Crew
from deploy.shop.story import Story
from konsul.client import Client, Policy, Settings
from konsul.errors import KonsulError

DNS_PORT = 8600
DOMAIN = "consul"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the story; the exit status."""
    parser = argparse.ArgumentParser("shop", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--server", metavar="URL", help="a Konsul that runs; without it one is started")
    parser.add_argument("--dns", metavar="HOST:PORT", help="its DNS; port 8600 of the same host")
    parser.add_argument("--domain", default=DOMAIN, help="what its names end with")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if given.server is None:
        with _own_node() as (url, dns_port):
            return _tell(url, ("127.0.0.1", dns_port), DOMAIN)
    host, _, port = (given.dns or "").rpartition(":")
    address = (host.strip("[]") or _host(given.server), int(port) if port else DNS_PORT)
    return _tell(given.server.rstrip("/"), address, given.domain)


def _tell(url: str, dns: tuple[str, int], domain: str) -> int:
    asking = Asking(url, dns, domain)
    try:
        with Crew(url) as crew:
            Story(url, asking, crew, lambda line: print(line, flush=True)).run()
    except (Failed, KonsulError, httpx.HTTPError, RuntimeError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    finally:
        asking.close()
    print("\nall was as it should be")
    return 0


@contextmanager
def _own_node() -> Iterator[tuple[str, int]]:
    """A node on free ports of loopback; its address and DNS port."""
    with tempfile.TemporaryDirectory(prefix="konsul-shop-") as folder:
        http_port, dns_port = free_port(), free_port()
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")},
            "KONSUL_HOST": "127.0.0.1",
            "KONSUL_PORT": str(http_port),
            "KONSUL_DNS_PORT": str(dns_port),
            "KONSUL_DATA_DIR": str(Path(folder) / "data"),
        }
        log = Path(folder) / "konsul.log"
        with log.open("wb") as written:
            node = subprocess.Popen(
                [sys.executable, "-m", "konsul.server"],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{http_port}"
        try:
            until(lambda: node.poll() is not None or _is_ready(url), "the node is ready")
            if node.poll() is not None:
                raise SystemExit(f"the node did not start:\n{log.read_text('utf-8', 'replace')[-2_000:]}")
            yield url, dns_port
        finally:
            end([node])


def _is_ready(url: str) -> bool:
    try:
        with Client(Settings(url, policy=Policy(deadline_s=5.0, retries=0))) as client:
            return client.ready().ok
    except KonsulError:
        return False


def free_port() -> int:
    """A port that nobody listened on a moment ago, over UDP and over TCP."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or "127.0.0.1"


if __name__ == "__main__":
    sys.exit(main())
