"""For whom a decision is explained: somebody who exists, the caller, or policies nobody has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from konsul.errors import Invalid, NotFound, Unauthenticated
from konsul.features.acl.documents import checked
from konsul.features.acl.policy import ATTACHED_MAX, Policy
from konsul.features.auth.tables import ApiKeyRow, UserRow
from konsul.kernel.context import Context
from konsul.kernel.pipeline import ADMIN, Identity

KINDS: Final = ("token", "api_key", "user", "policies", "document")
ONE_OF: Final = f"give at most one of {', '.join(KINDS)}"
EVERYTHING: Final = "*"
"""The permission of an API key that makes it an administrator's."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose permissions are explained. `document`: a policy that is stored nowhere."""

    kind: str
    id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    document: Policy | None = None
    enabled: bool = True

    @property
    def is_admin(self) -> bool:
        """True for who may do everything, whatever policies say."""
        return ADMIN in self.roles


def subject_of(ctx: Context, given: Mapping[str, Any]) -> Subject:
    """The subject that the members of a request name; the caller if they name none.

    Raises:
        Invalid: they name several, or one that makes no sense. NotFound: there is no such user or API key.
    """
    named = [kind for kind in KINDS if given.get(kind)]
    if len(named) > 1:
        raise Invalid(ONE_OF)
    match named:
        case ["token"]:
            return _of_token(ctx, given["token"])
        case ["api_key"]:
            return _of_api_key(ctx, given["api_key"])
        case ["user"]:
            return _of_user(ctx, given["user"])
        case ["policies"]:
            return _of_policies(given["policies"])
        case ["document"]:
            policy = checked(given["document"])
            return Subject("document", policies=(policy.name,), document=policy)
    return _of_identity(ctx.identity)


def _of_identity(identity: Identity) -> Subject:
    return Subject(identity.kind, identity.id, identity.name, identity.roles, identity.policies)


def _of_token(ctx: Context, token: str) -> Subject:
    try:
        return _of_identity(ctx.pipeline.identify(b"Bearer " + token.encode(), None, None))
    except Unauthenticated as error:
        raise Invalid(f"the token does not hold: {error}") from None


def _of_user(ctx: Context, user_id: str) -> Subject:
    row = _row(ctx, UserRow, user_id, "user not found")
    roles, policies = tuple(row["roles"] or ()), tuple(sorted(row["policies"] or ()))
    return Subject("user", user_id, row["username"], roles, policies, enabled=row["enabled"])


def _of_api_key(ctx: Context, key_id: str) -> Subject:
    row = _row(ctx, ApiKeyRow, key_id, "API key not found")
    permissions = row["permissions"] or ()
    roles = (ADMIN,) if EVERYTHING in permissions else ()
    policies = tuple(sorted(one for one in permissions if one != EVERYTHING))
    return Subject("api_key", key_id, row["name"], roles, policies, enabled=row["enabled"])


def _of_policies(names: list[str]) -> Subject:
    if len(names) > ATTACHED_MAX:
        raise Invalid(f"policies: expected at most {ATTACHED_MAX}")
    return Subject("policies", policies=tuple(sorted(set(names))))


def _row(ctx: Context, table: type[UserRow | ApiKeyRow], key: str, absent: str) -> dict[str, Any]:
    found = ctx.engine.get(table.table_id, key.encode()) if key and len(key) <= 512 else None
    if found is None:
        raise NotFound(absent)
    return {column.name: cell for column, cell in zip(table.columns, found.cells, strict=True)}
