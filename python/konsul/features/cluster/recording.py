"""What nodes ask of nodes, as the audit is told: who wants in is recorded, and whether it was let in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

from konsul.engine import Caller
from konsul.errors import KonsulError
from konsul.kernel.pipeline import Identity, Pipeline, act_of

Answer = Callable[[Caller, dict[str, Any]], Awaitable[dict[str, Any]]]
METHOD: Final = "PEER"
"""Stands where requests have their method: it came over the transport between nodes."""


def recorded(pipeline: Pipeline, action: str, answer: Answer) -> Answer:
    """`answer`, with each question recorded. The node is known by the name it gives itself, which its
    question proves or does not; its token is left out."""

    async def ask(caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        began_ns = time.monotonic_ns()
        error: KonsulError | None = None
        try:
            return await answer(caller, body)
        except KonsulError as caught:
            error = caught
            raise
        finally:
            audit = pipeline.audit
            if audit is not None:
                node = body.get("node")
                name = str(node.get("node_id", "")) if isinstance(node, dict) else ""
                act = act_of(action, [name], error, "")
                audit.record(
                    Identity("service", name),
                    caller.address.rpartition(":")[0],
                    act.action,
                    name,
                    act.outcome,
                    act.reason or (str(error) if error else ""),
                    method=METHOD,
                    path=b"",
                    status=error.http_status if error else 200,
                    took_ns=time.monotonic_ns() - began_ns,
                    request_id=str(uuid4()).encode(),
                )

    return ask
