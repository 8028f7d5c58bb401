"""What was sent against what is read back: every difference, named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from konsul.client import Client, KeyValue, Service

SHOWN_MAX = 20


class Differences:
    """Collects differences. No difference is the only success."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def expect(self, what: str, seen: object, expected: object) -> None:
        """Notes when `seen` is not `expected`."""
        if seen != expected:
            self.found.append(f"{what}: {_short(seen)} instead of {_short(expected)}")

    def tables(self, what: str, seen: Mapping[str, object], expected: Mapping[str, object]) -> None:
        """Notes every key that is missing, unknown or different."""
        for key in sorted(expected.keys() - seen.keys()):
            self.found.append(f"{what}: {key} is missing")
        for key in sorted(seen.keys() - expected.keys()):
            self.found.append(f"{what}: {key} was never sent")
        for key in sorted(seen.keys() & expected.keys()):
            self.expect(f"{what}: {key}", seen[key], expected[key])

    def report(self) -> list[str]:
        """The first differences, and how many more."""
        more = len(self.found) - SHOWN_MAX
        return self.found[:SHOWN_MAX] + ([f"and {more} more"] if more > 0 else [])


def rows(client: Client, prefix: str) -> dict[str, KeyValue]:
    """Every key with the prefix."""
    return {row.key: row for row in client.kv.list(prefix)}


def values(found: Mapping[str, KeyValue]) -> dict[str, bytes]:
    """Keys with their values."""
    return {key: row.value for key, row in found.items()}


def by_instance(services: Iterable[Service]) -> dict[str, Service]:
    """Services by name and instance."""
    return {f"{one.name}/{one.instance}": one for one in services}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
