"""Freshness, deadlines, keys, redirects: the compiled front answers as the application, on the leader and
elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgpack
import orjson
import pytest

from konsul._core import CoreError
from konsul.kernel.writing import BAD_KEY, part_of, write_id
from tests.contract.front_trio import Trio
from tests.contract.front_ways import Call, Reply

JSON = (b"content-type", b"application/json")
SOON = (b"x-konsul-timeout-ms", b"30")
AMPLE = (b"x-konsul-timeout-ms", b"10000")
"""Where the three ways are compared: a busy machine must not make one of them late."""
FAR = b"1000000"
READS = [
    Call("GET", b"/kv/read/k"),
    Call("GET", b"/kv/read/k", b"raw"),
    Call("GET", b"/kv/read/absent", b"metadata=true"),
    Call("HEAD", b"/kv/read/k"),
    Call("GET", b"/kv/read", b"recurse"),
    Call("GET", b"/kv"),
    Call("GET", b"/services/web"),
    Call("GET", b"/services/web/instances"),
    Call("GET", b"/services"),
    Call("GET", b"/services/query", b"tags=a"),
    Call("GET", b"/services/query/metadata", b"k=v"),
    Call("GET", b"/lb/service/web"),
    Call("GET", b"/lb/metadata", b"k=v"),
    Call("POST", b"/batch/kv/get", b"", b'{"keys":["read/k","read/absent"]}', (JSON,)),
    Call("POST", b"/batch/services/get", b"", b'{"names":["web"]}', (JSON,)),
]
WRITES = [
    Call("PUT", b"/kv/write/k", b"", b'{"value":"v"}', (JSON,)),
    Call("PUT", b"/kv/write/k", b"raw", b"v"),
    Call("PUT", b"/kv/write/ttl", b"", b'{"value":"v","ttl":"1h"}', (JSON,)),
    Call("DELETE", b"/kv/write/k"),
    Call("DELETE", b"/kv/write/", b"recurse"),
    Call("PUT", b"/register", b"", b'{"name":"web","address":"h","port":1}', (JSON,)),
    Call("PUT", b"/heartbeat/web"),
    Call("DELETE", b"/deregister/web"),
    Call("DELETE", b"/deregister/web", b"all"),
    Call("POST", b"/batch/kv/set", b"", b'{"items":{"write/a":"1"}}', (JSON,)),
    Call("POST", b"/batch/kv/delete", b"", b'{"keys":["write/a"]}', (JSON,)),
    Call("POST", b"/batch/services/register", b"", b'{"services":[{"name":"w"}]}', (JSON,)),
    Call("POST", b"/batch/services/deregister", b"", b'{"names":["w"]}', (JSON,)),
    Call("POST", b"/transaction", b"", b'{"operations":[{"type":"set","key":"write/t"}]}', (JSON,)),
]


def named(call: Call) -> str:
    return f"{call.method} {call.path.decode()}?{call.query.decode()}"


reads = pytest.mark.parametrize("call", READS, ids=named)
writes = pytest.mark.parametrize("call", WRITES, ids=named)


def asking(call: Call, query: bytes = b"", *headers: tuple[bytes, bytes]) -> Call:
    """The call with more in its query and head."""
    queries = b"&".join(filter(None, (call.query, query)))
    return Call(call.method, call.path, queries, call.body, (*call.headers, *headers))


def said(reply: Reply) -> dict[bytes, bytes]:
    """What the answer says about the node behind it."""
    return {name: value for name, value in reply.headers if name.startswith(b"x-konsul-")}


class Elsewhere:
    """A core that is not the leader's: `known` says whether it knows who is."""

    def __init__(self, core: Any, *, known: bool = True, refuses: CoreError | None = None) -> None:
        self._core = core
        self._known = known
        self._refuses = refuses
        self.barriers: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def is_current(self) -> bool:
        return False

    def contact(self) -> tuple[bool, int, int]:
        return self._known, 1_500, self._core.contact()[2]

    def barrier(self, consistency: str, timeout_ms: int) -> int:
        self.barriers.append(consistency)
        if self._refuses is None:
            return int(self._core.barrier(consistency, timeout_ms))
        if self._refuses.args[0] == 7:
            # A ticket that is not answered in time.
            return int(self._core.wait_index(2**62, 1))
        raise self._refuses

    def status(self) -> bytes:
        leader = {"raft_id": 2, "address": "n2:7000", "http_address": "http://n2:8888/"}
        document = orjson.loads(self._core.status())
        cluster = {"known_leader": self._known, "leader_raft_id": 2 * self._known, "members": [leader]}
        return orjson.dumps(document | {"role": "follower", "cluster": cluster})


def cores(trio: Trio) -> list[Elsewhere]:
    return [cast(Any, kernel.engine.core) for kernel in trio.kernels]


def prepared(trio: Trio) -> Trio:
    web = b'{"name":"web","address":"h","port":1,"tags":["a"],"meta":{"k":"v"}}'
    trio.ask(Call("PUT", b"/register", b"", web, (JSON,)))
    trio.ask(Call("PUT", b"/kv/read/k", b"", b'{"value":"v"}', (JSON,)))
    return trio


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    running = prepared(Trio(str(tmp_path_factory.mktemp("terms"))))
    yield running
    assert running.equal_tables()
    running.close()


@pytest.fixture(params=["follower", "leaderless", "slow", "redirecting"], scope="module")
def away(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """Nodes that do not lead, in four moods."""
    moods: dict[str, dict[str, Any]] = {
        "leaderless": {"known": False, "refuses": CoreError(8, "no leader is known")},
        "slow": {"refuses": CoreError(7, "late")},
    }
    mood = moods.get(request.param, {})
    environ = {"KONSUL_RAFT_REDIRECT_WRITES": "true"} if request.param == "redirecting" else {}
    running = Trio(
        str(tmp_path_factory.mktemp("away")), lambda core: Elsewhere(core, **mood), None, **environ
    )
    if not environ:
        prepared(running)
    yield running
    assert running.equal_tables()
    running.close()


@reads
@pytest.mark.parametrize("mood", [b"", b"stale", b"consistency=default", b"consistent=true", b"max_stale=1s"])
def test_reads_on_the_leader(trio: Trio, call: Call, mood: bytes) -> None:
    reply = trio.ask(asking(call, mood))
    assert reply.status in (200, 404)
    assert set(said(reply)) >= {b"x-konsul-index", b"x-konsul-known-leader", b"x-konsul-last-contact"}
    assert said(reply)[b"x-konsul-known-leader"] == b"true"
    for least in (b"0", b"1", b"01", b"-1", b"x", b"", b"18446744073709551616", b"1.0"):
        reply = trio.ask(asking(call, mood, (b"x-konsul-min-index", least)))
        assert reply.status == 400 if least in (b"-1", b"x", b"1.0", b"18446744073709551616") else 200
    assert trio.ask(asking(call, mood, (b"x-konsul-min-index", FAR), SOON)).status == 503


@reads
def test_reads_elsewhere(away: Trio, call: Call) -> None:
    for mood in (b"", b"stale", b"stale=true", b"consistency=default", b"consistency=linearizable"):
        for core in cores(away):
            core.barriers.clear()
        reply = away.ask(asking(call, mood, AMPLE))
        wanted = set() if b"stale" in mood else {"linearizable" if b"linearizable" in mood else "default"}
        assert [set(core.barriers) for core in cores(away)] == [wanted] * 3
        assert reply.status in (200, 404, 503)
        assert said(reply)[b"x-konsul-last-contact"] == b"1500"
        if reply.status == 503:
            assert b"read failed" in reply.body or call.method == "HEAD"
            assert (b"retry-after", b"1") in reply.headers


@reads
def test_bounded_staleness_elsewhere(away: Trio, call: Call) -> None:
    for most, waits in ((b"2s", False), (b"1500ms", False), (b"1499ms", True), (b"0", True)):
        core = cores(away)[0]
        before = len(core.barriers)
        away.ask(asking(call, b"max_stale=" + most, AMPLE))
        known = core.contact()[0]
        assert (len(core.barriers) > before) is (waits or not known)


@writes
def test_writes_say_where_they_landed(trio: Trio, call: Call) -> None:
    reply = trio.ask(call)
    index = int(said(reply)[b"x-konsul-index"])
    assert index == trio.kernels[0].engine.contact()[2]
    document = orjson.loads(reply.body)
    assert document.get("modify_index", index) == index


@writes
@pytest.mark.parametrize("key", [b"", b" ", b"k" * 256, b"a b", b"\xe9", b"a\x7f"])
def test_a_bad_key_is_refused_before_anything_is_written(trio: Trio, call: Call, key: bytes) -> None:
    before = trio.kernels[0].engine.contact()[2]
    reply = trio.ask(asking(call, b"", (b"idempotency-key", key)))
    assert (reply.status, orjson.loads(reply.body)["message"]) == (400, BAD_KEY)
    assert trio.kernels[0].engine.contact()[2] == before


@reads
@pytest.mark.parametrize("key", [b"good", b"b d"])
def test_a_key_where_nothing_is_written(trio: Trio, call: Call, key: bytes) -> None:
    reply = trio.ask(asking(call, b"", (b"idempotency-key", key)))
    assert (reply.status == 400) is (call.method == "POST" and key == b"b d")


@writes
@pytest.mark.parametrize("timeout", [b"", b"0", b"60001", b"-1", b"1s", b"999999", b"0x1"])
def test_a_deadline_that_is_none_is_refused(trio: Trio, call: Call, timeout: bytes) -> None:
    reply = trio.ask(asking(call, b"", (b"x-konsul-timeout-ms", timeout)))
    assert reply.status == 400
    read = trio.ask(asking(READS[0], b"", (b"x-konsul-timeout-ms", timeout)))
    assert read.status == 400


@writes
def test_the_first_of_two_headers_counts(trio: Trio, call: Call) -> None:
    for name, good, bad in ((b"idempotency-key", b"k", b" "), (b"x-konsul-timeout-ms", b"5000", b"x")):
        assert trio.ask(asking(call, b"", (name, bad), (name, good))).status == 400
        assert trio.ask(asking(call, b"", (name, good), (name, bad))).status != 400


@writes
def test_a_redirect_is_for_those_who_ask_and_only_elsewhere(trio: Trio, away: Trio, call: Call) -> None:
    always = away.kernels[0].config.sources.get("KONSUL_RAFT_REDIRECT_WRITES") is not None
    for wish in (b"true", b"false", b"1", b""):
        asked = asking(call, b"x=%20y", (b"x-konsul-redirect", wish))
        assert trio.ask(asked).status != 307
        reply = away.ask(asked)
        if wish != b"true" and not always:
            assert reply.status not in (307, 500)
        elif not away.kernels[0].engine.contact()[0]:
            assert (reply.status, orjson.loads(reply.body)["error"]) == (503, "no leader")
            assert (b"retry-after", b"1") in reply.headers
        else:
            location = dict(reply.headers)[b"location"]
            assert location == b"http://n2:8888" + call.path + b"?" + asked.query
            body = orjson.loads(reply.body)
            assert (reply.status, body["error"], body["leader_addr"]) == (307, "not leader", "n2:7000")
    away.ask(asking(READS[0], b"", (b"x-konsul-redirect", b"true")))
    local = Call(
        "PUT", b"/lb/strategy", b"", b'{"strategy":"random"}', (JSON, (b"x-konsul-redirect", b"true"))
    )
    assert away.ask(local).status == 200, "what only this node does is not the leader's business"


def test_the_id_of_a_write_is_the_whole_request_under_its_key() -> None:
    request: tuple[Any, ...] = (b"key", None, "PUT", b"/kv/a", b"raw", b"body")
    same = write_id(*request)
    assert len(same) == 16
    assert same == write_id(*request)
    others: list[tuple[int, Any]] = [(0, b"kez"), (2, "POST"), (3, b"/kv/b"), (4, b""), (5, b"bodz")]
    ids = {write_id(*(value if n == at else part for n, part in enumerate(request))) for at, value in others}
    ids |= {write_id(b"key", None, "PUT", b"/kv/ar", b"aw", b"body"), same}
    assert len(ids) == 7
    assert len({part_of(same, 0), part_of(same, 1), same}) == 3
    assert part_of(None, 1) is None


def test_msgpack_batches_are_told_the_same(trio: Trio) -> None:
    body = msgpack.packb({"keys": ["read/k"]})
    call = Call("POST", b"/batch/kv/get", b"stale", body, ((b"content-type", b"application/msgpack"),))
    assert b"x-konsul-index" in said(trio.ask(call))


ONCE = [call for call in WRITES if call.path not in (b"/heartbeat/web", b"/batch/services/register")]


@pytest.mark.parametrize("call", ONCE, ids=named)
def test_a_repeated_write_is_answered_alike_and_done_once(trio: Trio, call: Call) -> None:
    keyed = asking(call, b"", (b"idempotency-key", b"once"))
    first = trio.ask(keyed)
    assert first.status == 200
    between = trio.ask(Call("PUT", b"/kv/write/between", b"", b'{"value":"v"}', (JSON,)))
    again = trio.ask(keyed)
    assert (again.status, again.body) == (first.status, first.body)
    assert said(again)[b"x-konsul-index"] == said(first)[b"x-konsul-index"]
    assert trio.kernels[0].engine.contact()[2] == int(said(between)[b"x-konsul-index"]), "nothing was written"
    assert said(trio.ask(call)) != said(first), "without the key it is another write"
    assert said(trio.ask(asking(call, b"x=1", (b"idempotency-key", b"once")))) != said(first)


def test_a_repeated_compare_and_set_is_no_conflict_with_itself(trio: Trio) -> None:
    key = (b"idempotency-key", b"cas")
    first = trio.ask(Call("PUT", b"/kv/cas/k", b"", b'{"value":"1","cas":0}', (JSON, key)))
    index = orjson.loads(first.body)["modify_index"]
    trio.ask(Call("PUT", b"/kv/cas/k", b"", b'{"value":"2","cas":%d}' % index, (JSON, key)))
    for body in (b'{"value":"1","cas":0}', b'{"value":"2","cas":%d}' % index):
        assert trio.ask(Call("PUT", b"/kv/cas/k", b"", body, (JSON, key))).status == 200
        assert trio.ask(Call("PUT", b"/kv/cas/k", b"", body, (JSON,))).status == 409
    assert orjson.loads(trio.ask(Call("GET", b"/kv/cas/k")).body)["value"] == "2"
    current = orjson.loads(trio.ask(Call("GET", b"/kv/cas/k", b"metadata=true")).body)["modify_index"]
    for _ in range(2):
        assert trio.ask(Call("DELETE", b"/kv/cas/k", b"cas=%d" % current, b"", (key,))).status == 200
    assert trio.ask(Call("DELETE", b"/kv/cas/k", b"cas=%d" % current)).status == 404
