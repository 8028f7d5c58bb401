"""Prints what a large catalog costs and how fast it answers under heartbeats. `make bench` runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benches import release
from benches.discovery.wire import Wire, open_wires
from benches.restart.__main__ import at, metric
from benches.served import Served

SERVICES = int(os.environ.get("KONSUL_BENCH_SERVICES", "10000"))
INSTANCES = int(os.environ.get("KONSUL_BENCH_INSTANCES", "10"))
SECONDS = float(os.environ.get("KONSUL_BENCH_SECONDS", "20"))
TTL_S = 30
PER_BATCH = 100
SINGLE = 2_000
"""Instances that are registered one by one."""
WIRES = 8
QUERIES_PER_S = 50
COSTED = 1_000
TAGS = 1_000
KINDS = ("name", "tag")
LOG_BYTES = "konsul_raft_log_size_bytes"
SETTINGS = {"KONSUL_SERVICE_TTL": "10m"}
"""Filling may take longer than a lease; the heartbeats come at the pace of 30 s all the same."""


@dataclass(frozen=True)
class Figure:
    """One line of the report, and whether it is what it should be; None: nothing is asked of it."""

    name: str
    value: str
    holds: bool | None = None


def name(service: int) -> str:
    """A service."""
    return f"svc-{service:05}"


def body(service: int, instance: int) -> dict[str, object]:
    """One instance as it registers itself."""
    return {
        "name": name(service),
        "id": f"{name(service)}-{instance}",
        "address": f"10.{service >> 8 & 255}.{service & 255}.{instance + 1}",
        "port": 8_000 + instance,
        "tags": [f"group-{service % TAGS}", f"v{instance % 3}"],
        "meta": {"version": f"1.{instance % 5}", "team": f"t{service % 50}"},
    }


async def fill(wires: Sequence[Wire]) -> tuple[float, float]:
    """Registers every instance; the rates of batches and of single calls, instances per second."""
    everything = [(service, instance) for service in range(SERVICES) for instance in range(INSTANCES)]
    single, batched = everything[:SINGLE], everything[SINGLE:]
    parts = [batched[start : start + PER_BATCH] for start in range(0, len(batched), PER_BATCH)]

    async def batches(wire: Wire) -> None:
        while parts:
            services = [body(*one) for one in parts.pop()]
            answer = await wire.ask(
                "POST", "/batch/services/register", json.dumps({"services": services}).encode()
            )
            if json.loads(answer)["count"] != len(services):
                raise SystemExit(f"a batch was not registered: {answer[:500]!r}")

    async def singles(wire: Wire) -> None:
        while single:
            await wire.ask("PUT", "/register", json.dumps(body(*single.pop())).encode())

    rates = []
    for work, count in ((batches, len(batched)), (singles, len(single))):
        begun = time.perf_counter()
        await asyncio.gather(*(work(wire) for wire in wires))
        rates.append(count / (time.perf_counter() - begun))
    return rates[0], rates[1]


async def beat(wire: Wire, share: int, per_s: float, end: float) -> int:
    """Heartbeats of every `WIRES`th instance at an even pace; how many were answered."""
    count = 0
    begun = time.perf_counter()
    total = SERVICES * INSTANCES
    while time.perf_counter() < end:
        which = (share + count * WIRES) % total
        service, instance = divmod(which, INSTANCES)
        await wire.ask("PUT", f"/heartbeat/{name(service)}?id={name(service)}-{instance}")
        count += 1
        await asyncio.sleep(max(0.0, begun + count / per_s - time.perf_counter()))
    return count


async def query(wire: Wire, kind: str, number: int) -> float:
    """One query by name or by tag; how long it took, in ms."""
    # A stride that meets every service, and neighbours never.
    service = number * 7_919 % SERVICES
    path = f"/services/{name(service)}/instances?passing=true"
    if kind == "tag":
        path = f"/services/query/tags?tags=group-{service % TAGS}&tags=v1"
    begun = time.perf_counter()
    await wire.ask("GET", path)
    return (time.perf_counter() - begun) * 1e3


async def queries(wire: Wire, end: float) -> dict[str, list[float]]:
    """Queries of both kinds in turns at an even pace; how long each took."""
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    number = 0
    while time.perf_counter() < end:
        for kind, times in took.items():
            times.append(await query(wire, kind, number))
            await asyncio.sleep(1 / QUERIES_PER_S / len(took))
        number += 1
    return {kind: sorted(times) for kind, times in took.items()}


async def run(served: Served, url: str) -> list[Figure]:
    """The whole story against a running server."""
    port = int(url.rpartition(":")[2])
    async with open_wires(port, WIRES + 1) as wires:
        batched, single = await fill(wires)
        rss_mb, private_mb = served.rss_mb(), served.private_mb()
        idle = await cpu_share(served, 3.0)
        before, size = await wires[0].index(), metric(url, LOG_BYTES)
        per_s = SERVICES * INSTANCES / TTL_S / WIRES
        begun_s, begun = served.cpu_s(), time.perf_counter()
        beats = await asyncio.gather(*(beat(wires[n], n, per_s, begun + SECONDS) for n in range(WIRES)))
        took_s = time.perf_counter() - begun
        share = (served.cpu_s() - begun_s) / took_s - idle
        after, grown = await wires[0].index(), metric(url, LOG_BYTES) - size
        end = time.perf_counter() + SECONDS
        loads = [beat(wires[n], n, per_s, end) for n in range(WIRES)]
        asking = asyncio.create_task(queries(wires[WIRES], end))
        await asyncio.gather(asking, *loads)
        times = asking.result()
        costs = {kind: await cost_ms(served, wires[WIRES], kind) for kind in KINDS}
    alive, total = metric(url, "konsul_registered_services_total"), SERVICES * INSTANCES
    found = [
        Figure("instances registered, of them alive", f"{total:,}, {alive:,.0f}", alive == total),
        Figure("registered in batches of 100, instances/s", f"{batched:,.0f}"),
        Figure("registered one by one, instances/s", f"{single:,.0f}"),
        Figure("RSS, of it private, MB (< 400)", f"{rss_mb:.0f}, {private_mb:.0f}", rss_mb < 400),
        Figure("heartbeats/s answered", f"{sum(beats) / took_s:,.0f} of {total / TTL_S:,.0f}"),
        Figure("CPU of them, share of one core (< 0.30)", f"{share:.2f}", share < 0.3),
        Figure("CPU when idle, share of one core", f"{idle:.3f}"),
        Figure("entries and bytes they added to the log", f"{after - before}, {grown:.0f}", after == before),
    ]
    for kind, one in times.items():
        p50, p99 = at(one, 0.5), at(one, 0.99)
        found.append(
            Figure(f"query by {kind} meanwhile, p50 / p99, ms (< 2)", f"{p50:.2f} / {p99:.2f}", p99 < 2)
        )
        found.append(Figure(f"CPU of a query by {kind}, ms", f"{costs[kind]:.2f}"))
    return found


async def cost_ms(served: Served, wire: Wire, kind: str) -> float:
    """What one query takes of a core: what holds on a machine that others use as well."""
    begun_s = served.cpu_s()
    for number in range(COSTED):
        await query(wire, kind, number)
    return (served.cpu_s() - begun_s) / COSTED * 1e3


async def cpu_share(served: Served, seconds: float) -> float:
    """What the server takes of one core by itself."""
    begun = served.cpu_s()
    await asyncio.sleep(seconds)
    return (served.cpu_s() - begun) / seconds


def main() -> int:
    interpreter = release.python()
    release.REPORTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=release.REPORTS, prefix=".discovery-") as folder:
        served, url = release.konsul(interpreter, Path(folder), SETTINGS)
        with served:
            figures = asyncio.run(run(served, url))
    rows = [f"| {one.name} | {one.value} |" for one in figures]
    page = "\n".join(
        [
            f"# {SERVICES:,} services x {INSTANCES} instances",
            "",
            "| what | figure |",
            "| --- | ---: |",
            *rows,
            "",
        ]
    )
    (release.REPORTS / "discovery.md").write_text(page)
    print(page)
    missed = [one.name for one in figures if one.holds is False]
    for one in missed:
        print(f"missed: {one}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
