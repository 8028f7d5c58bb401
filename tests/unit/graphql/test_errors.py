"""What a client is told when something cannot be done: codes, messages, and nothing of the inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from konsul import errors
from konsul.doors.graphql import failures
from konsul.kernel.pipeline import Identity
from konsul.kernel.reading import ReadFailed, Reading
from konsul.kernel.writing import Elsewhere
from tests.played_audit import PlayedAudit
from tests.unit.graphql.asked import Asked, node, schema, story

GET = '{ kv(key: "k") { key } }'
SET = 'mutation { kvSet(key: "k", value: "v") { key } }'


def failing(ask: Asked, error: Exception) -> None:
    """From now on nobody may do anything, for that reason."""

    def refuse(_identity: Identity, _needs: str, _resource: str) -> str:
        raise error

    ask.kernel.pipeline.authorise = refuse


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.Conflict("c", current=7), "CONFLICT", "c"),
        (errors.NotFound("n"), "NOT_FOUND", "n"),
        (errors.Invalid("i"), "INVALID_INPUT", "i"),
        (errors.Unsupported("u"), "INVALID_INPUT", "u"),
        (errors.TooLarge("t"), "TOO_LARGE", "t"),
        (errors.LimitReached("l"), "LIMIT_REACHED", "l"),
        (errors.Duplicate("d"), "ALREADY_EXISTS", "d"),
        (errors.Timeout("t"), "TIMEOUT", "t"),
        (errors.NoLeader("n"), "NO_LEADER", "n"),
        (errors.Busy("b"), "BUSY", "b"),
        (errors.DiskFull("d"), "DISK_FULL", "d"),
        (errors.Stopping("s"), "STOPPING", "s"),
        (errors.Unauthenticated("who are you"), "UNAUTHORIZED", "unauthorized"),
        (errors.Forbidden("secret reason"), "FORBIDDEN", "forbidden: insufficient permissions"),
        (errors.RateLimited("r"), "RATE_LIMITED", "r"),
        (errors.TooMany("t"), "RATE_LIMITED", "t"),
        (Elsewhere("http://10.0.0.2:8888", "10.0.0.2:7000"), "NOT_LEADER", "not the leader"),
        (ReadFailed("default", "no leader"), "NO_LEADER", "default read failed: no leader"),
        (errors.Internal("row 7 at 0xdead"), "INTERNAL_ERROR", "internal system error"),
        (ZeroDivisionError("division by zero"), "INTERNAL_ERROR", "internal system error"),
    ],
)
def test_every_error_has_a_code(tmp_path: Path, error: Exception, code: str, message: str) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            failing(ask, error)
            data, (found,) = await ask.both("{ kvList { total } }")
            assert data is None
            assert (found["extensions"]["code"], found["message"]) == (code, message)
            assert found["path"] == ["kvList"]

    story(told)


def test_no_class_of_errors_is_forgotten() -> None:
    defects = {errors.Internal, errors.StartFailed, errors.Unreachable}
    assert set(errors.KonsulError.by_code.values()) - set(failures.CODES) == defects


def test_what_was_forbidden_is_named(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            failing(ask, errors.Forbidden("forbidden: no policies attached to token"))
            _, (read,) = await ask.both(GET)
            assert read["message"] == "forbidden: no policies attached to token"
            assert read["extensions"] == {"code": "FORBIDDEN", "resource": "k", "action": "kv:read"}
            failing(ask, errors.Forbidden("forbidden: no policies attached to token"))
            data, (write,) = await ask.both(SET)
            assert data is None
            assert write["extensions"] == {"code": "FORBIDDEN", "resource": "k", "action": "kv:write"}

    story(told)


def test_a_defect_is_logged_with_the_request_and_hidden_from_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []

    class Log:
        def error(self, event: str, **fields: Any) -> None:
            logged.append({"event": event, **fields})

    monkeypatch.setattr(failures, "logger", Log)

    async def told() -> None:
        async with node(tmp_path) as ask:
            defect = RuntimeError("the inside")
            failing(ask, defect)
            _, (found,) = await ask.both(GET)
            assert "inside" not in str(found)
            (line,) = logged
            assert (line["request_id"], line["path"], line["exc_info"]) == ("req-1", "kv", defect)
            failing(ask, errors.Invalid("expected"))
            await ask.both(GET)
            assert len(logged) == 1

    story(told)


def test_documents_that_cannot_be_are_told_from_each_other(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            assert (await ask.refused("{ kv("))[0] == "GRAPHQL_PARSE_FAILED"
            for wrong in ("{ none }", "{ health }", "{ kv(key: 1) { key } }", "{ health { status { x } } }"):
                assert (await ask.refused(wrong))[0] == "GRAPHQL_VALIDATION_FAILED"
            missing = await ask.refused("query($k: String!) { kv(key: $k) { key } }")
            assert missing[0] == "GRAPHQL_VALIDATION_FAILED"

    story(told)


def test_one_field_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            await ask(SET)

            def only_k(_identity: Identity, _needs: str, resource: str) -> str:
                if resource != "k":
                    raise errors.Forbidden("no")
                return ""

            ask.kernel.pipeline.authorise = only_k
            two = '{ yes: kv(key: "k") { key } no: kv(key: "other") { key } bad: kv(key: "") { key } }'
            data, found = await ask.both(two)
            assert data == {"yes": {"key": "k"}, "no": None, "bad": None}
            codes = {error["path"][0]: error["extensions"]["code"] for error in found}
            assert codes == {"no": "FORBIDDEN", "bad": "FORBIDDEN"}
            one = '{ service(name: "k") { name } other: service(name: "other") { name } }'
            data, found = await ask.both(one)
            assert data == {"service": None, "other": None}
            assert [error["path"] for error in found] == [["other"]]

    story(told)


def test_what_may_not_be_read_back_does_not_hide_that_it_was_written(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:

            def writes_only(_identity: Identity, needs: str, _resource: str) -> str:
                if needs != "kv:write":
                    raise errors.Forbidden("no")
                return ""

            ask.kernel.pipeline.authorise = writes_only
            data, (found,) = await ask.both('mutation { kvSet(key: "k", value: "v") { value flags } }')
            assert data == {"kvSet": {"value": "v", "flags": None}}
            assert found["extensions"]["action"] == "kv:read"

    story(told)


def test_every_field_is_counted_and_audited_as_its_command(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            ask.kernel.pipeline.audit = PlayedAudit()
            await ask.both(
                'mutation { a: kvSet(key: "a", value: "1") { key } b: kvSetCAS(key: "a", value: "2", '
                'modifyIndex: 9) { success } c: kvDelete(key: "none") }'
            )
            acts = [(act.action, act.resources, act.outcome) for act in ask.noted["acts"]]
            assert acts == [
                ("kv.set", ("a",), "success"),
                ("kv.set", ("a",), "cas_conflict"),
                ("kv.delete", ("none",), "not_found"),
            ]
            counts = ask.kernel.pipeline.tally.counts
            assert counts["kv.set", "success"] == counts["kv.set", "cas_conflict"] == 1

    story(told)


def test_reads_are_as_fresh_as_the_request_wants(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:
            index = (await ask('mutation { kvSet(key: "k", value: "v") { modifyIndex } }'))["kvSet"]
            asking = ask.asking()
            asking.reading = Reading("linearizable", min_index=index["modifyIndex"])
            found = await schema().execute(GET, None, asking)
            assert (found.data, found.errors) == ({"kv": {"key": "k"}}, None)
            assert asking.context.noted["index"] == index["modifyIndex"]
            ahead = ask.asking()
            ahead.reading = Reading(min_index=index["modifyIndex"] + 1)
            hurried = replace(ahead.context.terms, timeout_ms=50)
            ahead.context = replace(ahead.context, terms=hurried)
            late = await schema().execute(GET, None, ahead)
            assert late.errors is not None
            assert late.errors[0].extensions == {"code": "BUSY"}

    story(told)


def test_a_lost_compare_and_set_is_told_to_who_may_not_read(tmp_path: Path) -> None:
    async def told() -> None:
        async with node(tmp_path) as ask:

            def writes_only(_identity: Identity, needs: str, _resource: str) -> str:
                if needs != "kv:write":
                    raise errors.Forbidden("no")
                return ""

            ask.kernel.pipeline.authorise = writes_only
            cas = 'mutation { kvSetCAS(key: "k", value: "v", modifyIndex: 9) { success kvPair { value } } }'
            data, (found,) = await ask.both(cas)
            assert data == {"kvSetCAS": {"success": False, "kvPair": None}}
            assert found["path"] == ["kvSetCAS", "kvPair"]

    story(told)
