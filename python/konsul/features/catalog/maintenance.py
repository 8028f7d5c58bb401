"""Taking an instance or a node out for a while: by a check that is critical and says the reason."""

from __future__ import annotations

from typing import Final

import orjson

from konsul.errors import Invalid, NotFound
from konsul.features.catalog.check_definitions import RESERVED_IDS
from konsul.features.catalog.rules import NOT_FOUND, check_node, is_possible
from konsul.features.catalog.status import NODE_NOT_FOUND, put_check, remove_check
from konsul.features.catalog.tables import CRITICAL, Check, Instance, Node, instance_key
from konsul.kernel.command import command
from konsul.kernel.context import Context

REASON_MAX_CHARS: Final = 1_024
NO_REASON: Final = "maintenance mode is on"
NAME: Final = "maintenance mode"
TYPE: Final = "maintenance"
SERVICE_PREFIX, NODE_PREFIX = RESERVED_IDS


@command("service.maintenance", needs="service:write", resource="name")
async def service_maintenance(
    ctx: Context, *, name: str, enable: bool, reason: str = "", id: str | None = None
) -> None:
    """Puts one instance into maintenance or takes it back; without `id` the one called like its service.

    As it was already: the reason is replaced, or nothing happens.

    Raises:
        NotFound: there is no such instance. Invalid: the reason is too long. Busy.
    """
    key = instance_key(name, id)
    if not is_possible(key) or ctx.engine.get(Instance.table_id, key) is None:
        raise NotFound(NOT_FOUND)
    check_id = SERVICE_PREFIX + (name if id in (None, name) else f"{name} {id}")
    check = _check(check_id, reason, service=name, instance=key.decode())
    await _switch(ctx, check, enable)


@command("node.maintenance", needs="agent:write", resource="name")
async def node_maintenance(ctx: Context, *, name: str, enable: bool, reason: str = "") -> None:
    """Puts a node, and so every instance on it, into maintenance or takes it back. As `service.maintenance`.

    Raises:
        NotFound: there is no such node. Invalid: the name can be none, or the reason is too long. Busy.
    """
    check_node(name)
    if ctx.engine.get(Node.table_id, name.encode()) is None:
        raise NotFound(NODE_NOT_FOUND)
    await _switch(ctx, _check(NODE_PREFIX + name, reason, node=name), enable)


def _check(
    check_id: str, reason: str, *, service: str = "", instance: str | None = None, node: str | None = None
) -> Check:
    if len(reason) > REASON_MAX_CHARS:
        raise Invalid(f"reason too long: {len(reason)} chars (max {REASON_MAX_CHARS})")
    said = reason or NO_REASON
    return Check(
        id=check_id,
        service=service,
        instance=instance,
        node=node,
        name=NAME,
        type=TYPE,
        # The reason makes another definition: else a new reason would be another check's output.
        definition=orjson.dumps({"notes": said}),
        status=CRITICAL,
        output=said,
        recent=None,
        lease=None,
        origin="maintenance",
    )


async def _switch(ctx: Context, check: Check, enable: bool) -> None:
    if enable:
        await put_check(ctx, check)
        return
    try:
        await remove_check(ctx, check.id)
    except NotFound:
        return
