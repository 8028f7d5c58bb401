"""Watches of services, of the cluster and of the node's health."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.ask import ask
from tests.conftest import SMALL, LiveServer
from tests.doors.streams import DEADLINE_S, Stream, message, socket


def register(server: LiveServer, name: str, **members: Any) -> int:
    body = {"name": name, "address": "10.0.0.1", "port": 80, **members}
    answer = ask(server.port, "PUT", "/register", body)
    assert answer.status == 200, answer.body
    return int(answer.json()["modify_index"])


def test_an_event_is_written_byte_for_byte(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/services/watch?service={space}") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        index = register(server, space, tags=["a"], meta={"k": "v"})
        ask(server.port, "DELETE", f"/deregister/{space}")
        came, went = stream.events(2)
    service = f'{{"name":"{space}","address":"10.0.0.1","port":80,"tags":["a"],"meta":{{"k":"v"}},'
    service += '"health":"passing"}'
    at = [event.data["timestamp"] for event in (came, went)]
    assert came.raw.decode() == (
        f"id: {index}\nevent: service-change\n"
        f'data: {{"type":"register","service":{service},"timestamp":{at[0]},"modify_index":{index}}}\n'
    )
    assert went.raw.decode() == (
        f"id: {index + 1}\nevent: service-change\n"
        f'data: {{"type":"deregister","service":{service},"timestamp":{at[1]},"modify_index":{index + 1}}}\n'
    )


def test_instances_have_their_ids_and_names_may_be_patterns(server: LiveServer, space: str) -> None:
    with socket(server.port, f"/services/watch?service={space}-w*") as watch:
        register(server, f"{space}-db")
        register(server, f"{space}-web", id="one")
        register(server, f"{space}-worker")
        told = [message(watch)["service"] for _ in range(2)]
    assert [(one["name"], one.get("id")) for one in told] == [
        (f"{space}-web", "one"),
        (f"{space}-worker", None),
    ]


def test_a_tag_is_looked_for_before_and_after_a_change(server: LiveServer, space: str) -> None:
    with Stream(server.port, f"/services/watch?service={space}-*&tag=blue&tag=new") as stream:
        stream.comment()
        register(server, f"{space}-a", tags=["blue"])
        register(server, f"{space}-b", tags=["new", "blue"])
        register(server, f"{space}-b", tags=[])
        register(server, f"{space}-c", tags=["blue", "new", "more"])
        told = [event.data["service"] for event in stream.events(3)]
    assert [one["name"][-1] for one in told] == ["b", "b", "c"]
    assert "tags" not in told[1], "it lost what was looked for, and that is told"


def test_silence_is_told_as_expired(tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path / "data", SMALL | {"KONSUL_SERVICE_TTL": "30ms"}) as server,
        Stream(server.port, "/services/watch?service=silent") as stream,
    ):
        register(server, "silent")
        assert [event.data["type"] for event in stream.events(2)] == ["register", "expired"]


def test_heartbeats_are_told_to_who_asks_and_have_no_index_of_their_own(
    server: LiveServer, space: str
) -> None:
    with (
        socket(server.port, f"/services/watch?service={space}&heartbeats=true") as all_of_it,
        socket(server.port, f"/services/watch?service={space}") as changes,
    ):
        register(server, space)
        assert ask(server.port, "PUT", f"/heartbeat/{space}").status == 200
        ask(server.port, "DELETE", f"/deregister/{space}")
        assert [message(all_of_it)["type"] for _ in range(3)] == ["register", "heartbeat", "deregister"]
        assert [message(changes)["type"] for _ in range(2)] == ["register", "deregister"]


def test_since_tells_what_was_missed(server: LiveServer, space: str) -> None:
    first = register(server, f"{space}-1")
    second = register(server, f"{space}-2")
    with Stream(server.port, f"/services/watch?service={space}-*", {"Last-Event-ID": str(first)}) as stream:
        assert stream.event().id == second


def test_a_service_cannot_be_called_like_the_watch(server: LiveServer) -> None:
    body = {"name": "watch", "address": "10.0.0.1", "port": 80}
    answer = ask(server.port, "PUT", "/register", body)
    assert (answer.status, answer.json()["message"]) == (400, "service name 'watch' is reserved")


def test_health_is_told_at_once_and_when_services_change(server: LiveServer, space: str) -> None:
    with Stream(server.port, "/health/watch") as stream, socket(server.port, "/health/watch") as watch:
        before = stream.event("health-change").data
        assert set(before) == {"type", "data", "timestamp"}
        assert (before["type"], before["data"]["status"]) == ("health_update", "healthy")
        services = before["data"]["services"]
        assert services["healthy"] + services["unhealthy"] == services["total"]
        assert message(watch)["type"] == "health_update"
        register(server, space)
        wanted = services["total"] + 1
        while stream.event().data["data"]["services"]["total"] != wanted:
            pass
        while message(watch)["data"]["services"]["total"] != wanted:
            pass


def test_health_comes_with_every_sign_of_life(tmp_path: Path) -> None:
    settings = SMALL | {"KONSUL_WATCH_HEARTBEAT_INTERVAL": "100ms"}
    with (
        LiveServer(tmp_path / "data", settings) as server,
        socket(server.port, "/health/watch") as watch,
    ):
        assert {message(watch)["type"] for _ in range(3)} == {"health_update"}


def test_a_single_node_has_no_cluster_to_watch(server: LiveServer) -> None:
    answer = ask(server.port, "GET", "/cluster/watch")
    assert (answer.status, answer.json()["error"]) == (503, "clustering not enabled")
    with pytest.raises(InvalidStatus) as refused:
        socket(server.port, "/cluster/watch")
    assert refused.value.response.status_code == 503


def test_who_leads_and_who_is_a_member_is_told_first(lone_leader: LiveServer) -> None:
    with Stream(lone_leader.port, "/cluster/watch") as stream:
        leader, members = stream.events(2)
    assert leader.event == "cluster-change"
    assert leader.raw.startswith(b'event: cluster-change\ndata: {"type":"leader","leader":"n1",')
    assert [one["node_id"] for one in members.data["members"]] == ["n1"]
    with socket(lone_leader.port, "/cluster/watch") as watch:
        text = watch.recv(timeout=DEADLINE_S)
        assert json.loads(text)["leader"] == "n1"
