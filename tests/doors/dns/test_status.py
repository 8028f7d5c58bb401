"""What is critical is told to nobody from the moment that this was acknowledged, from the cache or not."""

from __future__ import annotations

import threading
from typing import Any

from dns.rcode import NOERROR, NXDOMAIN

from tests.doors.dns.asking import Asker

ROUNDS = 40


def report(asker: Asker, check_id: str, outcome: str) -> None:
    answer = asker.http.put(f"/health/check/{check_id}/{outcome}", json={"output": outcome})
    assert answer.status_code == 200, answer.text


def fleet(asker: Asker, name: str, count: int = 3) -> list[str]:
    """A service of instances that each have a TTL check; the checks' ids."""
    ids = []
    for number in range(1, count + 1):
        more: dict[str, Any] = {"name": f"{name}-{number}", "ttl": "1h", "initial_status": "passing"}
        asker.register(name, id=str(number), address=f"10.6.0.{number}", checks=[more])
        found = asker.http.get(f"/health/service/{name}").json()
        ids += [one["id"] for one in found if one["id"] not in ids]
    return ids


def test_an_instance_that_is_critical_is_not_told(asker: Asker, space: str) -> None:
    first, *_ = fleet(asker, space)
    name = f"{space}.service.consul"
    assert len(asker.texts(name)) == 3
    report(asker, first, "fail")
    assert asker.texts(name) == ["10.6.0.2", "10.6.0.3"]
    assert len(asker.ask(name, "SRV").answer[0]) == 2
    report(asker, first, "warn")
    assert len(asker.texts(name)) == 3
    report(asker, first, "pass")
    assert len(asker.texts(name)) == 3


def test_a_service_without_a_healthy_instance_is_still_a_name(asker: Asker, space: str) -> None:
    asker.register(space, checks=[{"name": "only", "ttl": "1h", "initial_status": "passing"}])
    (only,) = asker.http.get(f"/health/service/{space}").json()
    report(asker, only["id"], "fail")
    found = asker.ask(f"{space}.service.consul")
    assert (found.rcode(), found.answer) == (NOERROR, [])
    assert asker.http.delete(f"/deregister/{space}").status_code == 200
    assert asker.ask(f"{space}.service.consul").rcode() == NXDOMAIN


def test_no_answer_outlives_the_acknowledgement_of_a_change(asker: Asker, space: str) -> None:
    """Others keep ready answers warm, in every way they can be kept, while one turns critical and back."""
    first, *_ = fleet(asker, space)
    name = f"{space}.service.consul"
    stop = threading.Event()
    wrong: list[str] = []

    def keep_asking() -> None:
        try:
            while not stop.is_set():
                asker.ask(name)
                asker.ask(name, "SRV", tcp=True)
                asker.ask(name.upper(), size=None)
        except Exception as error:
            wrong.append(repr(error))

    others = [threading.Thread(target=keep_asking) for _ in range(3)]
    for other in others:
        other.start()
    try:
        for _ in range(ROUNDS):
            report(asker, first, "fail")
            for size, tcp in ((1_232, False), (None, False), (1_232, True)):
                found = asker.ask(name, size=size, tcp=tcp).answer[0]
                assert sorted(one.to_text() for one in found) == ["10.6.0.2", "10.6.0.3"]
            assert all(
                str(one.target) != "0a060001.addr.dc1.consul." for one in asker.ask(name, "SRV").answer[0]
            )
            report(asker, first, "pass")
            assert len(asker.texts(name)) == 3
    finally:
        stop.set()
        for other in others:
            other.join()
    assert not wrong


def test_registering_and_deregistering_are_seen_at_once(asker: Asker, space: str) -> None:
    name = f"{space}.service.consul"
    for _ in range(ROUNDS):
        assert asker.ask(name).rcode() == NXDOMAIN
        asker.register(space)
        assert asker.texts(name) == ["10.0.0.1"]
        asker.register(space, address="10.0.0.2")
        assert asker.texts(name) == ["10.0.0.2"]
        assert asker.http.delete(f"/deregister/{space}").status_code == 200


def test_other_changes_leave_ready_answers_ready(asker: Asker, space: str) -> None:
    asker.register(space)
    asker.ask(f"{space}.service.consul")
    asker.ask(f"{space}.service.consul")
    before = asker.metric("konsul_dns_cache_misses_total")
    for number in range(20):
        asker.register(f"{space}-other", id=str(number))
        asker.http.put(f"/kv/{space}", json={"value": str(number)})
        asker.ask(f"{space}.service.consul")
    assert asker.metric("konsul_dns_cache_misses_total") - before < 20
    hits = asker.metric("konsul_dns_cache_hits_total")
    asker.ask(f"{space}.service.consul")
    assert asker.metric("konsul_dns_cache_hits_total") == hits + 1
