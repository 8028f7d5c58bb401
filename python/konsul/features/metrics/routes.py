"""`/metrics`."""

from __future__ import annotations

from fastapi import Request, Response

from konsul.kernel.metrics import CONTENT_TYPE
from konsul.kernel.node import Kernel
from konsul.kernel.routing import Router

router = Router(tags=["metrics"])


@router.get(
    "/metrics", needs="admin:read", summary="Everything counted, for Prometheus", response_class=Response
)
async def read_metrics(request: Request) -> Response:
    """Prometheus text; requests for it are not counted themselves."""
    kernel: Kernel = request.app.state.kernel
    return Response(kernel.metrics.page(), headers={"content-type": CONTENT_TYPE})
