"""One event as its line, in plain Python: what the compiled `konsul_ext.audit` must write byte for byte, and
what stands in for it where the extension is not installed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import Final
from uuid import uuid4

from konsul.kernel.pipeline import Identity

PATH_MAX_BYTES: Final = 2_048
ID_MAX_BYTES: Final = 1_024
IDS_MAX: Final = 100
IDS_MAX_BYTES: Final = 16_384
NAME_MAX_BYTES: Final = 256
METHOD_MAX_BYTES: Final = 32
REASON_MAX_BYTES: Final = 512
ROLES_MAX: Final = 32
BYTES_PER_EVENT: Final = 2_048
READING: Final = frozenset(("GET", "HEAD", "OPTIONS"))
CUT: Final = "\u2026"
Actions = Mapping[str, tuple[str, str, bool]]
Resources = Sequence[str | bytes] | str | bytes | None

_NAMED: Final = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_HIDDEN: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
)
"""Control characters, and what ends lines, is invisible or turns the direction of text."""
_ESCAPES: Final = {point: f"\\u{point:04x}" for point in _HIDDEN} | _NAMED


def escape(text: str) -> str:
    """`text` inside a JSON string of an event, without its quotes."""
    return text.translate(_ESCAPES)


def foreign(text: str | bytes | None, most: int) -> str:
    """What somebody else chose, as `escape`: cut to `most` bytes of UTF-8 and marked where it was cut; a byte
    over ASCII of what is no UTF-8 becomes U+FFFD, written as its escape."""
    raw = as_bytes(text)
    mark = CUT if len(raw) > most else ""
    if mark:
        size = most
        while size and raw[size] & 0xC0 == 0x80:
            size -= 1
        raw = raw[:size]
    try:
        return escape(raw.decode()) + mark
    except UnicodeDecodeError:
        return "".join(escape(chr(byte)) if byte < 0x80 else "\\ufffd" for byte in raw) + mark


def as_bytes(text: str | bytes | None) -> bytes:
    """UTF-8; None is nothing; a lone surrogate becomes `?`."""
    if text is None:
        return b""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def result_of(status: int, outcome: str) -> str:
    """success, denied, error or unknown: an act may have failed although the whole request answered 200."""
    if status >= 500:
        return "error"
    if outcome and outcome != "success":
        return "error" if outcome == "error" and not 400 <= status < 500 else "denied"
    if 200 <= status < 300 or status == 101:
        return "success"
    return "denied" if status >= 400 else "unknown"


def line(
    actions: Actions,
    node_id: str,
    event_id: bytes,
    at_ns: int,
    identity: Identity | None,
    client: str,
    verb: str,
    resources: Resources = None,
    outcome: str = "",
    reason: str = "",
    *,
    method: str,
    path: bytes,
    status: int,
    took_ns: int,
    request_id: str | bytes,
    body: bytes | None = None,
) -> bytes:
    """The line of one event; the arguments are those of `konsul_ext.audit.AuditLog.line`."""
    action, kind, _ = actions.get(verb) or (verb, verb.partition(".")[0], False)
    ids, omitted = _ids(resources)
    micros = max(took_ns, 0) // 1_000
    parts = [
        f'{{"event_id":"{event_id.decode()}","timestamp":"{_moment(at_ns)}"',
        f',"action":"{foreign(action, NAME_MAX_BYTES)}","result":"{result_of(status, outcome)}"',
        f',"resource":{{"type":"{foreign(kind, NAME_MAX_BYTES)}"',
        f',"id":"{ids[0]}"' if len(ids) == 1 and ids[0] else "",
        f'}},"actor":{_actor(identity)},"source_ip":"{foreign(client, NAME_MAX_BYTES)}"',
    ]
    if identity is not None and identity.method:
        parts.append(f',"auth_method":"{foreign(identity.method, NAME_MAX_BYTES)}"')
    parts += [
        f',"http_method":"{foreign(method, METHOD_MAX_BYTES)}"',
        f',"http_path":"{foreign(path, PATH_MAX_BYTES)}","http_status":{max(status, 0)}',
    ]
    # Passwords are guessed from a hash: what is said to `/auth`, or to nobody, leaves none.
    if body and method not in READING and verb in actions and not action.startswith("auth."):
        parts.append(f',"request_hash":"{hashlib.sha256(body).hexdigest()}"')
    parts.append(f',"request_id":"{foreign(request_id, NAME_MAX_BYTES)}"')
    parts.append(f',"duration_ms":{micros // 1_000}.{micros % 1_000:03d}')
    why = reason or (outcome if outcome != "success" else "")
    if why:
        parts.append(f',"reason":"{foreign(why, REASON_MAX_BYTES)}"')
    if len(ids) > 1 or omitted:
        parts.append(',"resources":[' + ",".join(f'"{one}"' for one in ids) + "]")
        if omitted:
            parts.append(f',"resources_omitted":{omitted}')
    parts.append(f',"node_id":"{foreign(node_id, NAME_MAX_BYTES)}"}}\n')
    return "".join(parts).encode("utf-8", "replace")


def _ids(resources: Resources) -> tuple[list[str], int]:
    """The ids that an event holds, escaped, and how many it does not hold."""
    if resources is None:
        return [], 0
    if isinstance(resources, str | bytes):
        return ([foreign(resources, ID_MAX_BYTES)] if resources else []), 0
    kept: list[str] = []
    size = 0
    for one in resources:
        size += min(len(as_bytes(one)), ID_MAX_BYTES)
        if len(kept) >= IDS_MAX or size > IDS_MAX_BYTES:
            break
        kept.append(foreign(one, ID_MAX_BYTES))
    return kept, len(resources) - len(kept)


def _actor(identity: Identity | None) -> str:
    kind = "anonymous" if identity is None else identity.kind
    members = [f'"type":"{foreign("service" if kind == "inside" else kind, NAME_MAX_BYTES)}"']
    if identity is None:
        return f"{{{members[0]}}}"
    if identity.id:
        members.insert(0, f'"id":"{foreign(identity.id, NAME_MAX_BYTES)}"')
    if identity.name:
        members.append(f'"name":"{foreign(identity.name, NAME_MAX_BYTES)}"')
    if identity.roles:
        roles = ",".join(f'"{foreign(role, NAME_MAX_BYTES)}"' for role in identity.roles[:ROLES_MAX])
        members.append(f'"roles":[{roles}]')
    if identity.token_id:
        members.append(f'"token_id":"{foreign(identity.token_id, NAME_MAX_BYTES)}"')
    return "{" + ",".join(members) + "}"


def _moment(at_ns: int) -> str:
    """RFC 3339, UTC, nanoseconds."""
    second, nanos = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


class PlainAuditLog:
    """The buffer of lines in plain Python; members and meanings are those of `konsul_ext.audit.AuditLog`."""

    def __init__(
        self,
        actions: Actions,
        node_id: str,
        *,
        which: str = "all",
        events_max: int = 16_384,
        drop_policy: str = "drop",
        wake: Callable[[], object] | None = None,
    ) -> None:
        if events_max < 1:
            raise ValueError("events_max must be at least 1")
        self._actions = actions
        self.line = partial(line, actions, node_id)
        """The line that `record` would add, with a given id and time."""
        self._which = {"all": "all", "writes": "writes", "denied": "denied"}[which]
        self._blocks = {"drop": False, "block": True}[drop_policy]
        self._events_max, self._bytes_max = events_max, events_max * BYTES_PER_EVENT
        self._wake = wake
        self._lock = Lock()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._times: list[int] = []
        self._asked = False
        self.recorded = self.dropped = self.refused = 0

    def _is_full(self) -> bool:
        return len(self._lines) >= self._events_max or self._bytes >= self._bytes_max

    def admits(self) -> bool:
        """False while the buffer is full and the policy is `block`."""
        if not self._blocks or not self._is_full():
            return True
        self.refused += 1
        return False

    def record(
        self,
        identity: Identity | None,
        client: str,
        verb: str,
        resources: Resources = None,
        outcome: str = "",
        reason: str = "",
        *,
        method: str,
        path: bytes,
        status: int,
        took_ns: int,
        request_id: str | bytes,
        body: bytes | None = None,
    ) -> None:
        """Adds one event."""
        if not self._wanted(verb, method, result_of(status, outcome)):
            return
        if not self._blocks and self._is_full():
            self.dropped += 1
            return
        at_ns = time.time_ns() - took_ns
        text = self.line(
            str(uuid4()).encode(),
            at_ns,
            identity,
            client,
            verb,
            resources,
            outcome,
            reason,
            method=method,
            path=path,
            status=status,
            took_ns=took_ns,
            request_id=request_id,
            body=body,
        )
        with self._lock:
            self._lines.append(text)
            self._times.append(at_ns)
            self._bytes += len(text)
            self.recorded += 1
            asks = not self._asked and (
                len(self._lines) * 4 >= self._events_max or self._bytes * 4 >= self._bytes_max
            )
            self._asked = self._asked or asks
        if asks and self._wake is not None:
            self._wake()

    def _wanted(self, verb: str, method: str, result: str) -> bool:
        if self._which == "all" or result != "success":
            return True
        known = self._actions.get(verb)
        writes = known[2] if known is not None else method not in READING
        return self._which == "writes" and writes

    def take(self) -> tuple[bytes, int, int, int] | None:
        """(lines, events, earliest and latest event in nanoseconds), which leave the buffer."""
        with self._lock:
            lines, times = self._lines, self._times
            self._lines, self._times, self._bytes, self._asked = [], [], 0, False
        return (b"".join(lines), len(lines), min(times), max(times)) if lines else None

    def waiting(self) -> int:
        """Events in the buffer."""
        return len(self._lines)
