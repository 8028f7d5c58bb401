"""The audit log's hot half: one JSON line per event, formatted into a bounded buffer that a thread of the
audit feature empties.

A request never waits for a disk. Whatever a client chose (names, paths, keys) is escaped here so that it can
neither end a line nor look like another member: control characters, line separators and what steers a
terminal or the direction of text are written as `\\uXXXX`. `konsul.features.audit.events` is the same in
Python, and a contract test compares the two byte for byte.
"""

import hashlib
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from konsul_ext.audit_text cimport (
    ID_MAX_BYTES,
    NAME_MAX_BYTES,
    PATH_MAX_BYTES,
    REASON_MAX_BYTES,
    actor_members,
    as_bytes,
    ids_of,
    prepared,
    put_bytes,
    put_foreign,
)
from konsul_ext.buffer cimport put, put_byte, put_decimal, put_padded, shrink
from konsul_ext.moment cimport put_second
from konsul_ext.uuid cimport UUID_BYTES, put_uuid, seed_from

cdef enum:
    ACTORS_MAX = 4096
    ACTIONS_MAX = 1024
    BYTES_PER_EVENT = 2048  # of the buffer, on average
    KEEP_BYTES = 1 << 20

cdef enum Which:
    ALL = 0
    WRITES = 1
    DENIED = 2

cdef enum Result:
    SUCCESS = 0
    REFUSED = 1
    FAILED = 2
    UNKNOWN = 3

cdef frozenset READING = frozenset(("GET", "HEAD", "OPTIONS"))


cdef class AuditLog:
    """See audit.pyi."""

    def __init__(self, dict actions, str node_id, *, str which="all", Py_ssize_t events_max=16384,
                 str drop_policy="drop", wake=None):
        cdef Buffer text
        if events_max < 1:
            raise ValueError("events_max must be at least 1")
        seed_from(self._seed, os.urandom(32))
        self._which = {"all": ALL, "writes": WRITES, "denied": DENIED}[which]
        self._block = {"drop": False, "block": True}[drop_policy]
        self._events_max = events_max
        self._bytes_max = <size_t>events_max * BYTES_PER_EVENT
        self._stamp.second = -1
        self._actors = {}
        self._actions = {}
        for verb, (action, kind, writes) in actions.items():
            # Passwords are guessed from a hash: what is said to `/auth` leaves none.
            self._actions[verb] = prepared(action, kind, writes, not action.startswith("auth."))
        text.data, text.size, text.room = NULL, 0, 0
        put_foreign(&text, as_bytes(node_id), NAME_MAX_BYTES)
        self._tail = b',"node_id":"' + PyBytes_FromStringAndSize(text.data, text.size) + b'"}\n'
        shrink(&text, 0)
        self._wake = wake

    def __dealloc__(self):
        shrink(&self._lines, 0)
        shrink(&self._spare, 0)

    def record(self, identity, str client, str verb, resources=None, str outcome="", str reason="", *,
               str method, bytes path, int status, int64_t took_ns, request_id, bytes body=None):
        """See audit.pyi."""
        self.event(identity, client, verb, resources, outcome, reason, method, path, status, took_ns,
                   request_id, body)

    def admits(self):
        """See audit.pyi."""
        return self.has_room()

    cdef bint has_room(self) noexcept:
        if not self._block or (self._count < self._events_max and self._lines.size < self._bytes_max):
            return True
        self.refused += 1
        return False

    cdef int event(self, object identity, str client, str verb, object resources, str outcome, str reason,
                   str method, bytes path, int status, int64_t took_ns, object request_id,
                   bytes body) except -1:
        """As `record`. Everything Python is done before the first byte of the line, so that no other thread
        can come between its parts."""
        cdef tuple action = self._actions.get(verb)
        cdef tuple actor
        cdef list ids
        cdef Py_ssize_t omitted
        cdef int result = _result(status, outcome)
        cdef bytes why, client_bytes, method_bytes, id_bytes, body_hash
        cdef timespec now
        cdef int64_t at_ns
        cdef size_t start
        cdef char event_id[UUID_BYTES]
        if self._which != ALL and result == SUCCESS:
            if self._which == DENIED:
                return 0
            if not (method not in READING if action is None or action[2] is None else action[2]):
                return 0
        if not self._block and (self._count >= self._events_max or self._lines.size >= self._bytes_max):
            self.dropped += 1
            return 0
        if action is None:
            action = self._action_of(verb)
        actor = self._actor_of(identity)
        if resources is None:
            ids, omitted = None, 0
        else:
            ids, omitted = ids_of(resources)
        why = as_bytes(reason or (outcome if outcome and outcome != "success" else ""))
        client_bytes, method_bytes, id_bytes = as_bytes(client), as_bytes(method), as_bytes(request_id)
        body_hash = None
        if body is not None and action[3] and PyBytes_GET_SIZE(body) and method not in READING:
            body_hash = hashlib.sha256(body).hexdigest().encode()
        # From here on C only.
        clock_gettime(CLOCK_REALTIME, &now)
        at_ns = <int64_t>now.tv_sec * 1000000000 + now.tv_nsec - took_ns
        put_uuid(self._seed, event_id)
        start = self._lines.size
        try:
            self._line(&self._lines, event_id, at_ns, action, actor, client_bytes, ids, omitted, result, why,
                       method_bytes, path, status, took_ns, id_bytes, body_hash)
        except MemoryError:
            self._lines.size = start
            self.dropped += 1
            return 0
        if self._count == 0 or at_ns < self._first_ns:
            self._first_ns = at_ns
        if self._count == 0 or at_ns > self._last_ns:
            self._last_ns = at_ns
        self._count += 1
        self.recorded += 1
        if not self._asked and (
                self._count * 4 >= self._events_max or self._lines.size * 4 >= self._bytes_max):
            self._asked = True
            if self._wake is not None:
                self._wake()
        return 0

    def take(self):
        """See audit.pyi."""
        cdef Buffer taken = self._lines
        cdef Py_ssize_t count = self._count
        cdef int64_t first_ns = self._first_ns, last_ns = self._last_ns
        self._asked = False
        if count == 0:
            return None
        # The two buffers change places, so that copying a large one does not hold up who records meanwhile.
        self._lines = self._spare
        self._lines.size = 0
        self._count = 0
        self._spare.data, self._spare.size, self._spare.room = NULL, 0, 0
        try:
            return PyBytes_FromStringAndSize(taken.data, taken.size), count, first_ns, last_ns
        finally:
            shrink(&taken, KEEP_BYTES)
            if self._spare.data == NULL:
                self._spare = taken
            else:
                shrink(&taken, 0)

    def waiting(self):
        """See audit.pyi."""
        return self._count

    def line(self, bytes event_id, int64_t at_ns, identity, str client, str verb, resources=None,
             str outcome="", str reason="", *, str method, bytes path, int status, int64_t took_ns,
             request_id, bytes body=None):
        """See audit.pyi."""
        cdef Buffer b
        cdef list ids = None
        cdef Py_ssize_t omitted = 0
        cdef bytes body_hash = None
        cdef tuple action = self._action_of(verb)
        cdef tuple actor = self._actor_of(identity)
        cdef bytes why = as_bytes(reason or (outcome if outcome and outcome != "success" else ""))
        cdef bytes client_bytes = as_bytes(client), method_bytes = as_bytes(method)
        cdef bytes id_bytes = as_bytes(request_id)
        if PyBytes_GET_SIZE(event_id) != UUID_BYTES:
            raise ValueError("an event id has 36 characters")
        if resources is not None:
            ids, omitted = ids_of(resources)
        if body is not None and action[3] and PyBytes_GET_SIZE(body) and method not in READING:
            body_hash = hashlib.sha256(body).hexdigest().encode()
        b.data, b.size, b.room = NULL, 0, 0
        try:
            self._line(&b, PyBytes_AS_STRING(event_id), at_ns, action, actor, client_bytes, ids, omitted,
                       _result(status, outcome), why, method_bytes, path, status, took_ns, id_bytes,
                       body_hash)
            return PyBytes_FromStringAndSize(b.data, b.size)
        finally:
            shrink(&b, 0)

    cdef tuple _action_of(self, str verb):
        cdef tuple action = self._actions.get(verb)
        if action is None:
            # Named by the route, such as `http.get`: few, and still bounded.
            action = prepared(verb, verb.partition(".")[0], None, False)
            if len(self._actions) < ACTIONS_MAX:
                self._actions[verb] = action
        return action

    cdef tuple _actor_of(self, object identity):
        """(JSON of the actor, member auth_method): formatted once for each identity, which is held so that
        its address stays its own."""
        cdef object found = self._actors.get(<size_t><void*>identity)
        if found is not None:
            return <tuple>found
        made = actor_members(identity)
        if len(self._actors) >= ACTORS_MAX:
            self._actors.clear()
        self._actors[<size_t><void*>identity] = made
        return made

    cdef int _line(self, Buffer* b, const char* event_id, int64_t at_ns, tuple action, tuple actor,
                   bytes client, list resources, Py_ssize_t omitted, int result, bytes reason, bytes method,
                   bytes path, int status, int64_t took_ns, bytes request_id, bytes body_hash) except -1:
        cdef int64_t micros = took_ns // 1000 if took_ns > 0 else 0
        cdef Py_ssize_t at, count = len(resources) if resources is not None else 0
        put(b, '{"event_id":"', 13)
        put(b, event_id, UUID_BYTES)
        put(b, '","timestamp":"', 15)
        put_second(b, &self._stamp, at_ns // 1000000000)
        put_padded(b, at_ns % 1000000000, 9)
        put_byte(b, c"Z")
        put_bytes(b, <bytes>action[0])
        if result == SUCCESS:
            put(b, "success", 7)
        elif result == REFUSED:
            put(b, "denied", 6)
        elif result == FAILED:
            put(b, "error", 5)
        else:
            put(b, "unknown", 7)
        put_bytes(b, <bytes>action[1])
        if count == 1 and PyBytes_GET_SIZE(<bytes>resources[0]):
            put(b, ',"id":"', 7)
            put_foreign(b, <bytes>resources[0], ID_MAX_BYTES)
            put_byte(b, c'"')
        put_bytes(b, <bytes>actor[0])
        put(b, ',"source_ip":"', 14)
        put_foreign(b, client, NAME_MAX_BYTES)
        put_byte(b, c'"')
        put_bytes(b, <bytes>actor[1])
        put(b, ',"http_method":"', 16)
        put_foreign(b, method, 32)
        put(b, '","http_path":"', 15)
        put_foreign(b, path, PATH_MAX_BYTES)
        put(b, '","http_status":', 16)
        put_decimal(b, status if status > 0 else 0)
        if body_hash is not None:
            put(b, ',"request_hash":"', 17)
            put_bytes(b, body_hash)
            put_byte(b, c'"')
        put(b, ',"request_id":"', 15)
        put_foreign(b, request_id, NAME_MAX_BYTES)
        put(b, '","duration_ms":', 16)
        put_decimal(b, micros // 1000)
        put_byte(b, c".")
        put_padded(b, micros % 1000, 3)
        if PyBytes_GET_SIZE(reason):
            put(b, ',"reason":"', 11)
            put_foreign(b, reason, REASON_MAX_BYTES)
            put_byte(b, c'"')
        if count > 1 or omitted:
            put(b, ',"resources":[', 14)
            for at in range(count):
                put(b, ',"' if at else '"', 2 if at else 1)
                put_foreign(b, <bytes>resources[at], ID_MAX_BYTES)
                put_byte(b, c'"')
            put_byte(b, c"]")
            if omitted:
                put(b, ',"resources_omitted":', 21)
                put_decimal(b, omitted)
        return put_bytes(b, self._tail)


cdef inline int _result(int status, str outcome) noexcept:
    """What became of it: an act of a request may have failed although the whole answered 200."""
    if status >= 500:
        return FAILED
    if outcome and outcome != "success":
        if outcome == "error" and not 400 <= status < 500:
            return FAILED
        return REFUSED
    if 200 <= status < 300 or status == 101:
        return SUCCESS
    return REFUSED if status >= 400 else UNKNOWN
