"""What happens in the shop, step by step. Every step says what it shows and fails when it is not so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from deploy.shop.asking import Asking, Failed, until
from deploy.shop.crew import Crew
from deploy.shop.plan import INSTANCES, NEEDS, RULES, Instance
from konsul.client import Check, Service

DRAWS = 500
CANARY_LEAST, CANARY_MOST = 15, 100
"""Of 500 visitors 50 on average; outside of this fewer than once in ten million runs."""
INTERVAL = "1s"


class Story:
    """One run. `say` takes a line at a time."""

    def __init__(self, url: str, asking: Asking, crew: Crew, say: Callable[[str], None]) -> None:
        self._url = url
        self._ask = asking
        self._crew = crew
        self._say = say

    def run(self) -> None:
        """Everything, in order. Raises Failed."""
        try:
            for step in (
                self._open,
                self._visit,
                self._canary,
                self._weights,
                self._zones,
                self._names,
                self._break,
                self._impact,
                self._mend,
                self._maintenance,
            ):
                self._say(f"\n# {(step.__doc__ or '').partition('.')[0]}")
                step()
        finally:
            self._close()

    def _open(self) -> None:
        """Twelve servers of six services register, with checks, zones, weights and what they need."""
        self._crew.start(INSTANCES)
        for one in INSTANCES:
            self._ask.client.services.register(self._described(one))
        for service, rules in RULES.items():
            self._ask.rule(service, rules)
        for service in NEEDS:
            until(partial(self._passes, service), f"{service} passes")
            self._say(f"{service}: {', '.join(self._ask.health(service))} passing")

    def _passes(self, service: str) -> bool:
        return set(self._ask.health(service).values()) == {"passing"}

    def _described(self, one: Instance) -> Service:
        return Service(
            one.service,
            "127.0.0.1",
            self._crew.ports[one],
            one.id,
            meta={"version": one.version, "weight": str(one.weight)},
            zone=one.zone,
            # The checks tell whether it is there: it need not say so itself.
            ttl="0",
            checks=(Check("alive", http=f"{self._crew.url(one)}/health", interval=INTERVAL, timeout="5s"),),
            dependencies=tuple(NEEDS[one.service]),
        )

    def _visit(self) -> None:
        """A visitor comes to the storefront, and each server asks the balancer for those it needs."""
        chosen = self._chosen("storefront")
        instance = next(one for one in INSTANCES if one.id == chosen)
        visited = self._ask.http.get(f"{self._crew.url(instance)}/").raise_for_status().json()
        for line in _told(visited):
            self._say(line)
        _expect("error" not in str(visited), f"somebody did not answer: {visited}")

    def _canary(self) -> None:
        """One in ten visitors of the catalog sees its new version."""
        seen = Counter(self._ask.chosen("catalog") for _ in range(DRAWS))
        self._say(f"{DRAWS} visitors: {_counted(seen)}")
        canaries = seen["catalog-3"]
        _expect(CANARY_LEAST <= canaries <= CANARY_MOST, f"{canaries} of {DRAWS} to the canary")
        _expect(abs(seen["catalog-1"] - seen["catalog-2"]) <= 1, f"not in turn: {_counted(seen)}")

    def _weights(self) -> None:
        """inventory-1 has three times the weight of inventory-2."""
        seen = Counter(self._ask.chosen("inventory") for _ in range(80))
        self._say(f"80 requests: {_counted(seen)}")
        _expect(seen == {"inventory-1": 60, "inventory-2": 20}, f"not by weight: {_counted(seen)}")

    def _zones(self) -> None:
        """A client in a zone is served there."""
        for zone, expected in (("a", "cart-1"), ("b", "cart-2")):
            seen = {self._ask.chosen("cart", strategy="zone-aware", zone=zone) for _ in range(10)}
            self._say(f"zone {zone}: {_names(seen)}")
            _expect(seen == {expected}, f"zone {zone} is served by {_names(seen)}")

    def _names(self) -> None:
        """DNS knows them all, with their ports."""
        for service in NEEDS:
            found = self._ask.srv(service)
            who = [self._at(port) for port in sorted(found)]
            self._say(f"{service}.service: {', '.join(f'{self._at(p)}:{p}' for p in sorted(found))}")
            _expect(sorted(who) == sorted(one.id for one in _of(service)), f"DNS gives {who}")

    def _break(self) -> None:
        """inventory-1 breaks, and nobody is sent to it any more."""
        broken = _of("inventory")[0]
        self._ask.http.put(f"{self._crew.url(broken)}/break").raise_for_status()
        until(lambda: self._ask.health("inventory")[broken.id] == "critical", f"{broken.id} is critical")
        until(lambda: self._crew.ports[broken] not in self._ask.srv("inventory"), f"{broken.id} leaves DNS")
        seen = Counter(self._ask.chosen("inventory") for _ in range(40))
        self._say(f"critical: {broken.id}; 40 requests: {_counted(seen)}; DNS: inventory-2")
        _expect(set(seen) == {"inventory-2"}, f"a critical instance was given: {_counted(seen)}")

    def _impact(self) -> None:
        """konsulctl shows what needs what, and what the failure reaches."""
        graph = self._ctl("service", "graph", "storefront")
        impact = self._ctl("service", "impact", "inventory")
        self._say(f"{graph}\n{impact}")
        _expect("inventory critical" in graph, "the graph does not tell that inventory is critical")
        found = self._ask.client.dependencies.impact("inventory")
        reached = {one.name for one in found.dependents}
        _expect(reached == {"catalog", "cart", "orders", "storefront"}, f"the impact is {reached}")

    def _mend(self) -> None:
        """inventory-1 is mended and comes back by itself."""
        mended = _of("inventory")[0]
        self._ask.http.put(f"{self._crew.url(mended)}/mend").raise_for_status()
        until(lambda: self._ask.health("inventory")[mended.id] == "passing", f"{mended.id} passes")
        until(lambda: self._crew.ports[mended] in self._ask.srv("inventory"), f"{mended.id} is in DNS")
        self._say(f"passing: {mended.id}")

    def _maintenance(self) -> None:
        """payment is taken out for maintenance, and put back."""
        self._ask.client.services.maintenance("payment", instance="payment-1", reason="new terms")
        _expect(self._ask.chosen("payment") is None, "an instance in maintenance was given")
        self._say(self._ctl("service", "get", "payment", "--health"))
        self._ask.client.services.maintenance("payment", False, instance="payment-1")
        _expect(self._ask.chosen("payment") == "payment-1", "payment did not come back")
        self._say(self._ctl("service", "get", "payment", "--health"))

    def _close(self) -> None:
        """Leaves nothing behind."""
        for service in NEEDS:
            self._ask.client.services.deregister_all(service)
            self._ask.client.dependencies.remove(service)
        for service in RULES:
            self._ask.rule(service, None)
        self._crew.stop()

    def _chosen(self, service: str) -> str:
        found = self._ask.chosen(service)
        if found is None:
            raise Failed(f"no instance of {service} can serve")
        return found

    def _at(self, port: int) -> str:
        return next((one.id for one, at in self._crew.ports.items() if at == port), f"somebody at {port}")

    def _ctl(self, *words: str) -> str:
        """What konsulctl says."""
        command = [sys.executable, "-m", "konsul.cli.main", *words, "--server", self._url]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KONSUL_")}
        said = subprocess.run(  # noqa: S603 - our own program, no shell
            command,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env=environ | {"PYTHONIOENCODING": "utf-8"},
        )
        if said.returncode:
            raise Failed(f"konsulctl {' '.join(words)}: {said.stderr.strip()}")
        return said.stdout.rstrip("\n")


def _of(service: str) -> list[Instance]:
    return [one for one in INSTANCES if one.service == service]


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def _counted(seen: Counter[str | None]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(seen.items(), key=lambda one: str(one[0])))


def _names(seen: Iterable[str | None]) -> str:
    return ", ".join(sorted(map(str, seen)))


def _told(visited: dict[str, Any], before: str = "") -> Iterable[str]:
    """Who answered whom, as a tree; the shop is three deep."""
    if "error" in visited:
        yield f"{before}{visited['service']}: {visited['error']}"
        return
    yield f"{before}{visited['id']} (version {visited['version']}, zone {visited['zone']})"
    for one in visited["needs"]:
        yield from _told(one, before + "  ")
