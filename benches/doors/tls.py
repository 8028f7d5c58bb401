"""What TLS costs: the same loads in the clear and over HTTPS, alternating, by server CPU per request on kept
connections; and what a handshake costs, and an idle event stream weighs."""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benches import release, wrk
from benches.doors.guarded import ROUNDS, SECONDS, Door, fill, measure, table
from benches.served import Served, free_port

HANDSHAKES: Final = 500
STREAMS: Final = 500
SETTINGS: Final = {"KONSUL_TLS_ENABLED": "true", "KONSUL_TLS_AUTO_CERT": "true"}
WATCH: Final = b"GET /kv/watch/idle HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"


def trusting() -> ssl.SSLContext:
    """Speaks to our own server on loopback, whose certificate was made a moment ago."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def secure(interpreter: str, folder: Path) -> tuple[Served, str, int]:
    """A server with a certificate of its own: it, its address and its port."""
    port = free_port()
    environ = {
        "KONSUL_PORT": str(port),
        "KONSUL_DATA_DIR": str(folder / "konsul"),
        "KONSUL_LOG_FORMAT": "json",
        "KONSUL_WATCH_MAX_PER_CLIENT": str(2 * STREAMS),
        **SETTINGS,
    }

    def ready() -> bool:
        try:
            with opened(port) as client:
                client.sendall(b"GET /health/ready HTTP/1.0\r\n\r\n")
                return b" 200 " in client.recv(100)
        except OSError:
            return False

    served = Served([interpreter, "-m", "konsul.server"], environ, folder / "konsul.log", ready)
    return served, f"https://127.0.0.1:{port}", port


def opened(port: int) -> ssl.SSLSocket:
    """A connection after a full handshake."""
    return trusting().wrap_socket(socket.create_connection(("127.0.0.1", port), 10))


def handshake_us(served: Served, port: int) -> float:
    """Server CPU of one full handshake."""
    before_s = served.cpu_s()
    for _ in range(HANDSHAKES):
        opened(port).close()
    return (served.cpu_s() - before_s) * 1e6 / HANDSHAKES


def stream_kb(served: Served, port: int) -> float:
    """Memory of one idle event stream, from the socket to Python's objects."""
    before_mb = served.private_mb()
    with ExitStack() as held:
        for _ in range(STREAMS):
            client = held.enter_context(opened(port))
            client.sendall(WATCH)
            client.recv(4_096)
        return (served.private_mb() - before_mb) * 1_024 / STREAMS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.doors.tls", description=__doc__)
    parser.add_argument("--reports", type=Path, default=release.REPORTS, help="where the report goes")
    reports: Path = parser.parse_args().reports
    wrk.need()
    interpreter = release.python()
    reports.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=reports, prefix=".tls-") as name, ExitStack() as stack:
        folder = Path(name)
        for part in ("clear", "tls"):
            (folder / part).mkdir()
        clear, url = release.konsul(interpreter, folder / "clear")
        served, secure_url, port = secure(interpreter, folder / "tls")
        stack.enter_context(clear)
        stack.enter_context(served)
        weight_kb, shaken_us = stream_kb(served, port), handshake_us(served, port)
        fill(url)
        fill(secure_url, context=trusting())
        costs = measure([Door("in the clear", clear, url), Door("TLS", served, secure_url)])
    how = f"{ROUNDS} rounds of {SECONDS} s each, alternating, {wrk.CONNECTIONS} keep-alive connections"
    more = f"A full handshake: {shaken_us:.0f} us of server CPU. An idle event stream: {weight_kb:.1f} KB."
    page = f"# What TLS costs\n\n{how}.\n\n{table(costs)}\n\n{more}\n"
    (reports / "tls.md").write_text(page)
    (reports / "tls.json").write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    print(page)
    return 1 if any(cost.bad for cost in costs) else 0


if __name__ == "__main__":
    sys.exit(main())
