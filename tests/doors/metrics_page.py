"""Samples of a server's Prometheus page."""

from __future__ import annotations

from tests.ask import ask


def sample(port: int, name: str, **labels: str) -> float:
    """One sample's value, 0 if it is not there yet."""
    given = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    start = f"{name}{{{given}}} " if labels else f"{name} "
    for line in ask(port, "GET", "/metrics").body.decode().splitlines():
        if line.startswith(start):
            return float(line.removeprefix(start))
    return 0.0
