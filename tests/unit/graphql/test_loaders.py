"""Many fields that ask for keys or services make few questions, and never an old answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from konsul.features.kv.batch import set_many
from konsul.kernel.graph import TURN
from tests.unit.graphql.asked import Asked, node, story


def counts(ask: Asked) -> dict[str, int]:
    """How often each verb was called since the last time."""
    tally = ask.kernel.pipeline.tally.counts
    found = {verb: number for (verb, _), number in tally.items()}
    tally.clear()
    return found


def aliased(field: str, names: list[str], selection: str) -> str:
    """A query for each name."""
    fields = (f'a{n}: {field}(key: "{name}") {selection}' for n, name in enumerate(names))
    return "{ " + " ".join(fields) + " }"


def test_fifty_aliased_keys_are_one_batch(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            keys = [f"k/{n}" for n in range(50)]
            context = ask.asking().context
            await context.run(set_many, items={key: key.upper().encode() for key in keys[::2]})
            counts(ask)
            data = await ask(aliased("kv", keys, "{ key value flags createIndex }"))
            assert counts(ask) == {"kv.rows": 1}
            for number, key in enumerate(keys):
                got = data[f"a{number}"]
                if number % 2:
                    assert got is None
                else:
                    assert (got["key"], got["value"], got["flags"]) == (key, key.upper(), 0)

    story(told)


def test_a_batch_has_at_most_a_hundred_keys_and_each_once(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            sizes: list[int] = []
            loaded: list[str] = []
            engine = ask.kernel.engine
            plain = engine.get

            def get(table: int, key: bytes) -> object:
                loaded.append(key.decode())
                return plain(table, key)

            engine.get = get  # type: ignore[method-assign, assignment]
            keys = [f"k/{n % 150}" for n in range(300)]
            await ask(aliased("kv", keys, "{ key }"))
            assert sorted(loaded) == sorted(set(keys))
            sizes.append(counts(ask)["kv.rows"])
            assert sizes == [2]

    story(told)


def test_services_and_leases_are_batched_too(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            for n in range(20):
                given = f'input: {{name: "s{n}", address: "a", port: 1}}'
                await ask(f"mutation {{ registerService({given}) {{ name }} }}")
            counts(ask)
            fields = " ".join(f's{n}: service(name: "s{n}") {{ name status expiresAt }}' for n in range(20))
            data = await ask("{ " + fields + " }")
            assert counts(ask) == {"service.rows": 1}
            assert all(data[f"s{n}"]["status"] == "ACTIVE" for n in range(20))

    story(told)


def test_federation_loads_its_entities_in_one_batch(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await ask('mutation { kvSet(key: "k0", value: "v") { key } }')
            counts(ask)
            wanted = [{"__typename": "KVPair", "key": f"k{n}"} for n in range(40)]
            query = "query($r: [_Any!]!) { _entities(representations: $r) { ... on KVPair { key value } } }"
            data = await ask(query, r=wanted)
            assert data["_entities"] == [{"key": "k0", "value": "v"}] + [None] * 39
            assert counts(ask) == {"kv.rows": 1}

    story(told)


def test_each_mutation_of_an_operation_reads_what_is_there_then(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            data = await ask(
                'mutation { a: kvSet(key: "k", value: "1", flags: 1) { flags modifyIndex createIndex }'
                ' b: kvSet(key: "k", value: "2") { flags } c: kvDelete(key: "k")'
                ' d: kvSet(key: "k", value: "3") { flags createIndex modifyIndex } }'
            )
            assert (data["a"]["flags"], data["b"]["flags"], data["c"], data["d"]["flags"]) == (1, 1, True, 0)
            assert data["d"]["createIndex"] == data["d"]["modifyIndex"] > data["a"]["createIndex"]

    story(told)


def test_a_long_list_gives_the_loop_back_and_may_be_read_twice(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            context = ask.asking().context
            keys = [f"k/{n:03}" for n in range(500)]
            await context.run(set_many, items=dict.fromkeys(keys, b"v"))
            turns = 0

            async def beside() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            other = asyncio.ensure_future(beside())
            data = await ask("{ kvList { a: items { key flags } b: items { key } } }")
            other.cancel()
            assert [one["key"] for one in data["kvList"]["a"]] == keys
            assert [one["key"] for one in data["kvList"]["b"]] == keys
            assert turns >= len(keys) // TURN

    story(told)


def test_a_prefix_is_counted_once_however_often_it_is_asked(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await ask('mutation { kvSet(key: "p/a", value: "v") { key } }')
            counts(ask)
            fields = " ".join(f'a{n}: kvList(prefix: "p/", limit: {n}) {{ total }}' for n in range(20))
            data = await ask("{ " + fields + ' b: kvList(prefix: "q") { total } }')
            assert [data[f"a{n}"]["total"] for n in range(20)] == [1] * 20
            assert data["b"]["total"] == 0
            assert counts(ask) == {"kv.page": 21, "kv.count": 2}

    story(told)
