"""The Rust core as Python sees it: bytes and tickets, never objects. `konsul.engine` is its only importer."""

from collections.abc import Callable, Sequence
from typing import Any, Final, final

from konsul._core_limits import Limiter as Limiter
from konsul._core_limits import RateLimits as RateLimits

__all__ = ["ABI", "VERSION", "Access", "Core", "CoreError", "Form", "HttpLine", "HttpListener", "HttpRequest"]
__all__ += ["Grant", "HttpTls", "Sight"]
__all__ += ["Limiter", "RateLimits", "Replica", "Shape"]

ABI: Final[int]
"""Raised by one whenever this file changes meaning; `konsul.engine` refuses a core with another number."""
VERSION: Final[str]
"""The package version the binary was built from; must equal the package's."""

class CoreError(Exception):
    """Raised by calls that fail at once. `args` is `(code, message)`; `konsul.engine` maps the code to
    `errors.py`."""

@final
class Core:
    """One node: its log, its tables, its leases. Every method is thread-safe; none waits except `start` and
    `stop`."""

    def __new__(cls, options: bytes) -> Core:
        """`options`: a msgpack map, see `konsul.engine.Options`. Touches nothing on disk."""

    # Life
    def start(self, schema: bytes) -> None:
        """Opens the data directory and recovers. A lone node then elects itself and commits `schema` if it
        changed; a cluster's node returns at once and installs it when it leads. Raises CoreError 13."""
    def stop(self, grace_ms: int) -> None:
        """Refuses new work, waits up to `grace_ms` for what is in flight, snapshots if due, closes
        cleanly."""
    def status(self) -> bytes:
        """A JSON object: role, term, indices, disk state, sizes. Cheap."""
    def metrics(self) -> bytes:
        """A JSON object of native counters, gauges and histograms. Cheap."""

    # Submit: each returns a ticket at once, answered by `reap`; CoreError for what cannot enter the log.
    def commit(self, cases: bytes, timeout_ms: int, request_id: bytes | None = None) -> int:
        """Proposes an entry: a msgpack array of cases (docs/reference/entries.md). With a `request_id` (16
        bytes) it is applied once: an id known to the window answers what it was answered and changes
        nothing."""
    def put(
        self,
        table: int,
        key: bytes,
        cells: bytes,
        at: int | None,
        timeout_ms: int,
        request_id: bytes | None = None,
    ) -> int:
        """Proposes one `put` without building an entry in Python. `cells`: msgpack array. `at`: None = no
        guard, 0 = must be absent, n = modify_index must be n. `request_id` as in `commit`."""
    def renew(self, table: int, key: bytes, timeout_ms: int) -> int:
        """Renews the row's lease in leader memory; nothing enters the log. Status 2 (NotFound) if there is
        none."""
    def barrier(self, consistency: str, timeout_ms: int) -> int:
        """`"default"` or `"linearizable"`: answered when a read started now may be served."""
    def snapshot(self, timeout_ms: int) -> int:
        """Takes a snapshot now. Status 3 (Invalid, "nothing new to snapshot") if nothing was applied since
        the last."""

    def wait_index(self, index: int, timeout_ms: int) -> int:
        """Answered when the tables here are at `index` or later."""

    # The cluster. The tickets are refused with 12 (Unsupported) by a lone node.
    def is_current(self) -> bool:
        """True if a `"default"` read started now may be served without a barrier: one atomic compare."""
    def contact(self) -> tuple[bool, int, int]:
        """Whether a leader is known; ms since it was last heard of, 0 on the leader itself; the index of the
        tables here."""
    def bootstrap(self, timeout_ms: int) -> int:
        """Makes a cluster of this fresh node. Status 1 (Conflict) if it is in one."""
    def adopt(self, cluster_id: str, timeout_ms: int) -> int:
        """Binds this fresh node to a cluster (16 hex digits). Status 1 (Conflict) if it is in another."""
    def change_members(self, op: bytes, timeout_ms: int) -> int:
        """One change, on the leader: a msgpack map of `op` (add, promote, demote, remove, update), `raft_id`
        and for add and update the record: `node_id`, `address`, `http_address`, `zone`, `version`,
        `log_version`, `read_only`."""
    def transfer(self, raft_id: int, timeout_ms: int) -> int:
        """Hands leadership over; 0: to the voter that is furthest. Answered when it has gone."""
    def reload_tls(self) -> None:
        """Reads the certificates anew. CoreError 3 if they cannot be used; the old ones stay."""
    def call(self, raft_id: int, address: str, payload: bytes, timeout_ms: int) -> int:
        """Asks a member, or with raft_id 0 whoever listens at `address`. Answered with the other's status and
        payload as `text`. Payloads up to 1 MiB, 256 open calls."""
    def calls(self, limit: int) -> list[tuple[int, int, str, bytes]]:
        """Takes questions that wait: `(call_id, raft_id, address, payload)`; raft_id 0: not a member. `reap`
        yields `(0, 65535, 0, 0, b"")` when there are some."""
    def answer(self, call_id: int, status: int, payload: bytes) -> None:
        """Answers one. Does nothing if nobody waits for it any more."""

    # Watch: changes as they are applied here, in index order, each once. None of these waits.
    def watch(self, form: Form | None, spec: bytes, since: int | None = None) -> int:
        """Opens a watch. `spec`: a msgpack map of `table` (65534: the cluster, which has no `form` and no
        `since`), `separator` (one byte's number), `pattern`, `where` (`[[column, value]]`, all of one row),
        `renewals`, `coalesce`, `buffer` (events). `since`: tells first what has changed above that index.
        CoreError 3 for what cannot be watched, 19 with `watchers_max` open watches. What no row can match is
        no error: it is told nothing."""
    def unwatch(self, watch: int) -> None:
        """Ends one. Nothing more of it is handed out. Does nothing if there is none."""
    def pause_watch(self, watch: int) -> None:
        """Hands out nothing more of it; up to `buffer` events are kept for it, then it is behind."""
    def resume_watch(self, watch: int) -> None:
        """Hands out again; what a watch that is behind has missed comes from the ring."""
    def watch_position(self, watch: int) -> int | None:
        """Every matching change up to this index was handed out. None if there is no such watch."""
    def watched(self, limit: int) -> list[tuple[int, int, int, bytes, bytes]]:
        """Takes what waits: `(watch, kind, index, key, payload)`. Kind 0: a change, `payload` its JSON text,
        one object for all watches of the same form. Kind 1: behind, to be told from `index` on. Kind 2:
        compacted, changes up to `index` may be missing. `reap` yields `(0, 65534, 0, 0, b"")` when there is
        some; what is left after `limit` brings the next one."""

    # Read the applied state, now. Never waits for the writer.
    def get(self, table: int, key: bytes) -> bytes | None:
        """The packed row: create_index u64 BE, modify_index u64 BE, then one msgpack value per column."""
    def get_json(self, shape: Shape, key: bytes) -> bytes | None: ...
    def scan(
        self,
        table: int,
        prefix: bytes,
        where: Sequence[tuple[int, bytes]],
        after: bytes | None,
        limit: int,
        sight: Sight | None = None,
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Rows with `prefix` matching every `(column, value)` of `where` (each needs an index), ascending by
        key, keys > `after`, at most `limit`. Returns the rows and the key to continue after, or None at the
        end. A value is an index value: text and bytes as they are, a number as decimal text, of a map
        `name=value`. With a `sight` only what it sees, of at most 10,000 rows looked at: if fewer than
        `limit` came and there is a key to continue after, there may be more, and that key is not for the
        reader's eyes."""
    def scan_json(
        self,
        shape: Shape,
        prefix: bytes,
        where: Sequence[tuple[int, bytes]],
        after: bytes | None,
        limit: int,
        sight: Sight | None = None,
    ) -> tuple[bytes, int, bytes | None]:
        """As `scan`, but the rows as one JSON array text, with their count."""
    def keys_json(
        self,
        table: int,
        prefix: bytes,
        separator: bytes,
        after: bytes | None,
        limit: int,
        sight: Sight | None = None,
        inside: bool = False,
    ) -> tuple[bytes, int, bytes | None]:
        """Keys with `prefix` as a JSON array of strings. With a non-empty `separator`, keys are cut after its
        first occurrence past the prefix and listed once (Consul's `separator`). A `sight` as in `scan`; a
        group is listed if one of its keys is seen. `inside`: `after` is what a page gave that was not
        full."""
    def count(self, table: int) -> int: ...
    def lease_ms(self, table: int, key: bytes) -> int | None:
        """Milliseconds left of the row's lease, or None."""
    def digest(self) -> bytes:
        """A checksum over every row of every table in key order: equal digests mean equal tables. Walks all
        rows."""

    # Completions: wait for `fileno` (an eventfd) to be readable, then take everything there is.
    def fileno(self) -> int: ...
    def reap(self, limit: int) -> list[tuple[int, int, int, int, bytes]]:
        """`(ticket, status, index, number, text)`. Status 0: applied; `index` is the entry's index, `number`
        the case. Status 1 (Conflict): `number` is the current modify_index of the row of the first guard of
        the last case that failed (0: absent), `text` its key. Otherwise `status` is a code of
        `konsul.errors`, `text` the message."""

@final
class Access:
    """The policies of a node, compiled. For any thread."""

    def __new__(cls) -> Access: ...
    def set(
        self, policies: Sequence[tuple[str, Sequence[tuple[str, str, Sequence[str]]]]], default_allow: bool
    ) -> None:
        """Replaces all policies at once: `(name, [(resource, pattern, capabilities)])`; health, backup and
        admin have the pattern `""`. Every Grant follows, also those that are held. `default_allow`: what no
        rule decides is allowed, except of admin. ValueError with words for whoever wrote them: nothing is
        changed."""
    def grant(self, names: Sequence[str]) -> Grant:
        """What these policies add up to, in the order of their names; unknown ones add nothing until there
        is one. ValueError for more than 64."""
    def stats(self) -> tuple[int, int, int]:
        """How many policies, rules and different grants in use there are."""

@final
class Grant:
    """What a set of policies adds up to, now and after every change. For any thread. `needs` is
    `resource:capability`, where `kv:list` is also granted by read, and admin's all by admin; ValueError for
    what is none."""

    @property
    def names(self) -> list[str]:
        """Sorted."""
    def decide(self, needs: str, resource: str | bytes) -> tuple[int, str]:
        """`(outcome, reason)`. 1: allowed, 0: denied, 2: denied and none of the policies exists. The reason:
        "policy dev rule 3 (kv app/**)" (its place among the policy's rules of the resource, from 0),
        "default policy" or "no rule allows it"."""
    def first_refused(self, needs: str, resources: Sequence[str | bytes]) -> int:
        """The place of the first that is not allowed, or -1."""
    def could_list(self, needs: str, prefix: str | bytes) -> bool:
        """Whether something that begins with `prefix` could be allowed, as far as rules tell."""
    def sight(self, needs: str) -> Sight:
        """What of a table may be seen."""
    def explain(
        self, needs: str, resource: str | bytes
    ) -> list[tuple[str, str, int, str, list[str], str, bool]]:
        """Every rule that matches: `(policy, resource, rule, pattern, capabilities, effect, decides)`; `rule`
        as in a reason, `effect` is deny, allow or none (it grants other things)."""

@final
class Sight:
    """What of a table may be seen, now and after every change. For any thread."""

    def sees(self, text: str | bytes) -> bool:
        """Whether this key may be seen; of services a name, or a key, which is `name id`."""
    def could_see(self, prefix: str | bytes) -> bool:
        """As `Grant.could_list`."""
    def sees_all(self) -> bool:
        """Whether everything that is or will be may be seen now. True is for one answer: do not keep it."""

@final
class Shape:
    """How a table's rows are written as JSON, compiled once."""

    def __new__(cls, table: int, fields: Sequence[tuple[str, int, int]]) -> Shape:
        """`fields`: `(json_name, source, flags)`. source: column position >= 0, -1 key (text), -2
        create_index, -3 modify_index. flags: 1 omit when empty/null/0, 2 bytes: UTF-8 text, else base64 plus
        a sibling `"<name>_encoding":"base64"` written as `"encoding":"base64"`, 4 milliseconds since 1970 as
        RFC 3339 UTC, 8 embed verbatim (the column holds JSON text)."""

@final
class Form:
    """How a change of a table's row is written as JSON, compiled once: `{"type": .., row fields, old fields,
    "timestamp": seconds, "modify_index": n}`."""

    def __new__(
        cls,
        table: int,
        kinds: tuple[str, str, str, str, str],
        row: Sequence[tuple[str, int, int]],
        old: Sequence[tuple[str, int, int]] = ...,
        wrap: str = "",
        only: tuple[int, list[bytes]] | None = None,
    ) -> Form:
        """`kinds`: the `type` of a change that created, updated or deleted the row, of one that lapsed, of a
        renewed lease; empty: not told. `row` and `old`: fields as in `Shape`, of the new row and of the one
        before it (its empty ones omitted). Of a row that went only the key's fields are told, or with `wrap`
        all, from the old row. `wrap`: the name of the member that holds the `row` fields. `only`: a column
        and index values; a row with another value is told of as if it were not there."""

@final
class HttpListener:
    """The HTTP listener; over TLS it speaks HTTP/2 too. Requests are answered on one thread of its own, which
    takes the GIL once for all that wait."""

    def __new__(
        cls,
        *,
        head_timeout_ms: int,
        head_max_bytes: int,
        connections_max: int,
        ping_interval_ms: int,
        pong_timeout_ms: int,
        handshake_timeout_ms: int,
        handshakes_max: int,
    ) -> HttpListener:
        """`head_timeout_ms`: from the moment the connection could have sent a head until it is whole; idle
        connections end after it. `head_max_bytes`: at least 8192; 431 beyond it. `connections_max`: 503
        beyond it, and the most requests in flight over HTTP/2. `ping_interval_ms`, `pong_timeout_ms`: of
        WebSockets. `handshake_timeout_ms`: of TLS; with more than `handshakes_max` in flight the oldest is
        given up."""
    def start(
        self,
        fd: int,
        answer: Callable[[dict[str, Any], HttpRequest], object],
        call_soon: Callable[[Callable[[], object]], object],
        tls: HttpTls | None = None,
    ) -> None:
        """Serves the listening socket `fd`, which belongs to it from now on. `answer(scope, request)`: on its
        thread, must not wait; `scope` is ASGI's without `path`. `call_soon(callback)`: has `callback()`
        called on the event loop's thread. With `tls` nothing but TLS is spoken, and `scope["tls"]` is a
        dict, one per connection: `version` ("TLSv1.3"), `cipher`, `alpn` (str | None) and `client_cert`
        (bytes, DER | None)."""
    def set_tls(self, tls: HttpTls) -> None:
        """From now on handshakes use `tls`; what is connected stays."""
    def stop(self, grace_ms: int) -> None:
        """Accepts no more, ends idle connections, gives others `grace_ms`, cuts the rest. Waits for that,
        without the GIL; every line's user is told."""
    def stats(self) -> dict[str, int]:
        """What is open (`connections`, `lines`, `streams` of HTTP/2, `tls_handshaking`) and what was counted
        since the start; empty before it."""

@final
class HttpTls:
    """A certificate with its key, whose clients' certificates are asked for, and what may be spoken."""

    def __new__(
        cls,
        *,
        cert: bytes,
        key: bytes,
        client_ca: bytes,
        client_auth: str,
        only_13: bool,
        ciphers: list[str],
    ) -> HttpTls:
        """Files in PEM form. `client_auth`: off, optional or required (then with `client_ca`). `only_13`: TLS
        1.2 is refused. `ciphers`: IANA names, best first; none: all that are safe. ValueError: what is
        wrong."""
    @staticmethod
    def cipher_names() -> list[str]:
        """The cipher suites there are."""

@final
class HttpRequest:
    """One request: its body, and where its answer goes. For any thread. A `callback` is called once with a
    piece of the body, or None when the client is gone, and whether more follows."""

    def take_body(self) -> bytes | None:
        """The whole body, once, if it came with the head; else None: `read` it."""
    def read(self, callback: Callable[[bytes | None, bool], object]) -> None:
        """Asks for the next piece, on the answering thread; after the last one, for the client's end."""
    def wait(self, callback: Callable[[bytes | None, bool], object]) -> None:
        """As `read`, on the event loop's thread."""
    def give_up(self) -> None:
        """Forgets the callback of `read` or `wait`."""
    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """The whole answer. False: too late, it has one or the client is gone. ValueError: what HTTP does not
        allow in a header. `content-length` is added if missing."""
    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        """Begins an answer whose body follows; as `answer`."""
    def push(self, body: bytes, callback: Callable[[bytes | None, bool], object]) -> bool:
        """Adds to the body. False: more than 64 KiB wait; `callback` is called on the event loop's thread
        when there is room, or nobody to send to."""
    def end(self) -> None:
        """The body is complete."""
    def finish(self) -> None:
        """Whoever answers is through: without an answer the client gets 500, in the middle it is cut."""
    def sse(self, status: int, headers: list[tuple[bytes, bytes]], user: Any) -> HttpLine:
        """Makes the connection an event stream. `user.drained()` and `user.closed(reason, sent_bytes)` are
        called on the event loop's thread. RuntimeError: answered already, or the client is gone."""
    def websocket(
        self, user: Any, subprotocol: str | None, headers: list[tuple[bytes, bytes]], max_message_bytes: int
    ) -> HttpLine:
        """Upgrades to a WebSocket; `user` has `message(str | bytes)` as well. A larger message closes with
        1009. RuntimeError as for `sse`, or the client did not ask for it."""

@final
class HttpLine:
    """An open connection that the server pushes to. For any thread; holds no more than 1 MiB."""

    def send(self, data: bytes, is_binary: bool = False) -> bool:
        """Queues bytes of an event stream, or one message. False: more than 64 KiB wait, send no more until
        `drained`; or it is over."""
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends it; what waits is still written for 3 s, unless it is more than 64 KiB."""
    @property
    def queued_bytes(self) -> int:
        """What the client has not been given yet."""

@final
class Replica:
    """The pure state machine over memory, without a log: what the model tests compare with."""

    def __new__(cls, schema: bytes) -> Replica: ...
    def apply(self, now_ms: int, cases: bytes) -> tuple[int, int, int, bytes]:
        """Applies one entry; returns `(status, index, number, text)` as in `Core.reap`."""
    def apply_once(self, now_ms: int, request_id: bytes, cases: bytes) -> tuple[int, int, int, bytes]:
        """As `apply`, unless the window holds the 16-byte id: then the answer is the stored one."""
    def lapse(self, now_ms: int, cases: bytes) -> tuple[int, int, int, bytes]:
        """As `apply`, for the end of a lease."""
    def pulse(self, now_ms: int, limit: int) -> int:
        """Applies a pulse; returns how many rows expired."""
    def define(self, schema: bytes) -> None: ...
    def rows(self, table: int) -> list[tuple[bytes, bytes]]: ...
    def changes(self) -> list[tuple[int, int, int, bytes, bool, bytes | None, bytes | None]]:
        """What the last entry changed: `(index, at_ms, table, key, lapsed, packed row before, after)`."""
    def index(self) -> int: ...
    def digest(self) -> bytes: ...
    def snapshot(self) -> bytes: ...
    @staticmethod
    def restore(snapshot: bytes) -> Replica: ...
