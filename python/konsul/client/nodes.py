"""`Client.nodes`: The machines that instances are on. Semantics stand at `node_calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from konsul.client import node_calls
from konsul.client.model import Node

if TYPE_CHECKING:
    from konsul.client.sync import Client


class Nodes:
    """The machines that instances are on."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, filter: str | None = None, consistency: str | None = None) -> tuple[Node, ...]:
        """Every node by name, or those that the filter expression holds for."""
        return self._client.flow(node_calls.list_(filter, consistency))

    def get(self, name: str, *, consistency: str | None = None) -> Node:
        """One node with its instances and checks; NotFound when there is none."""
        return self._client.call(node_calls.get(name, consistency))

    def set(
        self, name: str, *, address: str = "", zone: str = "", meta: Mapping[str, str] | None = None
    ) -> None:
        """Make a node, or replace what is known of it; its instances and checks stay."""
        self._client.call(node_calls.set_(name, address, zone, meta or {}))

    def delete(self, name: str) -> None:
        """Remove a node with its instances and checks; NotFound when there is none."""
        self._client.call(node_calls.delete(name))

    def maintenance(self, name: str, enable: bool = True, *, reason: str = "") -> None:
        """Take everything on a node out of service until it is put back with `enable` False."""
        self._client.call(node_calls.maintenance(name, enable, reason))
