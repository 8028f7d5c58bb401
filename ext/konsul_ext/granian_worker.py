"""Runs granian's embedded ASGI worker with the front's `Direct` in place of its task scheduler.

For `granian.server.embed.Server.serve(spawn_target=spawn)`; the server's target must be a `Front`. The
steps are those of granian's own `_spawn_asgi_worker` (BSD-3-Clause,
https://github.com/emmett-framework/granian, 2.8.7).
"""

from __future__ import annotations

import asyncio
from typing import Any

from granian._granian import ASGIWorker, CallbackScheduler
from granian.server.embed import AsyncWorker

from konsul_ext.front import Front


def _nothing(_task: object) -> None:
    """Where granian would enter and leave a task, there is none."""


@AsyncWorker.wrap_target
async def spawn(
    worker_id: int,
    shutdown_event: Any,
    front: Front,
    sock: Any,
    loop: asyncio.AbstractEventLoop,
    runtime_threads: int,
    runtime_blocking_threads: int | None,
    blocking_threads: int,
    blocking_threads_idle_timeout: int,
    backpressure: int,
    _task_impl: str,
    http_mode: str,
    http1_settings: Any,
    http2_settings: Any,
    websockets: bool,
    static_path: Any,
    _log_access_format: str | None,
    ssl_context: Any,
    _scope_options: dict[str, Any],
) -> None:
    """One worker, from its first connection until the server stops."""
    stopped = loop.create_future()
    shutdown_event.add_cb(lambda: loop.call_soon_threadsafe(stopped.set_result, None))
    worker = ASGIWorker(
        worker_id,
        sock,
        None,
        runtime_threads,
        runtime_blocking_threads,
        blocking_threads,
        blocking_threads_idle_timeout,
        backpressure,
        http_mode,
        http1_settings,
        http2_settings,
        websockets,
        static_path,
        *ssl_context,
        (None, None),
    )
    direct = front.direct(loop)
    scheduler = CallbackScheduler(direct, front, None, _nothing, _nothing)
    scheduler._schedule_fn = direct.schedule
    serve = worker.serve_async_uds if (sock[0] or sock[1]).is_uds() else worker.serve_async
    serve(scheduler, direct, shutdown_event)
    await stopped
