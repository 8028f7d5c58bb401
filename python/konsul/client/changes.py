"""What a watch hands out: changes, listings where changes are missing, and, on request, notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from konsul.client.model import KeyValue, Service

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class KvChange:
    """One change of one key. `value` is None for a delete; `old_value` is None when the key was new, and
    also when its value was empty. `timestamp` in Unix seconds, by the leader's clock."""

    type: Literal["set", "delete"]
    key: str
    value: bytes | None
    old_value: bytes | None
    modify_index: int
    timestamp: int

    @property
    def text(self) -> str:
        """The new value as UTF-8 text, empty for a delete; raises UnicodeDecodeError when it is not text."""
        return (self.value or b"").decode()


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """One change of one instance: as it is now, or as it was when it left. `expired`: it was not heard of in
    time. A `heartbeat` has no index of its own, and is told by the node that took it only."""

    type: Literal["register", "deregister", "expired", "heartbeat"]
    service: Service
    modify_index: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class ClusterChange:
    """The leader, or the members, as the server asked sees them: at first, after each reconnect, and when
    they change. `document` holds everything it sent."""

    type: str
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Relisted(Generic[Row]):
    """Everything that matches now: what was held before is void, and the changes that follow go on from here.

    `reason`: `initial` at the begin of a watch that asked for it; `compacted` when the server no longer knew
    every change since `since`, so that some are not told one by one. The rows are at least as new as `index`.
    """

    reason: Literal["initial", "compacted"]
    index: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Connected:
    """Notice: the watch runs, at `address`, with everything after `since`."""

    address: str
    since: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Notice: the watch does not run; it tries again after `pause_s`."""

    address: str
    reason: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class Behind:
    """Notice: this reader is slower than the changes; the server keeps those from `resume_index` on."""

    resume_index: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """Notice: changes up to `index` were not all told, for the server does not know them any more."""

    index: int


Notice = Connected | Disconnected | Behind | Compacted
KvEvent = KvChange | Relisted[KeyValue] | Notice
ServiceEvent = ServiceChange | Relisted[Service] | Notice
ClusterEvent = ClusterChange | Connected | Disconnected
