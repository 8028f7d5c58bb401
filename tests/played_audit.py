"""An audit slot that only remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from konsul.kernel.pipeline import Identity


class PlayedAudit:
    """`events`: who, what, to what, how it ended; `statuses` beside it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, list[str], str]] = []
        self.statuses: list[int] = []

    def admits(self) -> bool:
        """There is always room."""
        return True

    def record(
        self,
        identity: Identity,
        client: str,  # noqa: ARG002 - the slot's
        verb: str,
        resources: Sequence[str] | None = None,
        outcome: str = "",
        reason: str = "",  # noqa: ARG002 - the slot's
        **rest: Any,
    ) -> None:
        """Notes an event."""
        self.events.append((identity.id, verb, list(resources or ()), outcome))
        self.statuses.append(rest["status"])
