"""The cluster's part of the log: with a level of its own, and a way to say a thing only when it is new."""

from __future__ import annotations

import time
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.config import Config
from konsul.kernel.logging import logger

Level = Literal["debug", "info", "warning", "error"]
_RANK: Final = {"debug": 0, "info": 1, "warn": 2, "warning": 2, "error": 3}
_REMEMBERED_MAX: Final = 256
_QUIET_S: Final = 60.0


class ClusterLog:
    """Lines of the component `raft`."""

    def __init__(self, least: str) -> None:
        self._least = _RANK[least]
        self._said: dict[tuple[str, str], dict[str, Any]] = {}
        self._warned_s: dict[str, float] = {}

    def say(self, level: Level, message: str, **fields: Any) -> None:
        """One line, if the level is written."""
        if _RANK[level] >= self._least:
            getattr(logger(), level)(message, component="raft", **fields)

    def info(self, message: str, **fields: Any) -> None:
        """One line of the level info."""
        self.say("info", message, **fields)

    def warning(self, message: str, **fields: Any) -> None:
        """One line of the level warning."""
        self.say("warning", message, **fields)

    def at_times(self, message: str, *, source: str, **fields: Any) -> None:
        """A warning about a source, unless there was one within the last minute."""
        now_s = time.monotonic()
        if now_s - self._warned_s.get(source, -_QUIET_S) < _QUIET_S:
            return
        if len(self._warned_s) >= _REMEMBERED_MAX:
            self._warned_s.clear()
        self._warned_s[source] = now_s
        self.warning(message, source=source, **fields)

    def once(self, message: str, level: Level = "info", **fields: Any) -> None:
        """One line, unless the last one about the same address or node said just that."""
        about = str(fields.get("address") or fields.get("by") or fields.get("node_id") or "")
        if self._said.get((message, about)) == fields:
            return
        if len(self._said) >= _REMEMBERED_MAX:
            self._said.clear()
        self._said[message, about] = fields
        self.say(level, message, **fields)


_LOGS: Final[WeakKeyDictionary[Config, ClusterLog]] = WeakKeyDictionary()


def cluster_log(config: Config) -> ClusterLog:
    """The log of the node with this configuration."""
    found = _LOGS.get(config)
    if found is None:
        found = _LOGS[config] = ClusterLog(config.of(ClusterSettings).log_level)
    return found
