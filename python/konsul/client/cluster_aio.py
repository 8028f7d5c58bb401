"""`AsyncClient.cluster`: seeing and steering the cluster. Semantics and errors stand at `cluster_calls`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from konsul.client import cluster_calls, watch_calls
from konsul.client.changes import ClusterEvent
from konsul.client.model import Document, JoinToken, Peer
from konsul.client.pursuit import Transport, Wishes
from konsul.client.watch_aio import AsyncWatch

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncCluster:
    """The cluster as one node tells it; a change may be asked of any node."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def status(self) -> Document:
        """The answering node's view: its role, the leader, the nodes, the indices."""
        return await self._client.call(cluster_calls.status())

    async def leader(self) -> Document:
        """Who leads; NotFound while nobody does."""
        return await self._client.call(cluster_calls.leader())

    async def peers(self) -> tuple[Peer, ...]:
        """Every member with its standing."""
        return await self._client.call(cluster_calls.peers())

    async def stats(self) -> Document:
        """The Raft figures of the answering node."""
        return await self._client.call(cluster_calls.stats())

    async def config(self) -> Document:
        """The Raft configuration in force."""
        return await self._client.call(cluster_calls.config())

    async def health(self) -> Document:
        """What autopilot thinks of the servers."""
        return await self._client.call(cluster_calls.health())

    async def digest(self) -> Document:
        """A checksum over the answering node's tables, and the index it holds at."""
        return await self._client.call(cluster_calls.digest())

    async def join(self, node_id: str, address: str, *, join_token: str | None = None) -> Document:
        """Add the node that listens for peers at `address` (host:port)."""
        return await self._client.call(cluster_calls.join(node_id, address, join_token))

    async def leave(self, node_id: str) -> Document:
        """Take a member out; NotFound for one that is none."""
        return await self._client.call(cluster_calls.leave(node_id))

    async def snapshot(self) -> Document:
        """Make the answering node take a snapshot now."""
        return await self._client.call(cluster_calls.snapshot())

    async def transfer_leader(self, node_id: str | None = None) -> Document:
        """Hand leadership to a member; None: to the one that is furthest."""
        return await self._client.call(cluster_calls.transfer_leader(node_id))

    async def autopilot(self) -> Document:
        """Autopilot's settings and what it sees."""
        return await self._client.call(cluster_calls.autopilot())

    async def set_autopilot(self, settings: Mapping[str, Any]) -> Document:
        """Change the settings that are named."""
        return await self._client.call(cluster_calls.set_autopilot(settings))

    async def create_join_token(
        self, *, ttl: str | None = None, uses: int | None = None, description: str | None = None
    ) -> JoinToken:
        """Make a token that lets nodes join; its secret is shown this once. `ttl` is Go text (`24h`)."""
        return await self._client.call(cluster_calls.create_join_token(ttl, uses, description))

    async def join_tokens(self) -> tuple[JoinToken, ...]:
        """The tokens that are still good, without their secrets."""
        return await self._client.call(cluster_calls.join_tokens())

    async def delete_join_token(self, token_id: str) -> Document:
        """Make a token useless; NotFound for one that is not there."""
        return await self._client.call(cluster_calls.delete_join_token(token_id))

    def watch(
        self, *, transport: Transport = "sse", reconnect: bool = True, notices: bool = False
    ) -> AsyncWatch[ClusterEvent]:
        """The leader and the members as the server asked sees them, now and whenever they change."""
        wishes = Wishes(transport=transport, reconnect=reconnect, notices=notices)
        return self._client._watch(watch_calls.cluster_plan(), wishes)
