"""What TTL checks are told, over HTTP: new words are not a log entry each."""

from __future__ import annotations

from typing import Any

import httpx

from konsul.features.checks.telling import AT_ONCE

TOLD = 20


def told(http: httpx.Client, name: str, word: str, output: str) -> dict[str, Any]:
    answer = http.put(f"/health/check/{name}/{word}", json={"output": output})
    assert answer.status_code == 200, answer.text
    return dict(http.get(f"/health/check/{name}").json())


def held(http: httpx.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    series = "konsul_health_check_outputs_held_total "
    return next(float(line.removeprefix(series)) for line in lines if line.startswith(series))


def test_new_words_without_a_new_status_enter_the_log_a_few_times_only(
    http: httpx.Client, space: str
) -> None:
    check = {"id": space, "ttl": "1h"}
    body = {"name": space, "address": "127.0.0.1", "port": 80, "ttl": "1h", "checks": [check]}
    assert http.put("/register", json=body).status_code == 200
    told(http, space, "pass", "first")
    held_before = held(http)
    outputs = [told(http, space, "pass", f"request {number}")["output"] for number in range(TOLD)]
    assert outputs[:AT_ONCE] == [f"request {number}" for number in range(AT_ONCE)]
    # What is not shown was not written; that a renewal writes nothing is tested beside this.
    assert len(set(outputs)) < TOLD
    assert held(http) - held_before == TOLD - len(set(outputs))


def test_a_new_status_is_never_held_back(http: httpx.Client, space: str) -> None:
    check = {"id": space, "ttl": "1h"}
    body = {"name": space, "address": "127.0.0.1", "port": 80, "ttl": "1h", "checks": [check]}
    assert http.put("/register", json=body).status_code == 200
    for number in range(4 * AT_ONCE):
        word, status = (("pass", "passing"), ("warn", "warning"))[number % 2]
        found = told(http, space, word, f"{word} {number}")
        assert (found["status"], found["output"]) == (status, f"{word} {number}")
    assert 'konsul_health_check_results_total{status="warning",type="ttl"}' in http.get("/metrics").text
