"""The calls of the health probes. A server that says "not ready" with a 503 has answered: that is no error
here."""

from __future__ import annotations

from konsul.client.model import Health
from konsul.client.request import Answer, Call, Request

GOOD = frozenset({"healthy", "alive", "ready"})


def status() -> Call[Health]:
    """The whole report."""
    return _probe("/health")


def live() -> Call[Health]:
    """Whether the process serves at all."""
    return _probe("/health/live")


def ready() -> Call[Health]:
    """Whether the node can do its work now."""
    return _probe("/health/ready")


def _probe(path: str) -> Call[Health]:
    return Call(Request("GET", path, f"GET {path}", repeatable=True), _health, accepts=frozenset({503}))


def _health(answer: Answer) -> Health:
    document = answer.json()
    text = str(document.get("status", ""))
    return Health(
        status=text,
        ok=answer.status == 200 and text in GOOD,
        version=str(document.get("version", "")),
        uptime=str(document.get("uptime", "")),
        document=document,
    )
