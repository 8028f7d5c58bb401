"""A locust user that speaks through the SDK."""

from __future__ import annotations

import uuid

from locust import User

from konsul.client import Client, Observation, Policy, Settings

MS_PER_S = 1_000


class SdkUser(User):
    """Has a `client`, and a `prefix` that no other user writes below."""

    abstract = True
    client: Client
    prefix: str

    def on_start(self) -> None:
        """Connects."""
        policy = Policy(deadline_s=30, retries=0)
        address = self.host or "http://localhost:8888"
        self.client = Client(Settings(address, policy=policy, observe=self.observe))
        self.prefix = f"load/{uuid.uuid4().hex}/"

    def on_stop(self) -> None:
        """Disconnects."""
        self.client.close()

    def observe(self, seen: Observation) -> None:
        """Reports one attempt to locust's statistics."""
        method, _, route = seen.route.partition(" ")
        self.environment.events.request.fire(
            request_type=method,
            name=route,
            response_time=seen.elapsed_s * MS_PER_S,
            response_length=seen.body_bytes,
            exception=RuntimeError(seen.error) if seen.error else None,
            context={},
        )

    def verify(self, what: str, seen: object, expected: object) -> None:
        """A wrong answer is a failure, like a refusal."""
        if seen != expected:
            error = AssertionError(f"{what}: {seen!r} instead of {expected!r}")
            self.environment.events.request.fire(
                request_type="VERIFY",
                name=what,
                response_time=0,
                response_length=0,
                exception=error,
                context={},
            )
