"""Checks as a registration brings them: definitions completed, and the rows that they become."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from konsul.errors import Invalid
from konsul.features.catalog.check_definitions import KINDS, Definition, check_definition, shown, type_of
from konsul.features.catalog.tables import CRITICAL, Check, Origin
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.routing import members

if TYPE_CHECKING:
    from konsul.kernel.context import Context

MAX_CHECKS: Final = 64
MAX_BYTES: Final = 64 << 10
"""Of all checks of an instance together, as JSON: a listing gathers them, and a body may be much larger."""
ONE_MAX_BYTES: Final = 16 << 10
"""Of one check, as JSON: an instance may have 128, and every listing of health shows them."""
_APART: Final = ("id", "name", "service_id")
"""Members of a definition that are columns of its row, or say whose it is."""
_NAMESPACE: Final = uuid.UUID("5b1d5c8e-8f5e-4c0b-9d55-3f2f4a6c7e10")


def complete(definitions: Sequence[Any], service: str, instance: str) -> bytes | None:
    """The definitions as JSON text with `id`, `name` and `service_id` filled in and empty members left out.

    A missing id is derived from the instance and the check's place and name, so that registering the same
    service again names the same checks.

    Raises:
        Invalid: too many, of the wrong type, or one that breaks a rule of `check_definitions`.
    """
    if len(definitions) > MAX_CHECKS:
        raise Invalid(f"check validation failed: too many checks: {len(definitions)} (max {MAX_CHECKS})")
    completed = [
        complete_one(definition, f"{service}/{instance}/{position}", service, instance)
        for position, definition in enumerate(definitions)
    ]
    ids = [check["id"] for check in completed]
    if len(set(ids)) != len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise Invalid(f"check validation failed: duplicate check id: {twice}")
    text = orjson.dumps(completed)
    if len(text) > MAX_BYTES:
        raise Invalid(f"check validation failed: checks too large: {len(text)} bytes (max {MAX_BYTES})")
    return text if completed else None


def complete_one(definition: Any, place: str, owner: str, service_id: str) -> Definition:
    """One definition, completed; its id is derived from `place` and its name, which is from its `owner`.

    Raises:
        Invalid: of the wrong type, or one that breaks a rule of `check_definitions`.
    """
    check: Definition = members(definition, KINDS)
    check_definition(check)
    check["name"] = check["name"] or f"{owner}-health"
    check["id"] = check["id"] or str(uuid.uuid5(_NAMESPACE, f"{place}/{check['name']}"))
    check["service_id"] = service_id
    completed = {name: value for name, value in check.items() if value}
    size = len(orjson.dumps(completed))
    if size > ONE_MAX_BYTES:
        raise Invalid(f"check validation failed: check too large: {size} bytes (max {ONE_MAX_BYTES})")
    return completed


def also_needs(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What making such a check asks for besides the right to write its owner, each a need and a resource.

    A script runs on the servers: not everybody who has a service may choose one. An alias says in its output
    how another service or node is, and so is for those who may read that.
    """
    asked = [("admin:write", "")] if definition.get("script") else []
    for member, need in (("alias_service", "service:read"), ("alias_node", "agent:read")):
        if definition.get(member):
            asked.append((need, definition[member]))
    return asked


def authorise_checks(ctx: Context, checks: bytes | None) -> None:
    """Asks for what the definitions of what `complete` wrote need. Raises Forbidden, Unauthenticated."""
    if ctx.pipeline.authorise is None or checks is None:
        return
    if b'"script"' not in checks and b'"alias_' not in checks:
        return
    for check in orjson.loads(checks):
        for need, resource in also_needs(check):
            ctx.pipeline.authorise(ctx.identity, need, resource)


def shown_of(checks: bytes | None) -> bytes | None:
    """What `complete` wrote, as it is kept with the instance to be shown."""
    if checks is None or b'"headers"' not in checks:
        return checks
    return orjson.dumps([shown(one) for one in orjson.loads(checks)])


def row_of(
    definition: Mapping[str, Any],
    *,
    service: str = "",
    instance: str | None = None,
    node: str | None = None,
    origin: Origin = "registration",
) -> Check:
    """The row of a completed definition, as it is before its first report.

    Args:
        service: the service's name, with `instance`, the instance's key as text; or else `node`.
    """
    after = definition.get("deregister_critical_after")
    return Check(
        id=definition["id"],
        service=service,
        instance=instance,
        node=node,
        name=definition["name"],
        type=type_of(definition),
        definition=orjson.dumps({name: value for name, value in definition.items() if name not in _APART}),
        status=definition.get("initial_status") or CRITICAL,
        deregister_after_ms=parse_duration_ms(after) if after else None,
        origin=origin,
    )


def rows_of(checks: bytes | None, service: str, instance: str) -> list[Check]:
    """The rows of what `complete` wrote, for the instance with that key."""
    return [row_of(one, service=service, instance=instance) for one in orjson.loads(checks or b"[]")]
