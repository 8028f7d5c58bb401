"""Keys through GraphQL: every query and mutation, with what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.graphql.asked import node, story

PAIR = "{ key value encoding flags createIndex modifyIndex createdAt updatedAt expiresAt }"
SET = "mutation($k: String!, $v: String!) { kvSet(key: $k, value: $v) { key modifyIndex } }"


def test_a_key_that_was_set_is_read_with_its_indices(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            one = (await ask(f'mutation {{ kvSet(key: "a", value: "one", flags: 7) {PAIR} }}'))["kvSet"]
            index = one["modifyIndex"]
            assert one == {
                "key": "a",
                "value": "one",
                "encoding": None,
                "flags": 7,
                "createIndex": index,
                "modifyIndex": index,
                "createdAt": None,
                "updatedAt": None,
                "expiresAt": None,
            }
            assert (await ask(f'{{ kv(key: "a") {PAIR} }}'))["kv"] == one
            two = (await ask(f'mutation {{ kvSet(key: "a", value: "") {PAIR} }}'))["kvSet"]
            assert two == one | {"value": "", "modifyIndex": index + 1}
            assert await ask('{ kv(key: "b") { key } }') == {"kv": None}

    story(told)


def test_values_that_are_no_text_are_base64(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            set_ = 'mutation {{ kvSet(key: "{}", value: "{}", encoding: "base64") {{ value encoding }} }}'
            binary = {"value": "/wA=", "encoding": "base64"}
            assert (await ask(set_.format("b", "/wA=")))["kvSet"] == binary
            assert (await ask('{ kv(key: "b") { value encoding } }'))["kv"] == binary
            assert (await ask(set_.format("t", "b25l")))["kvSet"] == {"value": "one", "encoding": None}
            refused = ("INVALID_INPUT", "Invalid base64 value")
            assert await ask.refused(set_.format("b", "no base64")) == refused

    story(told)


def test_a_ttl_says_when_the_key_goes(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            set_ = 'mutation($ttl: Duration) { kvSet(key: "t", value: "v", ttl: $ttl) { expiresAt } }'
            assert (await ask(set_, ttl="1h"))["kvSet"]["expiresAt"].endswith("Z")
            assert (await ask(set_, ttl=None))["kvSet"]["expiresAt"] is None
            assert (await ask.refused(set_, ttl="0s"))[0] == "INVALID_INPUT"
            assert (await ask.refused(set_, ttl="soon"))[0] == "GRAPHQL_VALIDATION_FAILED"
            assert (await ask.refused(set_, ttl=30))[0] == "GRAPHQL_VALIDATION_FAILED"

    story(told)


@pytest.mark.parametrize(
    "field",
    [
        'kv(key: "") { key }',
        f'kv(key: "{"k" * 1_025}") {{ key }}',
        f'kvTree(prefix: "{"k" * 1_025}") {{ key }}',
        "kvList(limit: -1) { total }",
        "kvList(offset: -1) { total }",
        "kvList(limit: 1001) { total }",
    ],
)
def test_queries_refuse_what_no_key_or_page_can_be(tmp_path: Path, field: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            assert (await ask.refused(f"{{ {field} }}"))[0] == "INVALID_INPUT"

    story(told)


@pytest.mark.parametrize(
    "field",
    [
        'kvSet(key: "", value: "v") { key }',
        'kvCAS(key: "", value: "v", index: 0) { key }',
        'kvCAS(key: "k", value: "v", index: -1) { key }',
        'kvSetCAS(key: "", value: "v", modifyIndex: 0) { success }',
        'kvDelete(key: "")',
        'kvDeleteCAS(key: "", modifyIndex: 1)',
        'kvDeleteTree(prefix: "") { deleted }',
    ],
)
def test_mutations_refuse_bad_keys_and_store_nothing(tmp_path: Path, field: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            before = ask.kernel.engine.contact()[2]
            data, errors = await ask.both(f"mutation {{ {field} }}")
            assert data is None or set(data.values()) == {None}
            assert [error["extensions"]["code"] for error in errors] == ["INVALID_INPUT"]
            assert ask.kernel.engine.contact()[2] == before

    story(told)


def test_lists_are_sorted_and_paged(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            for key in ("p/c", "p/a", "q", "p/b", "p/ä"):
                await ask(SET, k=key, v=key.upper())
            page = 'query($l: Int, $o: Int) { kvList(prefix: "p/", limit: $l, offset: $o)'
            page += " { items { key value } total hasMore } }"

            async def keys(limit: int | None, offset: int | None) -> tuple[list[str], int, bool]:
                found = (await ask(page, l=limit, o=offset))["kvList"]
                assert all(item["value"] == item["key"].upper() for item in found["items"])
                return [item["key"] for item in found["items"]], found["total"], found["hasMore"]

            everything = ["p/a", "p/b", "p/c", "p/ä"]
            assert await keys(None, None) == (everything, 4, False)
            assert await keys(2, None) == (everything[:2], 4, True)
            assert await keys(2, 2) == (everything[2:], 4, False)
            assert await keys(4, 0) == (everything, 4, False)
            assert await keys(0, 0) == ([], 4, True)
            assert await keys(0, 4) == ([], 4, False)
            assert await keys(5, 3) == (everything[3:], 4, False)
            assert await keys(5, 99) == ([], 4, False)
            every = (await ask("{ kvList { total items { key } } }"))["kvList"]
            assert (every["total"], [item["key"] for item in every["items"]]) == (5, [*everything, "q"])
            tree = (await ask('{ kvTree(prefix: "p/") { key } }'))["kvTree"]
            assert [item["key"] for item in tree] == everything

    story(told)


def test_a_list_is_never_cut_without_saying_so(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            ask.page_max = 3
            for number in range(4):
                await ask(SET, k=f"p/{number}", v="v")
            found = (await ask('{ kvList(prefix: "p/") { total hasMore items { key } } }'))["kvList"]
            assert (found["total"], found["hasMore"], len(found["items"])) == (4, True, 3)
            code, message = await ask.refused('{ kvTree(prefix: "p/") { key } }')
            assert code == "INVALID_INPUT"
            assert "more than 3 keys" in message
            code, message = await ask.refused("{ kvList(limit: 4) { total } }")
            assert code == "INVALID_INPUT"
            assert "KONSUL_GRAPHQL_MAX_PAGE_SIZE" in message

    story(told)


def test_a_page_of_values_is_bounded_in_bytes(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            for number in range(17):
                await ask(SET, k=f"big/{number}", v="x" * (1 << 19))
            assert (await ask.refused('{ kvList(prefix: "big/") { items { key } } }'))[0] == "TOO_LARGE"
            found = await ask('{ kvList(prefix: "big/", limit: 16) { hasMore items { key } } }')
            assert (found["kvList"]["hasMore"], len(found["kvList"]["items"])) == (True, 16)

    story(told)


def test_a_value_over_the_limit_is_refused(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path, KONSUL_KV_MAX_VALUE_BYTES="1KiB") as ask:
            code, message = await ask.refused(SET, k="k", v="x" * 1_025)
            assert code == "TOO_LARGE"
            assert message == "value too large for key 'k': 1025 bytes (max 1024)"

    story(told)


def test_delete_says_whether_it_was_there(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await ask(SET, k="k", v="v")
            twice = 'mutation { one: kvDelete(key: "k") two: kvDelete(key: "k") }'
            assert await ask(twice) == {"one": True, "two": False}

    story(told)


def test_compare_and_set_answers_null_when_it_does_not_hold(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            cas = 'mutation($i: Int!) { kvCAS(key: "k", value: "v", index: $i) { modifyIndex } }'
            assert await ask(cas, i=7) == {"kvCAS": None}
            index = (await ask(cas, i=0))["kvCAS"]["modifyIndex"]
            assert await ask(cas, i=0) == {"kvCAS": None}
            assert (await ask(cas, i=index))["kvCAS"] == {"modifyIndex": index + 1}
            assert await ask(cas, i=index) == {"kvCAS": None}
            assert (await ask.refused(cas, i=2**31))[0] == "GRAPHQL_VALIDATION_FAILED"

    story(told)


def test_wide_compare_and_set_tells_what_is_there_instead(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            cas = 'mutation($i: Long!, $v: String!) { kvSetCAS(key: "k", value: $v, modifyIndex: $i)'
            cas += " { success kvPair { value modifyIndex } } }"
            assert (await ask(cas, i=2**63, v="x"))["kvSetCAS"] == {"success": False, "kvPair": None}
            first = (await ask(cas, i=0, v="one"))["kvSetCAS"]
            index = first["kvPair"]["modifyIndex"]
            assert first == {"success": True, "kvPair": {"value": "one", "modifyIndex": index}}
            lost = {"success": False, "kvPair": {"value": "one", "modifyIndex": index}}
            assert (await ask(cas, i=2**64 - 1, v="two"))["kvSetCAS"] == lost
            assert (await ask(cas, i=str(index), v="two"))["kvSetCAS"]["success"]
            for wrong in (2**64, -1, "0x1", 1.5, True):
                assert (await ask.refused(cas, i=wrong, v="x"))[0] == "GRAPHQL_VALIDATION_FAILED"

    story(told)


def test_compare_and_delete(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            index = (await ask(SET, k="k", v="v"))["kvSet"]["modifyIndex"]
            delete = 'mutation($i: Long!) { kvDeleteCAS(key: "k", modifyIndex: $i) }'
            assert await ask(delete, i=index + 1) == {"kvDeleteCAS": False}
            assert await ask(delete, i=0) == {"kvDeleteCAS": False}
            assert await ask(delete, i=index) == {"kvDeleteCAS": True}
            assert await ask(delete, i=index) == {"kvDeleteCAS": False}

    story(told)


def test_a_tree_is_deleted_in_one_entry_and_named(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            for key in ("t/b", "t/a/x", "tt"):
                index = (await ask(SET, k=key, v="v"))["kvSet"]["modifyIndex"]
            delete = 'mutation { kvDeleteTree(prefix: "t/") { deleted keys } }'
            assert (await ask(delete))["kvDeleteTree"] == {"deleted": 2, "keys": ["t/a/x", "t/b"]}
            assert ask.kernel.engine.contact()[2] == index + 1
            assert (await ask(delete))["kvDeleteTree"] == {"deleted": 0, "keys": []}
            assert (await ask('{ kvTree(prefix: "t") { key } }'))["kvTree"] == [{"key": "tt"}]

    story(told)


def test_a_tree_of_too_many_keys_stays_whole(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            items = {f"t/{number:04}": b"v" for number in range(1_001)}
            from konsul.features.kv.batch import set_many

            context = ask.asking().context
            for part in (dict(list(items.items())[:600]), dict(list(items.items())[600:])):
                await context.run(set_many, items=part)
            code, message = await ask.refused('mutation { kvDeleteTree(prefix: "t/") { deleted } }')
            assert (code, message[:19]) == ("INVALID_INPUT", "more than 1000 keys")
            assert (await ask('{ kvList(prefix: "t/", limit: 0) { total } }'))["kvList"]["total"] == 1_001

    story(told)


def test_a_repeated_request_is_applied_once_field_by_field(tmp_path: Path) -> None:
    from konsul.kernel.writing import Terms

    async def told() -> None:
        async with node(tmp_path) as ask:
            ask.terms = Terms(write_id=b"0123456789abcdef")
            two = 'mutation { a: kvSet(key: "a", value: "1") { modifyIndex } '
            two += 'b: kvSet(key: "b", value: "2") { modifyIndex } }'
            first = await ask(two)
            assert first["b"]["modifyIndex"] == first["a"]["modifyIndex"] + 1
            assert await ask(two) == first

    story(told)
