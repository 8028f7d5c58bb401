"""`/health`, `/health/live`, `/health/ready`."""

from __future__ import annotations

from fastapi import Request, Response

from konsul.features.health.report import health
from konsul.kernel.logging import rfc3339_now
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import AUTHENTICATED
from konsul.kernel.routing import Router, json_response

router = Router(tags=["health"])


@router.get("/health", needs=AUTHENTICATED, summary="How the node is, in figures")
async def read_health(request: Request) -> Response:
    """Always 200 while the process answers; `status` is `healthy` or `degraded`."""
    kernel: Kernel = request.app.state.kernel
    return json_response(health(kernel))


@router.get("/health/live", needs=AUTHENTICATED, summary="Is the process alive")
async def read_live() -> Response:
    """200 as long as the event loop turns: restart the process only when this fails."""
    return json_response({"status": "alive", "timestamp": rfc3339_now()})


@router.get("/health/ready", needs=AUTHENTICATED, summary="Should this node get traffic")
async def read_ready(request: Request) -> Response:
    """200 when a leader is known, the log is applied and the disk answers; else 503 with the reason."""
    kernel: Kernel = request.app.state.kernel
    reason = kernel.readiness()
    if reason is None:
        return json_response({"status": "ready", "timestamp": rfc3339_now()})
    response = json_response({"status": "not_ready", "reason": reason, "timestamp": rfc3339_now()}, 503)
    response.headers["retry-after"] = "1"
    return response
