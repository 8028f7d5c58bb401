"""Ports that stay a node's own while it is down: outside the range from which the kernel lends ports."""

from __future__ import annotations

import random
import socket

LOW, HIGH = 12_000, 32_000
TRIES_MAX = 200
_draw = random.SystemRandom()


def steady_port() -> int:
    """A port that is free now and that no outgoing connection will be given.

    Raises:
        AssertionError: none of many tried was free.
    """
    for _ in range(TRIES_MAX):
        port = _draw.randrange(LOW, HIGH)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of {TRIES_MAX} ports between {LOW} and {HIGH} is free")
