"""Users of the catalog."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace

from locust import between, task

from konsul.client import Service
from loadtests.users.sdk_user import SdkUser

INSTANCES = 5
ZONES = ("a", "b", "c")


class CatalogUser(SdkUser):
    """Keeps a few instances of one service alive, and finds them."""

    wait_time = between(0.001, 0.01)

    def on_start(self) -> None:
        """Registers its instances."""
        super().on_start()
        self.name = f"load-{uuid.uuid4().hex}"
        self.tag = f"owner:{self.name}"
        self.own = {f"{self.name}-{n}": self.instance(n) for n in range(INSTANCES)}
        self.client.services.register_many(self.own.values())

    def on_stop(self) -> None:
        """Leaves nothing behind."""
        self.client.services.deregister_all(self.name)
        super().on_stop()

    def instance(self, number: int) -> Service:
        """One of its instances."""
        zone = random.choice(ZONES)
        return Service(
            self.name,
            f"10.0.0.{number}",
            8000 + number,
            f"{self.name}-{number}",
            (self.tag,),
            {"zone": zone, "owner": self.name},
            zone=zone,
        )

    @task(10)
    def heartbeat(self) -> None:
        self.client.services.heartbeat(self.name, instance=random.choice(list(self.own)))

    @task(10)
    def find_by_tag(self) -> None:
        found = self.client.services.query(tags=[self.tag])
        self.verify("services by tag", sorted(one.id for one in found), sorted(self.own))

    @task(5)
    def find_by_metadata(self) -> None:
        expected = sorted(one.id for one in self.own.values() if one.meta["zone"] == "a")
        found = self.client.services.query(meta={"owner": self.name, "zone": "a"})
        self.verify("services by metadata", sorted(one.id for one in found), expected)

    @task(5)
    def instances(self) -> None:
        found = {one.service.id: one.service for one in self.client.services.instances(self.name)}
        self.verify("instances", found, self.own)

    @task(5)
    def get(self) -> None:
        self.verify("a service", self.client.services.get(self.name).service.name, self.name)

    @task(2)
    def move(self) -> None:
        instance = random.choice(list(self.own))
        moved = replace(self.own[instance], address=f"10.0.1.{random.randrange(1, 255)}")
        self.own[instance] = moved
        self.client.services.register(moved)
