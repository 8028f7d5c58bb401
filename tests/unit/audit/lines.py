"""Events made up for the tests, as lines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from konsul.features.audit import events
from konsul.kernel.pipeline import Identity

ALICE = Identity("user", "u1", "alice", ("user",), (), "jwt", "t1")
SECOND_NS = 10**9
BEGUN_NS = 1_700_000_000 * SECOND_NS


def event(number: int, at_ns: int = BEGUN_NS, **more: Any) -> bytes:
    """The line of event `number`; `more`: arguments of `events.line`."""
    call: dict[str, Any] = {
        "identity": ALICE,
        "client": "10.0.0.9",
        "verb": "kv.get",
        "resources": f"app/{number}",
        "method": "GET",
        "path": f"/kv/app/{number}".encode(),
        "status": 200,
        "took_ns": 1_000,
        "request_id": f"r{number}",
    }
    return events.line({}, "n1", str(UUID(int=number)).encode(), at_ns, **(call | more))
