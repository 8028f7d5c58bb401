"""Sets up the front: the compiled one, or its plain twin where the extension is not installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from konsul.doors.http.admission import Admission
from konsul.doors.http.app import refusal
from konsul.doors.http.plain_front import PlainFront
from konsul.engine import raise_for
from konsul.features.kv.commands import refusal as kv_refusal
from konsul.kernel import settings
from konsul.kernel.node import Kernel
from konsul.kernel.pipeline import nobody
from konsul.kernel.writing import write_id

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


def make_front(kernel: Kernel, app: App, answer_headers: Sequence[tuple[bytes, bytes]] = ()) -> AnyFront:
    """The front before `app`, set up from the configuration. `answer_headers`: of every answer."""
    admission = Admission(kernel)
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
            contact=kernel.engine.contact,
            admission=admission,
            answer_headers=answer_headers,
        )
    log, pipeline = kernel.config.of(settings.LogSettings), kernel.pipeline
    shapes = {name: shape for feature in kernel.features for name, shape in feature.shapes.items()}
    return Front(
        kernel.engine.core,
        kernel.engine.waiting,
        app,
        shapes=shapes,
        raise_for=raise_for,
        render=refusal,
        kv_refusal=kv_refusal,
        tally=kernel.pipeline.tally,
        write_id=write_id,
        redirect_writes=kernel.config.of(settings.ClusterSettings).redirect_writes,
        max_head_bytes=http.max_header_bytes,
        max_body_bytes=max_body_bytes,
        max_value_bytes=kv.max_value_bytes,
        body_timeout_ms=http.body_timeout_ms,
        access_log=http.access_log,
        log_format=log.format,
        log_level=log.level,
        identify=None if pipeline.identify is nobody else pipeline.identify,
        limit=pipeline.limit,
        authorise=pipeline.authorise,
        audit=pipeline.audit,
        admission=admission.terms(),
        answer_headers=list(answer_headers),
    )
