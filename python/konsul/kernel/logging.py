"""The log: structured lines on stderr, as text or JSON, with RFC 3339 times."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson

# structlog would load rich for a development console: a quarter of the start and 6 MB that no server uses.
_RICH: Final = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
    from structlog.typing import FilteringBoundLogger
finally:
    del sys.modules["rich"]
    if _RICH is not None:
        sys.modules["rich"] = _RICH

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_SHORT: Final = {"warning": "warn", "critical": "error", "exception": "error"}
_STDLIB: Final = ("asyncio", "konsul")
Event = MutableMapping[str, Any]


def rfc3339_now() -> str:
    """The time as the API writes it: `2026-01-02T03:04:05.123456Z`."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rfc3339(seconds: int) -> str:
    """A Unix time in whole seconds as the API writes it: `2026-01-02T03:04:05Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _stamp(_logger: object, method: str, event: Event) -> Event:
    event["level"] = _SHORT.get(method, method)
    event["ts"] = rfc3339_now()
    return event


def _place(_logger: object, _method: str, event: Event) -> Event:
    event["caller"] = f"{event.pop('filename', '?')}:{event.pop('lineno', 0)}"
    return event


def _fallback(value: object) -> str:
    return str(value)


def _ordered(event: Mapping[str, Any]) -> dict[str, Any]:
    first = {"level": event["level"], "ts": event["ts"], "caller": event["caller"], "msg": event["event"]}
    fields = {name: value for name, value in event.items() if name not in first and name != "event"}
    if "exception" in fields:
        fields["stacktrace"] = fields.pop("exception")
    return {**first, **fields}


def _json_line(_logger: object, _method: str, event: Event) -> str:
    return orjson.dumps(_ordered(event), default=_fallback, option=orjson.OPT_NON_STR_KEYS).decode()


def _text_line(_logger: object, _method: str, event: Event) -> str:
    ordered = _ordered(event)
    level, ts, caller, message = (ordered.pop(name) for name in ("level", "ts", "caller", "msg"))
    stack = ordered.pop("stacktrace", None)
    parts = [ts, level.upper(), caller, str(message)]
    if ordered:
        parts.append(orjson.dumps(ordered, default=_fallback, option=orjson.OPT_NON_STR_KEYS).decode())
    return "\t".join(parts) + (f"\n{stack}" if stack else "")


class _ToStructlog(logging.Handler):
    """Carries what libraries log through the standard library into the one log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warn"
        error = record.exc_info[1] if record.exc_info else None
        log = logger()
        say = log.error if level == "error" else log.warning
        say(record.getMessage(), component=record.name, exc_info=error)


def configure(level: str, log_format: str) -> None:
    """Sets the log up for the process. `level`: debug, info, warn, error; `log_format`: text, json."""
    callsite = structlog.processors.CallsiteParameterAdder(
        (structlog.processors.CallsiteParameter.FILENAME, structlog.processors.CallsiteParameter.LINENO),
        additional_ignores=["konsul.kernel.logging", "logging"],
    )
    structlog.configure(
        processors=[
            _stamp,
            callsite,
            _place,
            structlog.processors.format_exc_info,
            _json_line if log_format == "json" else _text_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = _ToStructlog(logging.WARNING)
    for name in _STDLIB:
        library = logging.getLogger(name)
        library.handlers, library.propagate = [handler], False
        library.setLevel(logging.WARNING)


def logger() -> FilteringBoundLogger:
    """The log. Call it when logging, not at import: `configure` decides its shape."""
    return cast(FilteringBoundLogger, structlog.get_logger())
