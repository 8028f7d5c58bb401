"""Sets up the front: the compiled one, or its plain twin where the extension is not installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from konsul.doors.http.plain_front import PlainFront
from konsul.kernel import settings
from konsul.kernel.node import Kernel

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class AnyFront(Protocol):
    """What the server needs of a front."""

    def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> Awaitable[None]: ...
    def start(self) -> None: ...
    def snapshot(self) -> Mapping[str, Any]: ...
    async def drain(self, grace_ms: int) -> int: ...
    def close(self) -> None: ...


def make_front(kernel: Kernel, app: App) -> AnyFront:
    """The front before `app`, set up from the configuration."""
    http, kv = kernel.config.of(settings.HttpSettings), kernel.config.of(settings.KvSettings)
    max_body_bytes = settings.max_body_bytes(http, kv)
    try:
        from konsul_ext.front import Front
    except ImportError:
        return PlainFront(
            app,
            max_head_bytes=http.max_header_bytes,
            max_body_bytes=max_body_bytes,
            body_timeout_ms=http.body_timeout_ms,
            access_log=http.access_log,
        )
    shapes = {name: shape for feature in kernel.features for name, shape in feature.shapes.items()}
    return Front(
        kernel.engine.core,
        kernel.engine.waiting,
        app,
        shapes=shapes,
        max_head_bytes=http.max_header_bytes,
        max_body_bytes=max_body_bytes,
        max_value_bytes=kv.max_value_bytes,
        body_timeout_ms=http.body_timeout_ms,
        access_log=http.access_log,
        log_format=kernel.config.of(settings.LogSettings).format,
        ready=kernel.ready,
    )
