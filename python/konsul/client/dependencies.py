"""`Client.dependencies`: Which services depend on which. Semantics stand at `dependency_calls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from konsul.client import dependency_calls
from konsul.client.model import Dependencies, DependencyGraph, Impact

if TYPE_CHECKING:
    from konsul.client.sync import Client


class ServiceDependencies:
    """Which services depend on which."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, name: str, *, consistency: str | None = None) -> Dependencies:
        """What a service depends on, and which depend on it; NotFound when nobody has heard of it."""
        return self._client.call(dependency_calls.get(name, consistency))

    def add(self, name: str, needed: Iterable[str]) -> Dependencies:
        """Declare that a service depends on these too; Conflict names a cycle."""
        return self._client.call(dependency_calls.add(name, needed))

    def replace(self, name: str, needed: Iterable[str]) -> Dependencies:
        """Declare all that a service depends on; Conflict names a cycle."""
        return self._client.call(dependency_calls.replace(name, needed))

    def remove(self, name: str, needed: Iterable[str] = ()) -> Dependencies:
        """Take these back, or all; absent ones are fine."""
        return self._client.call(dependency_calls.remove(name, needed))

    def graph(self, root: str | None = None, *, consistency: str | None = None) -> DependencyGraph:
        """Which service depends on which, of all or from `root` on."""
        return self._client.call(dependency_calls.graph(root, consistency))

    def dot(self, root: str | None = None, *, consistency: str | None = None) -> str:
        """The graph in Graphviz's language."""
        return self._client.call(dependency_calls.dot(root, consistency))

    def impact(self, name: str, *, consistency: str | None = None) -> Impact:
        """How far a failure of a service would reach; NotFound when nobody has heard of it."""
        return self._client.call(dependency_calls.impact(name, consistency))
