"""What a server with auditing on recorded, as its API tells it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.ask import ask
from tests.conftest import SMALL, LiveServer

Event = dict[str, Any]


def audited_server(folder: Path, **more: str) -> LiveServer:
    """A server, not started, that records into `folder / logs / audit.log`."""
    settings = {
        "KONSUL_AUDIT_ENABLED": "true",
        "KONSUL_AUDIT_FILE_PATH": str(folder / "logs" / "audit.log"),
        "KONSUL_AUDIT_FLUSH_INTERVAL": "20ms",
    }
    return LiveServer(folder / "data", SMALL | settings | more)


def events(port: int, headers: Mapping[str, str] | None = None, **asked: object) -> list[Event]:
    """Every event that is asked for, the oldest first; what was answered before this call is among them."""
    found: list[Event] = []
    after = ""
    while True:
        params = "&".join(f"{name.rstrip('_')}={value}" for name, value in asked.items())
        path = f"/audit/events?order=oldest&limit=1000&after={after}&{params}"
        answer = ask(port, "GET", path, headers=headers)
        assert answer.status == 200, answer.body
        page = answer.json()
        assert page["count"] == len(page["events"])
        found += page["events"]
        if not page["more"]:
            return found
        after = page["after"]


def of_request(port: int, request_id: str, headers: Mapping[str, str] | None = None) -> list[Event]:
    """The events of one request."""
    return events(port, headers, request_id=request_id)


def brief(event: Event) -> tuple[str, str, Any]:
    """Action, result, and what was touched."""
    return event["action"], event["result"], event.get("resources") or event["resource"].get("id")
