"""What the plain front tells the audit about a request that is over."""

from __future__ import annotations

from typing import Any, Final

from konsul.kernel.pipeline import ANONYMOUS, Audit

ACTIONS: Final = {401: "auth.failed", 403: "access.denied", 429: "rate_limit.exceeded"}
"""What a request that reached no verb is recorded as."""


def record(
    audit: Audit,
    about: dict[str, Any],
    method: str,
    path: bytes,
    status: int,
    seconds: float,
    body: bytes | None,
) -> None:
    """One event per verb; of a request that ran none, one unless it is a public path's answer."""

    def note(verb: str, resources: list[str] | None, outcome: str, reason: str) -> None:
        audit.record(
            about.get("identity", ANONYMOUS),
            about["client"],
            verb,
            resources,
            outcome,
            reason,
            method=method,
            path=path,
            status=status,
            took_ns=int(seconds * 1e9),
            request_id=about["request_id"].encode(),
            body=body,
        )

    acts = about.get("acts")
    if acts:
        for act in acts:
            note(act.action, list(act.resources), act.outcome, act.reason)
        if about.get("more_acts"):
            note(f"http.{method.lower()}", None, "", f"{about['more_acts']} more acts")
    elif status >= 400 or not about.get("public"):
        note(ACTIONS.get(status) or f"http.{method.lower()}", None, "", about.get("reason", ""))
