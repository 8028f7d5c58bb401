"""Where credentials are required, DNS tells what its policies say, from one moment to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from dns.rcode import NOERROR, NXDOMAIN, REFUSED

from tests.doors.dns.asking import ON, Asker, question
from tests.doors.guarded import Guarded, guarded
from tests.waiting import until

READ = ["read"]
AUDIT = {"KONSUL_AUDIT_ENABLED": "true", "KONSUL_AUDIT_FLUSH_INTERVAL": "20ms"}


@contextmanager
def asked(tmp_path: Path, **settings: str) -> Iterator[tuple[Asker, Guarded]]:
    audit = AUDIT | {"KONSUL_AUDIT_FILE_PATH": str(tmp_path / "audit.log")}
    with guarded(tmp_path, **(ON | audit | settings)) as found:
        yield Asker(found.server, found.admin), found


def rules(*names: str) -> dict[str, Any]:
    return {"service": [{"name": name, "capabilities": READ} for name in names]}


def refusals(admin: httpx.Client) -> list[dict[str, Any]]:
    found = admin.get("/audit/events", params={"action": "service.resolve"}).raise_for_status().json()
    events: list[dict[str, Any]] = found["events"]
    return events


def is_answered(asker: Asker, code: int) -> bool:
    return asker.ask("web.service.consul").rcode() == code


def test_without_policies_nothing_is_told(tmp_path: Path) -> None:
    with asked(tmp_path) as (asker, found):
        asker.register("web")
        for name, kind in (
            ("web.service.consul", "A"),
            ("nobody.service.consul", "A"),
            ("consul", "SOA"),
            ("0a000001.addr.consul", "A"),
            ("1.0.0.10.in-addr.arpa", "PTR"),
        ):
            reply = asker.ask(name, kind)
            assert (reply.rcode(), reply.answer, reply.authority) == (REFUSED, [], [])
        assert "KONSUL_DNS_POLICIES names no policy" in found.server.output()
        assert asker.metric('konsul_dns_refused_total{reason="policy"}') == 5


def test_policies_say_what_is_told_and_refusals_are_recorded(tmp_path: Path) -> None:
    with asked(tmp_path, KONSUL_DNS_POLICIES="names") as (asker, found):
        asker.register("web")
        asker.register("vault")
        # A policy that does not exist yet allows nothing.
        assert asker.ask("web.service.consul").rcode() == REFUSED
        found.policy("names", **rules("web"))
        until(lambda: asker.ask("web.service.consul").rcode() == NOERROR, "the policy to be in force")
        for _ in range(3):
            assert asker.texts("web.service.consul") == ["10.0.0.1"]
            # Neither what it is nor whether it is there.
            assert asker.ask("vault.service.consul").rcode() == REFUSED
            assert asker.ask("nobody.service.consul").rcode() == REFUSED
        assert asker.ask("consul", "SOA").rcode() == NOERROR
        until(
            lambda: any("vault" in str(event) for event in refusals(found.admin)),
            "the refusal to be recorded",
        )
        event = next(event for event in refusals(found.admin) if "vault" in str(event))
        assert event["result"] == "denied"
        assert event["actor"]["type"] == "dns"


def test_a_policy_that_changes_holds_for_ready_answers_too(tmp_path: Path) -> None:
    with asked(tmp_path, KONSUL_DNS_POLICIES="names") as (asker, found):
        asker.register("web")
        for allowed, code in ((("web",), NOERROR), (("other",), REFUSED), (("w*",), NOERROR)) * 2:
            found.policy("names", **rules(*allowed))
            until(partial(is_answered, asker, code), f"rcode {code}")
            assert asker.ask("web.service.consul", tcp=True).rcode() == code
        found.policy("names", **rules("*"))
        until(lambda: asker.ask("nobody.service.consul").rcode() == NXDOMAIN, "all names to be readable")
        assert found.admin.delete("/acl/policies/names").status_code == 200
        until(lambda: asker.ask("web.service.consul").rcode() == REFUSED, "the policy to be gone")


def test_an_open_node_needs_no_policies(asker: Asker, space: str) -> None:
    asker.register(space)
    assert asker.raw(question(f"{space}.service.consul").to_wire()) is not None
