"""What the transport notices gets into the log: each once, however often the status is read."""

from __future__ import annotations

from typing import Any, cast

from structlog.testing import capture_logs

from konsul.engine import Engine
from konsul.features.cluster.services import _Watch
from konsul.kernel.config import load
from konsul.kernel.settings import GROUPS


def event(number: int, *, warning: bool = True) -> dict[str, Any]:
    return {
        "number": number,
        "at_ms": 1,
        "warning": warning,
        "source": "10.0.0.9",
        "reason": "garbage",
        "text": f"event {number}",
        "repeated": 4,
    }


def test_each_event_is_logged_once_with_its_level() -> None:
    config = load(GROUPS, environ={"KONSUL_RAFT_ENABLED": "true", "KONSUL_RAFT_NODE_ID": "n1"})
    watch = _Watch(cast(Engine, None), config)
    with capture_logs() as said:
        watch._hear([event(1), event(2, warning=False)])
        watch._hear([event(1), event(2, warning=False)])
        watch._hear([event(2, warning=False), event(3)])
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("event 1", "warning"),
        ("event 2", "info"),
        ("event 3", "warning"),
    ]
    assert (said[0]["source"], said[0]["reason"], said[0]["repeated"]) == ("10.0.0.9", "garbage", 4)
