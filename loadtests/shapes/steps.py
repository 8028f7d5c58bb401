"""More users step by step."""

from __future__ import annotations

from locust import LoadTestShape

STEP_S = 10
STEP_USERS = 10
STEPS = 6


class Steps(LoadTestShape):
    """Ten users more every ten seconds, for a minute."""

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate per second for now; None at the end."""
        now_s: float = self.get_run_time()  # type: ignore[no-untyped-call]  # locust leaves it untyped
        step = int(now_s // STEP_S)
        return None if step >= STEPS else ((step + 1) * STEP_USERS, STEP_USERS)
