"""How fresh a native read is, and the wait until it may be served. The short cut of konsul.kernel.reading."""

import orjson

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from konsul_ext.kv cimport refused
from konsul_ext.site cimport Site
from konsul_ext.writing cimport timeout_of

cdef enum:
    TIMED_OUT = 7  # codes of konsul.errors
    NO_LEADER = 8

cdef tuple JSON = (b"content-type", b"application/json")
cdef tuple RETRY = (b"retry-after", b"1")
cdef str TOO_LATE = "no answer from the leader in time"
cdef object dumps = orjson.dumps


cdef inline bint _is(const char* text, Py_ssize_t size, const char* wanted, Py_ssize_t wanted_size) noexcept:
    return size == wanted_size and memcmp(text, wanted, size) == 0


cdef int freshness_of(const char* text, Py_ssize_t size) noexcept:
    """What one query parameter in its plain spelling asks for; UNSAID if it is about something else."""
    if _is(text, size, "stale", 5) or _is(text, size, "stale=true", 10):
        return STALE
    if _is(text, size, "consistent=true", 15):
        return LINEARIZABLE
    if size < 17 or memcmp(text, "consistency=", 12) != 0:
        return UNSAID
    if _is(text + 12, size - 12, "stale", 5):
        return STALE
    if _is(text + 12, size - 12, "default", 7):
        return DEFAULT
    if _is(text + 12, size - 12, "linearizable", 12):
        return LINEARIZABLE
    return UNSAID


cdef bint read_freshness(Exchange ex) noexcept:
    """Reads a query that says how fresh, or nothing; False if it says anything else."""
    cdef bytes query = ex.query
    if PyBytes_GET_SIZE(query) == 0:
        ex.freshness = DEFAULT
        return True
    ex.freshness = freshness_of(PyBytes_AS_STRING(query), PyBytes_GET_SIZE(query))
    return ex.freshness != UNSAID


cdef int settle(Exchange ex, Step read) except -1:
    """Calls `read` once a read as fresh as asked for may be served."""
    cdef Site site = ex.site
    cdef int timeout_ms
    if ex.freshness == STALE or (ex.freshness == DEFAULT and site.is_current()):
        return _begin(ex, read)
    timeout_ms = timeout_of(ex)
    if timeout_ms == 0:
        return ex.fall()
    ex.step = read
    try:
        ticket = site.barrier("linearizable" if ex.freshness == LINEARIZABLE else "default", timeout_ms)
    except Exception as error:
        code, message = error.args
        return _refused(ex, (0, code, 0, 0, message.encode()))
    return ex.wait_for(ticket, &_settled)


cdef int _begin(Exchange ex, Step read) except -1:
    """Notes what the answer is based on, before it is read: nothing up to that index will be missing."""
    cdef tuple contact = ex.site.contact()
    cdef bytes least = ex.min_index
    if ex.timeout is not None and timeout_of(ex) == 0:
        return ex.fall()
    if least is not None and not (least.isdigit() and len(least) <= 20 and int(least) <= contact[2]):
        return ex.fall()  # which waits
    if ex.freshness == STALE and contact[2] == 0:
        return ex.fall()  # a node without a cluster has nothing to be stale about
    ex.contact = contact
    return read(ex)


cdef int _settled(Exchange ex, tuple completion) except -1:
    cdef object before = ex.identity
    if completion[1] != 0:
        return _refused(ex, completion)
    if ex.site.identify is not None:
        if not ex._is_still():
            return 0
        if ex.identity is not before and ex.identity != before:
            return ex.fall()  # which asks again what it may
    return _begin(ex, ex.step)


cdef int _refused(Exchange ex, tuple completion) except -1:
    cdef int code = completion[1]
    cdef str wanted = "linearizable" if ex.freshness == LINEARIZABLE else "default"
    ex.verb = -1  # nothing was read
    ex.action = None
    if code != TIMED_OUT and code != NO_LEADER:
        return refused(ex, completion)
    detail = TOO_LATE if code == TIMED_OUT else (<bytes>completion[4]).decode("utf-8", "replace")
    return ex.respond(503, [JSON, RETRY], dumps({"error": wanted + " read failed", "detail": detail}))
