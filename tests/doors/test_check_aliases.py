"""Aliases that stand for each other, and ids that no path can hold."""

from __future__ import annotations

import httpx
import pytest

from tests.doors.test_checks import passing, register, until_status
from tests.waiting import until


def test_aliases_in_a_circle_get_well_when_what_made_them_ill_has_gone(
    http: httpx.Client, space: str
) -> None:
    one, other = f"{space}-1", f"{space}-2"
    for name, of in ((one, other), (other, one)):
        alias = {"id": f"{name}-c", "alias_service": of, "interval": "100ms", "initial_status": "passing"}
        register(http, name, alias)
    http.post("/health/check", json={"service": one, "id": f"{space}-ill", "ttl": "1h"}).raise_for_status()
    until_status(http, f"{other}-c", "critical")
    until_status(http, f"{one}-c", "critical")
    http.delete(f"/health/check/{space}-ill").raise_for_status()
    for name in (one, other):
        until_status(http, f"{name}-c", "passing")
    until(lambda: [*passing(http, one), *passing(http, other)] == [one, other], "both to serve again")


def test_an_alias_for_its_own_service_is_as_well_as_the_others_of_it(http: httpx.Client, space: str) -> None:
    register(
        http, space, {"id": f"{space}-c", "alias_service": space, "interval": "100ms"}, node=f"{space}-n"
    )
    until_status(http, f"{space}-c", "passing")
    http.put(f"/nodes/{space}-n/maintenance?enable=true").raise_for_status()
    until_status(http, f"{space}-c", "critical")
    http.put(f"/nodes/{space}-n/maintenance?enable=false").raise_for_status()
    until_status(http, f"{space}-c", "passing")
    until(lambda: passing(http, space) == [space], "it to serve again")


@pytest.mark.parametrize("id", [".", ".."])
def test_an_id_that_clients_take_out_of_a_path_is_refused(http: httpx.Client, space: str, id: str) -> None:
    register(http, space)
    answer = http.post("/health/check", json={"service": space, "id": id, "ttl": "1h"})
    assert answer.status_code == 400
    assert "is a step in a path" in answer.json()["message"]
