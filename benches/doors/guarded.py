"""What the guards cost: the open pipeline against the whole one, alternating, by server CPU per request.

Whole: identity by JWT or API key, 1,000 rules of which the last one decides, a rate limit too high to be
reached, every request audited to a file, and then also to the store that is searched. `make bench` runs it
after the open cases.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import ssl
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benches import release, wrk
from benches.doors.__main__ import BATCH, KEYS, VALUE
from benches.served import Served

HERE: Final = Path(__file__).parent
SECONDS: Final = int(os.environ.get("KONSUL_BENCH_SECONDS", "4"))
ROUNDS: Final = int(os.environ.get("KONSUL_BENCH_ROUNDS", "5"))
RULES: Final = 1_000
CASES: Final = {"GET one key": "get.lua", "PUT one key": "put.lua"}
STORES: Final = {"": "false", ", searchable": "true"}
"""What is said of a caller -> whether events go to the node's own store too, as they do unless it is off."""
PASSWORD: Final = secrets.token_hex(16)


@dataclass(frozen=True)
class Door:
    """One server as one kind of caller sees it."""

    name: str
    served: Served
    url: str
    header: str = ""


@dataclass(frozen=True)
class Cost:
    """What one request of a case cost behind one door: the median of all rounds."""

    case: str
    door: str
    cpu_us: float
    requests_per_s: float
    over_open_us: float
    bad: int


def ask(
    url: str, method: str, path: str, body: object, key: str = "", context: ssl.SSLContext | None = None
) -> Any:
    """One JSON request. Raises OSError for any answer but 2xx."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        url + path, json.dumps(body).encode(), headers, method=method
    )
    with urllib.request.urlopen(request, timeout=30, context=context) as reply:  # noqa: S310 - loopback
        return json.loads(reply.read() or b"null")


def policy(name: str) -> dict[str, object]:
    """A thousand rules with and without wildcards; the last one gives what the load asks for."""
    shapes = ("app-{0}/**", "team/{0}/*/config", "exact/key/{0}", "logs-*/{0}/**")
    rules = [
        {"path": shapes[number % len(shapes)].format(number), "capabilities": ["read", "list"]}
        for number in range(RULES - 1)
    ]
    rules.append({"path": "bench/**", "capabilities": ["read", "write", "list"]})
    return {"name": name, "kv": rules}


def settings(folder: Path, admin: str) -> Mapping[str, str]:
    """Every guard on."""
    for name, text in (("admin.key", admin), ("jwt.secret", secrets.token_hex(32))):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return {
        "KONSUL_AUTH_ENABLED": "true",
        "KONSUL_ACL_ENABLED": "true",
        "KONSUL_ACL_POLICY_DIR": str(folder / "policies"),
        "KONSUL_JWT_SECRET_FILE": str(folder / "jwt.secret"),
        "KONSUL_JWT_EXPIRY": "24h",
        "KONSUL_BOOTSTRAP_TOKEN_FILE": str(folder / "admin.key"),
        "KONSUL_RATE_LIMIT_ENABLED": "true",
        "KONSUL_RATE_LIMIT_REQUESTS_PER_SEC": "100000000",
        "KONSUL_RATE_LIMIT_BURST": "100000000",
        "KONSUL_RATE_LIMIT_BY_APIKEY": "true",
        "KONSUL_AUDIT_ENABLED": "true",
        "KONSUL_AUDIT_FILE_PATH": str(folder / "audit.log"),
    }


def callers(url: str, admin: str) -> dict[str, str]:
    """The headers of a user and of an API key that the policy of a thousand rules is attached to."""
    ask(url, "POST", "/acl/policies", policy("bench"), admin)
    user = {"user_id": "bench", "username": "bench", "password": PASSWORD}
    ask(url, "POST", "/auth/users", user | {"policies": ["bench"]}, admin)
    token = ask(url, "POST", "/auth/login", user)["token"]
    key = ask(url, "POST", "/auth/apikeys", {"name": "bench", "permissions": ["bench"]}, admin)["key"]
    return {"JWT": f"Authorization: Bearer {token}", "API key": f"X-API-Key: {key}"}


def fill(url: str, key: str = "", context: ssl.SSLContext | None = None) -> None:
    """Writes every key the cases use."""
    for start in range(0, KEYS, BATCH):
        items = {f"bench/{number:05}": VALUE for number in range(start, start + BATCH)}
        ask(url, "POST", "/batch/kv/set", {"items": items}, key, context)


def until_admin(url: str, key: str) -> None:
    """Waits until the leader has made the key of the file."""
    end = time.monotonic() + 30
    while True:
        try:
            ask(url, "POST", "/batch/kv/get", {"keys": ["a"]}, key)
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def measure(doors: list[Door]) -> list[Cost]:
    """All cases at all doors, round by round: what disturbs the machine disturbs each of them."""
    seen: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    for _ in range(ROUNDS):
        for case, script in CASES.items():
            for door in doors:
                before_s = door.served.cpu_s()
                load = wrk.run(door.url, HERE / script, seconds=SECONDS, header=door.header)
                cpu_us = (door.served.cpu_s() - before_s) * 1e6 / max(1, load.requests)
                seen.setdefault((case, door.name), []).append((cpu_us, load.per_second, load.bad))
    medians = {at: statistics.median(cpu for cpu, _, _ in found) for at, found in seen.items()}
    return [
        Cost(
            case,
            name,
            medians[case, name],
            statistics.median(rate for _, rate, _ in found),
            medians[case, name] - medians[case, doors[0].name],
            sum(bad for _, _, bad in found),
        )
        for (case, name), found in seen.items()
    ]


def table(costs: list[Cost]) -> str:
    """The figures as a markdown table."""
    lines = [
        "| load | caller | server CPU us/request | over the open pipeline | requests/s | failed |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {c.case} | {c.door} | {c.cpu_us:.1f} | {c.over_open_us:+.1f} | {c.requests_per_s:,.0f} "
        f"| {c.bad} |"
        for c in sorted(costs, key=lambda cost: cost.case)
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.doors.guarded", description=__doc__)
    parser.add_argument("--reports", type=Path, default=release.REPORTS, help="where the report goes")
    reports: Path = parser.parse_args().reports
    wrk.need()
    interpreter = release.python()
    reports.mkdir(exist_ok=True)
    admin = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(dir=reports, prefix=".guarded-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "open").mkdir()
        served, url = release.konsul(interpreter, folder / "open")
        stack.enter_context(served)
        fill(url)
        doors = [Door("open", served, url)]
        for number, (suffix, store) in enumerate(STORES.items()):
            own = folder / f"whole-{number}"
            own.mkdir()
            guards = dict(settings(own, admin)) | {"KONSUL_AUDIT_STORE_ENABLED": store}
            served, url = release.konsul(interpreter, own, guards)
            stack.enter_context(served)
            until_admin(url, admin)
            fill(url, admin)
            doors += [Door(who + suffix, served, url, header) for who, header in callers(url, admin).items()]
        costs = measure(doors)
        audited_mb = sum(path.stat().st_size for path in folder.glob("whole-*/audit*")) / (1 << 20)
    how = f"{ROUNDS} rounds of {SECONDS} s each, alternating, {wrk.CONNECTIONS} keep-alive connections"
    where = f"{os.cpu_count()} cores shared with wrk; {audited_mb:.0f} MB of audit lines kept"
    page = f"# What the guards cost\n\n{how}, {RULES:,} rules, {where}.\n\n{table(costs)}\n"
    (reports / "guarded.md").write_text(page)
    (reports / "guarded.json").write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    print(page)
    return 1 if any(cost.bad for cost in costs) else 0


if __name__ == "__main__":
    sys.exit(main())
