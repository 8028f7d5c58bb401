"""Clients that ask for instances while their health and weights change, and what they were answered when."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.waiting import until

STRATEGIES = (
    "round-robin",
    "random",
    "least-connections",
    "weighted-round-robin",
    "weighted-random",
    "ip-hash",
    "ring-hash",
    "latency-based",
    "zone-aware",
)
STEADY = "steady"
"""The one instance that stays passing."""
TIMEOUT_S = 60.0
AGAIN = (503, 504)


@dataclass(frozen=True)
class Seen:
    """One answer: when its request began and when it was there, on which node, and whom it named."""

    began: float
    ended: float
    node: str
    path: str
    status: int
    ids: frozenset[str]


@dataclass(frozen=True)
class Out:
    """A time in which an instance was critical beyond doubt: from the answer to what made it so, to the
    beginning of what took it back."""

    instance: str
    acknowledged: float
    taken_back: float


@dataclass
class UnderChange:
    """`urls`: of the nodes, by name. `instances`: those that come and go; STEADY is there besides."""

    urls: Mapping[str, str]
    service: str
    instances: Sequence[str] = ("a", "b", "c", "d")
    clients_per_node: int = 2
    seen: list[Seen] = field(default_factory=list)
    out: list[Out] = field(default_factory=list)

    def register(self, instance: str, weight: int = 1) -> None:
        body: dict[str, Any] = {
            "name": self.service,
            "id": instance,
            "address": "10.0.0.1",
            "port": 80,
            "tags": [self.service],
            "meta": {"weight": str(weight)},
            "checks": [{"id": self.check(instance), "name": "alive", "ttl": "1h"}],
        }
        self.send(0, "PUT", "/register", body)

    def check(self, instance: str) -> str:
        return f"{self.service}-{instance}"

    def send(self, turn: int, method: str, path: str, body: object = None) -> httpx.Response:
        """A change, asked of the nodes in turn; answered when this returns."""
        urls = list(self.urls.values())
        answers: list[httpx.Response] = []

        def is_done() -> bool:
            # On a busy machine nodes elect anew now and then, and say so.
            answers.append(http.request(method, path, json=body))
            return answers[-1].status_code not in AGAIN

        with httpx.Client(base_url=urls[turn % len(urls)], timeout=TIMEOUT_S, trust_env=False) as http:
            until(is_done, f"{method} {path} to be done", TIMEOUT_S)
        assert answers[-1].status_code == 200, answers[-1].text
        return answers[-1]

    def report(self, turn: int, instance: str, outcome: str) -> None:
        self.send(turn, "PUT", f"/health/check/{self.check(instance)}/{outcome}")

    def paths(self) -> list[str]:
        by_strategy = [f"/lb/service/{self.service}?session=s&strategy={name}" for name in STRATEGIES]
        return [
            *by_strategy,
            f"/lb/tags?tags={self.service}&limit=3",
            f"/services/{self.service}/instances?passing=true",
        ]

    def run(self, changes: int) -> None:
        """Starts the clients, makes one instance after the other critical and passing again, stops them."""
        for instance in (STEADY, *self.instances):
            self.register(instance)
            self.report(0, instance, "pass")
        stop = threading.Event()
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=self._ask, args=(name, url, offset, stop, failures))
            for name, url in self.urls.items()
            for offset in range(self.clients_per_node)
        ]
        for thread in threads:
            thread.start()
        try:
            for turn in range(changes):
                instance = self.instances[turn % len(self.instances)]
                self.report(turn, instance, "fail")
                acknowledged = time.monotonic()
                self.register_again(turn)
                self._until_asked(len(threads), failures)
                taken_back = time.monotonic()
                self.out.append(Out(instance, acknowledged, taken_back))
                self.report(turn + 1, instance, "pass")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failures == []

    def register_again(self, turn: int) -> None:
        """Changes the weight of the one that stays, under load."""
        self.register(STEADY, 1 + turn % 5)

    def wrong(self) -> list[tuple[Seen, Out]]:
        """Answers that name an instance which was critical from before they were asked for until after."""
        return [
            (one, out)
            for out in self.out
            for one in self.seen
            if out.acknowledged <= one.began and one.ended <= out.taken_back and out.instance in one.ids
        ]

    def asked_while_out(self, node: str) -> int:
        """How many answers of the node could have been wrong."""
        return sum(
            out.acknowledged <= one.began and one.ended <= out.taken_back
            for out in self.out
            for one in self.seen
            if one.node == node
        )

    def _until_asked(self, clients: int, failures: list[BaseException]) -> None:
        """Lets every client ask each of its questions about once more."""
        enough = len(self.seen) + clients * len(self.paths())
        until(lambda: failures or len(self.seen) >= enough, "the clients to be answered", TIMEOUT_S)

    def _ask(
        self, node: str, url: str, offset: int, stop: threading.Event, failures: list[BaseException]
    ) -> None:
        paths = self.paths()
        try:
            with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as http:
                while not stop.is_set():
                    offset += 1
                    path = paths[offset % len(paths)]
                    began = time.monotonic()
                    answer = http.get(path)
                    ids = _ids(answer.json()) if answer.status_code == 200 else frozenset()
                    self.seen.append(Seen(began, time.monotonic(), node, path, answer.status_code, ids))
        except BaseException as error:
            failures.append(error)
            raise


def _ids(answer: Any) -> frozenset[str]:
    if isinstance(answer, list):
        return frozenset(one["id"] for one in answer)
    return frozenset(one["id"] for one in (answer["service"], *answer.get("services", ())))
