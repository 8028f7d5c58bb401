"""What the definition of a check may say. Every refusal is a sentence about the member that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from konsul.errors import Invalid
from konsul.features.catalog.rules import NAME
from konsul.features.catalog.tables import STATUSES
from konsul.kernel.address import split_address
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.routing import BOOL, MAYBE_U64, TEXT, TEXT_MAP, TEXTS, Kind

KINDS: Final[dict[str, Kind]] = {
    "id": TEXT,
    "name": TEXT,
    "service_id": TEXT,
    "http": TEXT,
    "tcp": TEXT,
    "grpc": TEXT,
    "udp": TEXT,
    "script": TEXTS,
    "alias_service": TEXT,
    "alias_node": TEXT,
    "ttl": TEXT,
    "interval": TEXT,
    "timeout": TEXT,
    "method": TEXT,
    "headers": TEXT_MAP,
    "body": TEXT,
    "expected_status": TEXT,
    "expected_body": TEXT,
    "tls_skip_verify": BOOL,
    "tls_server_name": TEXT,
    "grpc_use_tls": BOOL,
    "success_before_passing": MAYBE_U64,
    "failures_before_warning": MAYBE_U64,
    "failures_before_critical": MAYBE_U64,
    "deregister_critical_after": TEXT,
    "initial_status": TEXT,
    "notes": TEXT,
}
"""The members of a definition, in the order they are stored and shown in."""

_TYPES: Final = (
    ("http", "http"),
    ("tcp", "tcp"),
    ("grpc", "grpc"),
    ("udp", "udp"),
    ("script", "script"),
    ("alias_service", "alias"),
    ("alias_node", "alias"),
)
"""The first member that is there decides the type; without any it is a TTL check."""
THRESHOLD_MAX: Final = 100
URL_MAX_CHARS: Final = 2_048
BODY_MAX_CHARS: Final = 4_096
HEADERS_MAX: Final = 32
PATTERN_MAX_CHARS: Final = 512
PATTERN_MAX_MEMORY_BYTES: Final = 1 << 20
"""What a compiled pattern may take: RE2's time is linear in the text, times what a pattern comes to."""
RANGES_MAX: Final = 16
ARGUMENTS_MAX: Final = 32
ARGUMENT_MAX_CHARS: Final = 1_024
ID_MAX_CHARS: Final = 255
RESERVED_IDS: Final = ("_service_maintenance:", "_node_maintenance:")
NOTES_MAX_CHARS: Final = 1_024
INTERVAL_MIN_MS: Final = 100
PERIOD_MAX_MS: Final = 30 * 24 * 3_600_000
TIMEOUT_MAX_MS: Final = 60_000
"""A run takes one of the few places of a node for so long: silent targets must not hold them all for good."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_RANGE: Final = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", re.ASCII)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", re.ASCII)
_PROGRAM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")

HIDDEN: Final = "(hidden)"
"""Shown in place of a secret, and no value that a header may be given."""
_SECRET: Final = re.compile("auth|cookie|credential|key|passw|secret|session|signature|token", re.IGNORECASE)

Definition: TypeAlias = dict[str, Any]


def shown(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition as it may be seen by whoever reads health: without the values of headers whose names
    speak of secrets. Those that may read are many; the secret is for the target alone."""
    headers: Mapping[str, str] = definition.get("headers") or {}
    if not any(map(_SECRET.search, headers)):
        return definition
    kept = {name: HIDDEN if _SECRET.search(name) else value for name, value in headers.items()}
    return {**definition, "headers": kept}


def type_of(definition: Mapping[str, Any]) -> str:
    """The type of a check: http, tcp, grpc, udp, script, alias or ttl."""
    return next((type for member, type in _TYPES if definition.get(member)), "ttl")


def check_definition(definition: Mapping[str, Any]) -> None:
    """Raises Invalid for the first rule that a definition breaks; its members are those of `KINDS`."""
    for name, most in _DURATIONS.items():
        _check_duration(name, definition[name], most)
    for name, check in _RULES.items():
        value = definition[name]
        if value not in (None, "", [], {}):
            problem = check(value)
            if problem is not None:
                raise _invalid(f"invalid {name}: {problem}")


def _invalid(problem: str) -> Invalid:
    return Invalid(f"check validation failed: {problem}")


_DURATIONS: Final = {"ttl": 1, "interval": INTERVAL_MIN_MS, "timeout": 1, "deregister_critical_after": 1_000}
"""The shortest of each, in ms. A period of zero would run a check without pause, a TTL of zero never end."""


def _check_duration(name: str, text: str, least_ms: int) -> None:
    if not text:
        return
    try:
        given_ms = parse_duration_ms(text)
    except ValueError:
        given_ms = 0
    if given_ms <= 0:
        raise _invalid(f"invalid {name}: {_shown(text)} (expected a duration such as 30s)")
    if given_ms < least_ms:
        raise _invalid(f"invalid {name}: {_shown(text)} is too short (at least {least_ms}ms)")
    if name == "timeout" and given_ms > TIMEOUT_MAX_MS:
        raise _invalid(f"invalid {name}: {_shown(text)} is too long (at most 1m)")
    if given_ms > PERIOD_MAX_MS:
        raise _invalid(f"invalid {name}: {_shown(text)} is too long (at most 720h)")


def _shown(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."


def _at_most(most: int) -> Callable[[str], str | None]:
    return lambda text: f"{len(text)} chars (max {most})" if len(text) > most else None


def _id(text: str) -> str | None:
    if text.startswith(RESERVED_IDS):
        return f"{_shown(text)} begins as those of maintenance do"
    if text in (".", ".."):
        return f"{text!r} is a step in a path, which clients take out of it"
    if _CONTROL.search(text) or "/" in text:
        return f"{_shown(text)!r} has a space, a slash or a control character"
    return _at_most(ID_MAX_CHARS)(text)


def _url(text: str) -> str | None:
    expected = "(expected a URL such as http://10.0.0.1:8080/health)"
    if len(text) > URL_MAX_CHARS:
        return f"{len(text)} chars (max {URL_MAX_CHARS})"
    if _CONTROL.search(text):
        return f"{_shown(text)!r} has a space or a control character {expected}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{_shown(text)} {expected}"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return f"{_shown(text)} {expected}"
    if parts.username is not None or parts.password is not None:
        return "a URL must not hold a password: use headers"
    if ":" not in host and not _HOST_NAME.fullmatch(host):
        return f"{_shown(text)} has no host {expected}"
    return None


def _address(text: str) -> str | None:
    try:
        split_address(text)
    except ValueError:
        return f"{_shown(text)} (expected host:port, such as 10.0.0.7:80 or [fd00::7]:80)"
    return None


def _grpc(text: str) -> str | None:
    """Consul's form: behind the address may stand the service that is asked for."""
    address, slash, service = text.partition("/")
    if slash and (not service or len(service) > ID_MAX_CHARS or _CONTROL.search(service)):
        return f"{_shown(text)} (expected host:port, or host:port/service)"
    return _address(address)


def _script(arguments: list[str]) -> str | None:
    if len(arguments) > ARGUMENTS_MAX:
        return f"{len(arguments)} arguments (max {ARGUMENTS_MAX})"
    if not _PROGRAM.fullmatch(arguments[0]):
        return f"{_shown(arguments[0])!r} is no name of a program in the directory of scripts"
    if any(len(one) > ARGUMENT_MAX_CHARS or "\0" in one for one in arguments):
        return f"an argument is longer than {ARGUMENT_MAX_CHARS} chars or holds NUL"
    return None


def _name(text: str) -> str | None:
    return None if NAME.fullmatch(text) else f"{_shown(text)} (must match ^{NAME.pattern}$)"


def _method(text: str) -> str | None:
    return None if len(text) <= 32 and _TOKEN.fullmatch(text) else f"{_shown(text)!r} is no HTTP method"


def _headers(headers: Mapping[str, str]) -> str | None:
    if len(headers) > HEADERS_MAX:
        return f"{len(headers)} headers (max {HEADERS_MAX})"
    for name, value in headers.items():
        if len(name) > 128 or not _TOKEN.fullmatch(name):
            return f"{_shown(name)!r} is no name of a header"
        if len(value) > BODY_MAX_CHARS or not _HEADER_VALUE.fullmatch(value):
            return f"the value of {name} is longer than {BODY_MAX_CHARS} chars or no text of a header"
        if value == HIDDEN:
            return f"the value of {name} is hidden in answers: give it again"
    return None


def _statuses(text: str) -> str | None:
    parts = text.split(",")
    if len(parts) > RANGES_MAX:
        return f"{len(parts)} ranges (max {RANGES_MAX})"
    for part in parts:
        match = _RANGE.fullmatch(part.strip())
        if match is None or (match[2] is not None and match[2] < match[1]):
            return f"{_shown(part)!r} (expected statuses such as 200-299,301)"
    return None


def _pattern(text: str) -> str | None:
    if len(text) > PATTERN_MAX_CHARS:
        return f"{len(text)} chars (max {PATTERN_MAX_CHARS})"
    import re2  # loaded with the first pattern: a node without any starts without it

    options = re2.Options()
    options.max_mem = PATTERN_MAX_MEMORY_BYTES
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        detail = error.args[0] if error.args else "no pattern"
        said = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        return f"{_shown(text)} (RE2: {said})"
    return None


def _threshold(value: int) -> str | None:
    return None if 1 <= value <= THRESHOLD_MAX else f"{value} (expected 1 to {THRESHOLD_MAX})"


def _status(text: str) -> str | None:
    return None if text in STATUSES else f"{_shown(text)} (expected passing, warning or critical)"


def _server_name(text: str) -> str | None:
    return None if _HOST_NAME.fullmatch(text) else f"{_shown(text)!r} is no name of a host"


_RULES: Final[dict[str, Callable[[Any], str | None]]] = {
    "id": _id,
    "name": _at_most(ID_MAX_CHARS),
    "http": _url,
    "tcp": _address,
    "grpc": _grpc,
    "udp": _address,
    "script": _script,
    "alias_service": _name,
    "alias_node": _name,
    "method": _method,
    "headers": _headers,
    "body": _at_most(BODY_MAX_CHARS),
    "expected_status": _statuses,
    "expected_body": _pattern,
    "tls_server_name": _server_name,
    "success_before_passing": _threshold,
    "failures_before_warning": _threshold,
    "failures_before_critical": _threshold,
    "initial_status": _status,
    "notes": _at_most(NOTES_MAX_CHARS),
}
