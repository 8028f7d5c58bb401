"""`AsyncClient.dependencies`: Which services depend on which. Semantics stand at `dependency_calls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from konsul.client import dependency_calls
from konsul.client.model import Dependencies, DependencyGraph, Impact

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncServiceDependencies:
    """Which services depend on which."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def get(self, name: str, *, consistency: str | None = None) -> Dependencies:
        """What a service depends on, and which depend on it; NotFound when nobody has heard of it."""
        return await self._client.call(dependency_calls.get(name, consistency))

    async def add(self, name: str, needed: Iterable[str]) -> Dependencies:
        """Declare that a service depends on these too; Conflict names a cycle."""
        return await self._client.call(dependency_calls.add(name, needed))

    async def replace(self, name: str, needed: Iterable[str]) -> Dependencies:
        """Declare all that a service depends on; Conflict names a cycle."""
        return await self._client.call(dependency_calls.replace(name, needed))

    async def remove(self, name: str, needed: Iterable[str] = ()) -> Dependencies:
        """Take these back, or all; absent ones are fine."""
        return await self._client.call(dependency_calls.remove(name, needed))

    async def graph(self, root: str | None = None, *, consistency: str | None = None) -> DependencyGraph:
        """Which service depends on which, of all or from `root` on."""
        return await self._client.call(dependency_calls.graph(root, consistency))

    async def dot(self, root: str | None = None, *, consistency: str | None = None) -> str:
        """The graph in Graphviz's language."""
        return await self._client.call(dependency_calls.dot(root, consistency))

    async def impact(self, name: str, *, consistency: str | None = None) -> Impact:
        """How far a failure of a service would reach; NotFound when nobody has heard of it."""
        return await self._client.call(dependency_calls.impact(name, consistency))
