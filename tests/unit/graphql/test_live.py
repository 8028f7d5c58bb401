"""Subscriptions: what each tells, in order and once, and how they end."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from konsul import errors
from konsul.features.kv.batch import set_many
from konsul.kernel.pipeline import Identity
from tests.unit.graphql.asked import Asked, node, story

KV = "{ type key value oldValue modifyIndex resumeIndex encoding oldValueEncoding }"
SERVICE = "{ type service { name id address status tags } modifyIndex }"
COMPACTED = "changes up to {0} may be missing: list again and subscribe with since {0}"


async def put(ask: Asked, key: str, value: str) -> int:
    """Sets a key; its index."""
    text = "mutation($k: String!, $v: String!) { kvSet(key: $k, value: $v) { modifyIndex } }"
    return int((await ask(text, k=key, v=value))["kvSet"]["modifyIndex"])


async def put_many(ask: Asked, *keys: str) -> int:
    """Sets keys in one entry; its index."""
    return await ask.asking().context.run(set_many, items=dict.fromkeys(keys, b"v"))


async def register(ask: Asked, name: str, **more: Any) -> None:
    """Registers an instance."""
    text = "mutation($i: RegisterServiceInput!) { registerService(input: $i) { name } }"
    await ask(text, i={"name": name, "address": "10.0.0.1", "port": 80, **more})


def test_a_key_is_told_from_set_to_delete(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask, ask.live(f"subscription {{ kvChanged {KV} }}") as live:
            first = await put(ask, "k", "one")
            await put(ask, "k", "")
            await ask('mutation { kvDelete(key: "k") }')
            binary = base64.b64encode(b"\xff\x00").decode()
            await ask(f'mutation {{ kvSet(key: "b", value: "{binary}", encoding: "base64") {{ key }} }}')
            await put(ask, "b", "text")

            def event(kind: str, key: str, value: str | None, old: str | None, plus: int) -> dict[str, Any]:
                at = {"modifyIndex": first + plus, "resumeIndex": first + plus}
                plain = {"encoding": None, "oldValueEncoding": None}
                return {"type": kind, "key": key, "value": value, "oldValue": old, **at, **plain}

            assert await live.events(5) == [
                event("SET", "k", "one", None, 0),
                event("SET", "k", "", "one", 1),
                event("DELETE", "k", None, None, 2),
                event("SET", "b", binary, None, 3) | {"encoding": "base64"},
                event("SET", "b", "text", binary, 4) | {"oldValueEncoding": "base64"},
            ]

    story(told)


@pytest.mark.parametrize(
    ("arguments", "told_keys"),
    [
        ("", ["a", "app", "app/x", "app/x/y", "apple", "app*", "z"]),
        ('(key: "app")', ["app"]),
        ('(key: "app*")', ["app*"]),
        ('(prefix: "app")', ["app", "app/x", "app/x/y", "apple", "app*"]),
        ('(prefix: "app/")', ["app/x", "app/x/y"]),
        ('(prefix: "app*")', ["app*"]),
        ('(prefix: "")', ["a", "app", "app/x", "app/x/y", "apple", "app*", "z"]),
        ('(pattern: "app/*")', ["app/x"]),
        ('(pattern: "?")', ["a", "z"]),
        ('(pattern: "**/y")', ["app/x/y"]),
        ('(key: "z", prefix: "app", pattern: "a")', ["z"]),
        ('(prefix: "z", pattern: "a")', ["z"]),
    ],
)
def test_key_wins_over_prefix_and_prefix_over_pattern(
    tmp_path: Path, arguments: str, told_keys: list[str]
) -> None:
    async def told() -> None:
        watch = f"subscription {{ kvChanged{arguments} {{ key }} }}"
        async with node(tmp_path) as ask, ask.live(watch) as live:
            for key in ("a", "app", "app/x", "app/x/y", "apple", "app*", "z"):
                await put(ask, key, "v")
            assert [event["key"] for event in await live.events(len(told_keys))] == told_keys
            assert live.nothing_waits()

    story(told)


@pytest.mark.parametrize(
    "field",
    [
        'kvChanged(key: "") { key }',
        'kvChanged(pattern: "") { key }',
        f'kvChanged(pattern: "{"p" * 1_025}") {{ key }}',
        f'kvChanged(prefix: "{"p" * 1_025}") {{ key }}',
        'kvWatchKey(key: "") { key }',
        'serviceChanged(name: "no name") { type }',
        'serviceHealthChanged(name: "*") { type }',
        'healthCheckChanged(service: "") { id }',
    ],
)
def test_what_cannot_be_watched_is_refused_at_once(tmp_path: Path, field: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            assert (await ask.refused_live(f"subscription {{ {field} }}"))[0] == "INVALID_INPUT"
            assert not ask.kernel.watching.counters.active.get("graphql")

    story(told)


def test_a_watched_key_is_first_told_as_it_is(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            watch = 'subscription($s: Long) { kvWatchKey(key: "k", since: $s) { type value modifyIndex } }'
            async with ask.live(watch) as live:
                one = await put(ask, "k", "one")
                assert await live.event() == {"type": "SET", "value": "one", "modifyIndex": one}
            async with ask.live(watch) as live:
                two = await put(ask, "k", "two")
                assert await live.events(2) == [
                    {"type": "SET", "value": "one", "modifyIndex": one},
                    {"type": "SET", "value": "two", "modifyIndex": two},
                ]
            async with ask.live(watch, s=one) as live:
                await ask('mutation { kvDelete(key: "k") }')
                assert await live.events(2) == [
                    {"type": "SET", "value": "two", "modifyIndex": two},
                    {"type": "DELETE", "value": None, "modifyIndex": two + 1},
                ]

    story(told)


def test_every_change_is_told_once_across_reconnects(tmp_path: Path) -> None:
    """The client goes on from `resumeIndex`, cut off after any event, also between two of one entry."""

    async def told() -> None:
        async with node(tmp_path) as ask:
            watch = f'subscription($s: Long) {{ kvChanged(prefix: "k/", since: $s) {KV} }}'
            resume = ask.kernel.engine.contact()[2]
            wanted: list[tuple[int, str]] = []
            for turn in range(20):
                keys = [f"k/{turn}/{n}" for n in range(turn % 4 + 1)]
                index = await put_many(ask, *keys, f"other/{turn}")
                wanted += [(index, key) for key in keys]
            seen: list[tuple[int, str]] = []
            while len(seen) < len(wanted):
                async with ask.live(watch, s=resume) as live:
                    # More than one entry has here, or it would never get past one.
                    for _ in range(5):
                        event = await live.event()
                        resume = event["resumeIndex"]
                        change = (event["modifyIndex"], event["key"])
                        # Of an entry that was cut, what was seen comes again and is known by index and key.
                        if change not in seen:
                            seen.append(change)
                        if len(seen) == len(wanted):
                            break
            assert seen == wanted

    story(told)


def test_a_subscription_resumes_at_the_end_of_an_entry(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask, ask.live("subscription { kvChanged { key resumeIndex } }") as live:
            index = await put_many(ask, "a", "b", "c")
            assert [event["resumeIndex"] for event in await live.events(3)] == [index - 1, index - 1, index]

    story(told)


def test_what_the_ring_no_longer_has_is_said_to_be_missing(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, ring_entries=16) as ask:
            first = await put(ask, "k", "v")
            for number in range(40):
                last = await put(ask, "k", str(number))
            watch = "subscription($s: Long) { kvChanged(since: $s) { key } }"
            async with ask.live(watch, s=first) as live:
                found = await live.both()
                assert found is not None
                (error,) = found[1]
                index = error["extensions"]["modifyIndex"]
                assert error["extensions"]["code"] == "COMPACTED"
                assert error["message"] == COMPACTED.format(index)
                assert first < index <= last
                assert await live.both() is None
            assert not ask.kernel.watching.counters.active.get("graphql")

    story(told)


def test_a_slow_subscriber_misses_nothing_the_ring_has(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            ask.buffer = 10
            async with ask.live("subscription { kvChanged { key modifyIndex } }") as live:
                wanted = [
                    {"key": f"k{number}", "modifyIndex": await put(ask, f"k{number}", "v")}
                    for number in range(300)
                ]
                assert await live.events(300) == wanted
            assert ask.kernel.watching.counters.behind > 0

    story(told)


def test_a_slow_subscriber_beyond_the_ring_is_ended_with_a_reason(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, ring_entries=16) as ask:
            ask.buffer = 10
            async with ask.live("subscription { kvChanged { modifyIndex } }") as live:
                indices = [await put(ask, f"k{number}", "v") for number in range(300)]
                seen: list[int] = []
                while True:
                    found = await live.both()
                    assert found is not None
                    if found[1]:
                        break
                    seen.append(found[0]["kvChanged"]["modifyIndex"])
                assert seen == indices[: len(seen)]
                assert found[1][0]["extensions"]["code"] == "COMPACTED"
                assert found[1][0]["extensions"]["modifyIndex"] > seen[-1]
                assert await live.both() is None

    story(told)


def test_services_are_told_as_they_come_and_go(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            every = f"subscription {{ allServicesChanged {SERVICE} }}"
            web = f'subscription {{ serviceChanged(name: "web") {SERVICE} }}'
            async with ask.live(every) as all_, ask.live(web) as one:
                await register(ask, "web", tags=["t"])
                await register(ask, "web-2")
                await register(ask, "web", id="a", address="10.0.0.2")
                await ask('mutation { updateHeartbeat(name: "web") { name } }')
                await ask('mutation { deregisterService(name: "web") }')

                def kinds(events: list[Any]) -> list[tuple[str, str, str]]:
                    return [(e["type"], e["service"]["id"], e["service"]["status"]) for e in events]

                registered = [("REGISTERED", "web", "ACTIVE"), ("REGISTERED", "a", "ACTIVE")]
                gone = ("DEREGISTERED", "web", "EXPIRED")
                assert kinds(await one.events(4)) == [*registered, ("HEARTBEAT", "web", "ACTIVE"), gone]
                events = await all_.events(4)
                assert kinds(events) == [
                    registered[0],
                    ("REGISTERED", "web-2", "ACTIVE"),
                    registered[1],
                    gone,
                ]
                assert events[0]["service"]["tags"] == ["t"]
                assert events[-1]["service"]["address"] == "10.0.0.1"

    story(told)


def test_a_lease_that_ends_is_told_as_expired(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, KONSUL_SERVICE_TTL="1s") as ask:
            watch = (
                "subscription { serviceHealthChanged { type service { name status expiresAt } timestamp } }"
            )
            async with ask.live(watch) as live:
                await register(ask, "web")
                await register(ask, "web", address="10.0.0.9")
                events = await live.events(2)
                assert [event["type"] for event in events] == ["REGISTERED", "EXPIRED"]
                assert events[1]["service"]["status"] == "EXPIRED"
                assert events[1]["service"]["expiresAt"] == events[1]["timestamp"]

    story(told)


def test_checks_are_told_when_they_are_new_or_change(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:

            def check(name: str, ttl: str) -> dict[str, Any]:
                return {"id": name, "name": name, "type": "TTL", "ttl": ttl}

            watch = 'subscription { healthCheckChanged(service: "web") { id serviceId type status } }'
            async with ask.live(watch) as live:
                await register(ask, "web", checks=[check("a", "1s"), check("b", "1s")])
                await register(ask, "db", checks=[check("x", "1s")])
                await register(ask, "web", checks=[check("a", "1s"), check("b", "2s"), check("c", "1s")])
                await register(ask, "web")
                await register(ask, "web", checks=[check("d", "1s")])
                found = await live.events(5)
                assert [event["id"] for event in found] == ["a", "b", "b", "c", "d"]
                same = {"serviceId": "web", "type": "TTL", "status": "CRITICAL"}
                assert all(event.items() >= same.items() for event in found)
                assert live.nothing_waits()

    story(told)


def test_limits_of_watches_are_limits_of_subscriptions(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, KONSUL_WATCH_MAX_PER_CLIENT="1") as ask:
            watch = "subscription { kvChanged { key } }"
            async with ask.live(watch) as live:
                code, message = await ask.refused_live(watch)
                assert code == "RATE_LIMITED"
                assert "KONSUL_WATCH_MAX_PER_CLIENT" in message
                await put(ask, "k", "v")
                assert await live.event() == {"key": "k"}
            async with ask.live(watch) as live:
                await put(ask, "k", "v")
                assert await live.event() == {"key": "k"}

    story(told)


def test_a_watch_sees_only_what_its_client_may_read(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            hidden = {"secret"}

            def authorise(_identity: Identity, needs: str, resource: str) -> str:
                if needs == "kv:read" and resource in hidden:
                    raise errors.Forbidden("forbidden: insufficient permissions")
                return ""

            ask.kernel.pipeline.authorise = authorise
            denied = ("FORBIDDEN", "forbidden: insufficient permissions")
            assert await ask.refused_live('subscription { kvChanged(key: "secret") { key } }') == denied
            every = "subscription { kvChanged { key } }"
            one = 'subscription { kvChanged(key: "k") { key } }'
            async with ask.live(every) as live, ask.live(one) as only:
                await put(ask, "secret", "v")
                await put(ask, "k", "v")
                assert await live.event() == {"key": "k"}
                assert await only.event() == {"key": "k"}
                hidden.add("k")
                await put(ask, "k", "w")
                assert await only.refused() == denied
                await put(ask, "z", "v")
                assert await live.event() == {"key": "z"}

    story(told)


def test_a_subscription_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            watching = ask.kernel.watching
            async with ask.live("subscription { kvChanged { key } }") as live:
                assert watching.counters.active["graphql"] == 1
                live.give_up()
                await live.over()
            assert not watching.counters.active["graphql"]
            assert watching.counters.closed == {"graphql": 1}

    story(told)


def test_a_node_that_stops_ends_its_subscriptions_with_a_reason(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask, ask.live("subscription { kvChanged { key } }") as live:
            ask.kernel.watching.stop()
            assert (await live.refused())[0] == "STOPPING"

    story(told)
