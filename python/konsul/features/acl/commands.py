"""Changing the policies of the API. A policy of the directory is changed by changing its file."""

from __future__ import annotations

from typing import Any, Final

import orjson

from konsul.errors import Conflict, Duplicate, Invalid, LimitReached, NotFound
from konsul.features.acl.book import book_of
from konsul.features.acl.documents import NAME, checked
from konsul.features.acl.policy import ALL_RULES_MAX, POLICIES_MAX, Policy
from konsul.features.acl.tables import PolicyRow
from konsul.kernel import entry
from konsul.kernel.command import command
from konsul.kernel.context import Context

TAKEN: Final = "Policy already exists"
UNKNOWN: Final = "Policy not found"
NAMES_DIFFER: Final = "Policy name in body must match URL parameter"


@command("acl.policy.create", needs="admin:write", resource="name")
async def create(ctx: Context, *, name: str, document: dict[str, Any]) -> dict[str, Any]:
    """Stores a new policy, whose document has that name; answers it as stored.

    Raises:
        Invalid: names the problem. Duplicate: there is one of this name. LimitReached: there are too many.
    """
    policy = _policy(document)
    if policy.name != name:
        raise Invalid(NAMES_DIFFER)
    if _is_of_directory(ctx, name):
        raise Duplicate(TAKEN)
    _check_room(ctx, policy)
    try:
        await _put(ctx, policy, entry.absent(PolicyRow, policy.name))
    except Conflict:
        raise Duplicate(TAKEN) from None
    return policy.document()


@command("acl.policy.update", needs="admin:write", resource="name")
async def update(ctx: Context, *, name: str, document: dict[str, Any]) -> dict[str, Any]:
    """Replaces a policy; holds for everybody who has it within the second, on every node.

    Raises:
        Invalid: names the problem. NotFound: there is none. Duplicate: it is the directory's. LimitReached.
    """
    if document.get("name") != name:
        raise Invalid(NAMES_DIFFER)
    policy = _policy(document)
    _check_room(ctx, policy)
    try:
        await _put(ctx, policy, entry.exists(PolicyRow, policy.name))
    except Conflict:
        raise _absent(ctx, name) from None
    return policy.document()


@command("acl.policy.delete", needs="admin:write", resource="name")
async def delete(ctx: Context, *, name: str) -> None:
    """Removes a policy; who has it attached is as if it were not.

    Raises:
        NotFound: there is none. Duplicate: it is the directory's.
    """
    if not NAME.fullmatch(name):
        raise NotFound(UNKNOWN)
    try:
        await _commit(ctx, entry.exists(PolicyRow, name), entry.delete(PolicyRow, name))
    except Conflict:
        raise _absent(ctx, name) from None


async def _put(ctx: Context, policy: Policy, guard: entry.Guard) -> None:
    row = PolicyRow(name=policy.name, document=orjson.dumps(policy.document()))
    await _commit(ctx, guard, entry.put(PolicyRow, policy.name, row.cells()))


async def _commit(ctx: Context, guard: entry.Guard, op: entry.Op) -> None:
    await ctx.commit(entry.encode([entry.case([guard], [op])]))
    book = book_of(ctx.engine)
    if book is not None:
        # The watch would do it a moment later: who changed a policy may count on it at once.
        book.reload_rows()


def _check_room(ctx: Context, policy: Policy) -> None:
    book = book_of(ctx.engine)
    if book is not None and not book.has_room_for(policy):
        raise LimitReached(
            f"there is room for {POLICIES_MAX} policies and {ALL_RULES_MAX} rules together, the limit: "
            "delete some first"
        )


def _policy(document: dict[str, Any]) -> Policy:
    try:
        return checked(document)
    except Invalid as error:
        raise Invalid(f"Invalid policy: {error}") from None


def _absent(ctx: Context, name: str) -> NotFound | Duplicate:
    if _is_of_directory(ctx, name):
        return Duplicate(f"the policy {name} comes from this node's policy directory: change its file there")
    return NotFound(UNKNOWN)


def _is_of_directory(ctx: Context, name: str) -> bool:
    book = book_of(ctx.engine)
    return book is not None and book.is_of_directory(name)
