"""Users that do what a service does: register, stay alive, find neighbours, read settings, leave."""

from __future__ import annotations

import random
import uuid

from locust import between, task

from konsul.client import Operation, Service
from loadtests.users.sdk_user import SdkUser

SETTINGS = 20


class MixedUser(SdkUser):
    """A service with settings, a heartbeat, and a counter that it raises in transactions."""

    wait_time = between(0.005, 0.02)

    def on_start(self) -> None:
        """Registers, and writes its settings."""
        super().on_start()
        self.name = f"mixed-{uuid.uuid4().hex}"
        self.settings = {f"{self.prefix}settings/{n}": str(n).encode() for n in range(SETTINGS)}
        self.count = 0
        self.client.kv.set_many(self.settings)
        self.client.kv.set(f"{self.prefix}count", b"0")
        self.client.services.register(Service(self.name, "10.0.0.1", 80, tags=("mixed",)))

    def on_stop(self) -> None:
        """Leaves nothing behind."""
        self.client.services.deregister(self.name)
        self.client.kv.delete_prefix(self.prefix)
        super().on_stop()

    @task(10)
    def read_a_setting(self) -> None:
        key = random.choice(list(self.settings))
        self.verify("a setting", self.client.kv.get(key).value, self.settings[key])

    @task(5)
    def heartbeat(self) -> None:
        self.client.services.heartbeat(self.name)

    @task(3)
    def find_neighbours(self) -> None:
        found = self.client.services.query(tags=["mixed"])
        self.verify("itself among its neighbours", self.name in {one.name for one in found}, True)

    @task(2)
    def reload_settings(self) -> None:
        self.verify("its settings", dict(self.client.kv.get_many(self.settings).found), self.settings)

    @task(2)
    def raise_the_count(self) -> None:
        key = f"{self.prefix}count"
        row = self.client.kv.get(key)
        self.verify("the count", int(row.value), self.count)
        self.count += 1
        steps = [
            Operation("check", key, index=row.modify_index),
            Operation("set", key, value=str(self.count).encode()),
            Operation("set", f"{self.prefix}log/{self.count:06}", value=b"raised"),
        ]
        self.client.transaction(steps)
