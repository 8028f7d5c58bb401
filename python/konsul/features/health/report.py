"""What `/health` says: the fields existing clients read, and how log and disk are."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from konsul.errors import Unsupported
from konsul.features.health import raft_checks
from konsul.features.health.services import recent_elections
from konsul.kernel.duration import format_duration_ms
from konsul.kernel.logging import rfc3339_now
from konsul.kernel.node import VERSION

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel

_RAFT: Final = ("role", "term", "leader_id", "index", "waiting_entries")
_STATM: Final = Path("/proc/self/statm")


def health(kernel: Kernel) -> dict[str, Any]:
    """The body of `GET /health`. `status` is degraded while the node would not be called ready."""
    status = kernel.engine.status()
    wrong = kernel.readiness()
    sick = kernel.services.health()
    cluster = raft_checks.document(status, recent_elections(kernel.engine)) if status.get("cluster") else None
    is_poor = wrong or sick or writes_refused(status) or (cluster and not cluster["healthy"])
    body: dict[str, Any] = {
        "status": "degraded" if is_poor else "healthy",
        "version": VERSION,
        "uptime": format_duration_ms(kernel.uptime_ms()),
        "timestamp": rfc3339_now(),
        "services": _services(kernel),
        "kv_store": {"total_keys": _rows(kernel, "kv")},
        "system": _system(),
        "raft": {name: status[name] for name in _RAFT} | status["raft"],
        "disk": status["disk"],
    }
    if cluster:
        body["cluster"] = cluster
    if wrong:
        body["reason"] = wrong
    if sick:
        body["background"] = sick
    return body


def writes_refused(status: Mapping[str, Any]) -> bool:
    """True while the disk is too full for writes; such a node still serves reads and stays ready."""
    return bool(status["disk"]["full"])


def _rows(kernel: Kernel, table_name: str) -> int:
    try:
        return sum(
            kernel.engine.count(row.table_id) for row in kernel.tables() if row.table_name == table_name
        )
    except Unsupported:
        # A node has no tables before its cluster has reached it, and is asked how it is all the same.
        return 0


def _services(kernel: Kernel) -> dict[str, int]:
    # An expired service is deleted the moment its lease ends, so none is ever waiting to be purged.
    active = _rows(kernel, "services")
    return {"total": active, "active": active, "expired": 0}


def _system() -> dict[str, int]:
    """The nearest equivalents of the first Konsul's runtime figures, under its names."""
    page_bytes = resource.getpagesize()
    # Not the address space: the map of the tables reserves far more of it than anybody uses.
    resident_pages, private_pages = (int(_STATM.read_text().split()[field]) for field in (1, 5))
    return {
        "goroutines": len(asyncio.all_tasks()),
        "memory_alloc_bytes": resident_pages * page_bytes,
        "memory_sys_bytes": private_pages * page_bytes,
        "num_gc": sum(generation["collections"] for generation in gc.get_stats()),
    }
