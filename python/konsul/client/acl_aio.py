"""`AsyncClient.acl`: policies. Semantics and errors stand at `acl_calls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from konsul.client import acl_calls
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.aio import AsyncClient


class AsyncAcl:
    """Policies: reading, changing and trying them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def policies(self) -> dict[str, str]:
        """Every policy's name, sorted, with where it comes from: api or directory."""
        return await self._client.call(acl_calls.policies())

    async def policy(self, name: str) -> Document:
        """A policy's document, with its `source`; NotFound for none."""
        return await self._client.call(acl_calls.policy(name))

    async def create_policy(self, document: Mapping[str, Any]) -> Document:
        """Store a new policy; Conflict if there is one of this name."""
        return await self._client.call(acl_calls.create_policy(document))

    async def update_policy(self, document: Mapping[str, Any]) -> Document:
        """Replace the policy that the document names; NotFound for none."""
        return await self._client.call(acl_calls.update_policy(document))

    async def delete_policy(self, name: str) -> Document:
        """Remove a policy; NotFound for none, Conflict for one of the directory."""
        return await self._client.call(acl_calls.delete_policy(name))

    async def validate(self, document: Any) -> tuple[Document, ...]:
        """All that is wrong with a policy document, each with its place; nothing is stored."""
        return await self._client.call(acl_calls.validate(document))

    async def test(self, policies: Sequence[str], resource: str, path: str, capability: str) -> bool:
        """What these policies would decide together."""
        return await self._client.call(acl_calls.test(policies, resource, path, capability))

    async def explain(
        self,
        resource: str,
        path: str,
        capability: str,
        *,
        token: str | None = None,
        api_key: str | None = None,
        user: str | None = None,
        policies: Sequence[str] | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Document:
        """Which rule decides, and what else matches: for the caller, or for whom one of these names."""
        named = list(policies) if policies is not None else None
        subject = {"token": token, "api_key": api_key, "user": user, "policies": named, "document": document}
        return await self._client.call(acl_calls.explain(resource, path, capability, **subject))
