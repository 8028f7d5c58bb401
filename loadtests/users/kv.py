"""Users of keys and values."""

from __future__ import annotations

import random

from locust import between, task

from loadtests.users.sdk_user import SdkUser

KEYS = 50
BATCH = 100
VALUE_BYTES = 100


class KvUser(SdkUser):
    """Reads far more than it writes, as configuration is used."""

    wait_time = between(0.001, 0.01)

    def on_start(self) -> None:
        """Writes the keys it will read."""
        super().on_start()
        self.known = {f"{self.prefix}k/{n:03}": self.value() for n in range(KEYS)}
        self.indices: dict[str, int] = {}
        self.client.kv.set_many(self.known)

    def on_stop(self) -> None:
        """Leaves nothing behind."""
        self.client.kv.delete_prefix(self.prefix)
        super().on_stop()

    def value(self) -> bytes:
        """Any bytes."""
        return random.randbytes(VALUE_BYTES)

    def key(self) -> str:
        """One of its keys."""
        return random.choice(list(self.known))

    @task(20)
    def get(self) -> None:
        key = self.key()
        self.verify("a value read", self.client.kv.get(key).value, self.known[key])

    @task(8)
    def set(self) -> None:
        key = self.key()
        self.known[key] = self.value()
        self.client.kv.set(key, self.known[key])

    @task(2)
    def compare_and_set(self) -> None:
        key = self.key()
        row = self.client.kv.get(key)
        self.known[key] = self.value()
        self.client.kv.set(key, self.known[key], cas=row.modify_index)

    @task(2)
    def delete_and_create(self) -> None:
        key = self.key()
        self.client.kv.delete(key)
        self.client.kv.set(key, self.known[key], cas=0)

    @task(1)
    def list(self) -> None:
        found = list(self.client.kv.keys(f"{self.prefix}k/"))
        self.verify("a listing", found, sorted(self.known))

    @task(1)
    def list_with_values(self) -> None:
        found = {row.key: row.value for row in self.client.kv.list(f"{self.prefix}k/")}
        self.verify("a listing with values", found, self.known)

    @task(1)
    def batches(self) -> None:
        items = {f"{self.prefix}b/{n:03}": self.value() for n in range(BATCH)}
        self.client.kv.set_many(items)
        self.verify("a batch read", dict(self.client.kv.get_many(items).found), items)
        self.client.kv.delete_many(items)

    @task(1)
    def short_lived(self) -> None:
        for n in range(3):
            self.client.kv.set(f"{self.prefix}t/{n}", b"soon gone", ttl="500ms")
