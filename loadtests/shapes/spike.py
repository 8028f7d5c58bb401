"""Few users, suddenly many, few again."""

from __future__ import annotations

from locust import LoadTestShape

CALM_USERS, SPIKE_USERS = 10, 100
STAGES_S = ((15, CALM_USERS), (30, SPIKE_USERS), (45, CALM_USERS))


class Spike(LoadTestShape):
    """Fifteen calm seconds, fifteen with ten times the users, fifteen calm ones."""

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate per second for now; None at the end."""
        now_s: float = self.get_run_time()  # type: ignore[no-untyped-call]  # locust leaves it untyped
        users = next((users for until_s, users in STAGES_S if now_s < until_s), None)
        return None if users is None else (users, SPIKE_USERS)
