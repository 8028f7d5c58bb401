"""Reads a request's head: size, the headers the front needs, and the path, decoded exactly once."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp

from konsul_ext.buffer cimport is_utf8
from konsul_ext.site cimport DELETE, GET, HEAD, OPTIONS, OTHER, PATCH, POST, PUT

cdef enum:
    REQUEST_ID_MAX = 128
    LINE_OVERHEAD = 14  # two spaces, HTTP/1.1, the ends of the line and of the head
    HEADER_OVERHEAD = 4

cdef dict METHODS = {
    "GET": GET, "HEAD": HEAD, "PUT": PUT, "POST": POST, "DELETE": DELETE, "OPTIONS": OPTIONS, "PATCH": PATCH,
}


cdef inline bint _is(const char* name, Py_ssize_t size, const char* wanted, Py_ssize_t wanted_size) noexcept:
    return size == wanted_size and memcmp(name, wanted, size) == 0


cdef Py_ssize_t _decimal(bytes text) noexcept:
    """A content-length, or some number far over every limit for one that is. -1 (unknown) for what is none:
    the server lets no such request pass."""
    cdef Py_ssize_t number = 0
    cdef uint8_t c
    if PyBytes_GET_SIZE(text) == 0:
        return -1
    for c in text:
        if not 48 <= c <= 57:
            return -1
        if number < <Py_ssize_t>1 << 50:
            number = number * 10 + c - 48
    return number


cdef bint _is_request_id(bytes text) noexcept:
    """Letters, digits and `._:/+=-`: harmless in a header, a log line and a shell."""
    cdef uint8_t c
    if not 0 < PyBytes_GET_SIZE(text) <= REQUEST_ID_MAX:
        return False
    for c in text:
        if not (48 <= c <= 57 or 65 <= (c & 0xDF) <= 90 or c in b"._:/+=-"):
            return False
    return True


cdef inline int _read_line(Exchange ex, dict scope) except -1:
    """Who asks, how, and for what."""
    client = scope.get("client")
    ex.client = "" if client is None else <str?>client[0]
    ex.method_name = <str?>scope["method"]
    method = METHODS.get(ex.method_name)
    ex.method = OTHER if method is None else method
    ex.query = <bytes?>scope["query_string"]
    ex.raw_path = <bytes?>scope["raw_path"]
    if memchr(PyBytes_AS_STRING(ex.raw_path), c"?", PyBytes_GET_SIZE(ex.raw_path)) != NULL:
        ex.raw_path = ex.raw_path.partition(b"?")[0]  # some ASGI servers leave the query on
    return 0


cdef int read_head(Exchange ex) except -1:
    """Fills the exchange from its scope; of a header that comes twice the first counts, as for the
    application. Answers SOUND, TOO_LONG, PREFLIGHT or BODY_TOO_LARGE."""
    cdef dict scope = ex.scope
    cdef list headers = scope["headers"] if type(scope["headers"]) is list else list(scope["headers"])
    cdef object name_object, value_object
    cdef const char* name
    cdef Py_ssize_t size, total = LINE_OVERHEAD
    cdef bint asks_method = False, says_length = False
    _read_line(ex, scope)
    total += len(ex.method_name) + PyBytes_GET_SIZE(ex.raw_path)
    if ex.query:
        total += PyBytes_GET_SIZE(ex.query) + 1
    for name_object, value_object in headers:
        name = PyBytes_AS_STRING(<bytes?>name_object)
        size = PyBytes_GET_SIZE(name_object)
        total += size + PyBytes_GET_SIZE(<bytes?>value_object) + HEADER_OVERHEAD
        if _is(name, size, "user-agent", 10):
            if ex.user_agent is None:
                ex.user_agent = value_object
        elif _is(name, size, "content-length", 14):
            ex.declared = _decimal(value_object)
            says_length = True
        elif _is(name, size, "content-type", 12):
            if ex.content_type is None:
                ex.content_type = value_object
        elif _is(name, size, "transfer-encoding", 17):
            ex.declared = -1
        elif _is(name, size, "x-request-id", 12):
            if ex.request_id is None and _is_request_id(value_object):
                ex.request_id = value_object
        elif _is(name, size, "idempotency-key", 15):
            if ex.idempotency_key is None:
                ex.idempotency_key = value_object
        elif _is(name, size, "x-konsul-min-index", 18):
            if ex.min_index is None:
                ex.min_index = value_object
        elif _is(name, size, "x-konsul-timeout-ms", 19):
            if ex.timeout is None:
                ex.timeout = value_object
        elif _is(name, size, "x-konsul-redirect", 17):
            if ex.redirect is None:
                ex.redirect = value_object
        elif _is(name, size, "authorization", 13):
            ex.is_doubled = ex.is_doubled or ex.authorization is not None
            ex.authorization = value_object
        elif _is(name, size, "x-api-key", 9):
            ex.is_doubled = ex.is_doubled or ex.api_key is not None
            ex.api_key = value_object
        elif _is(name, size, "x-forwarded-for", 15):
            ex.forwarded = value_object if ex.forwarded is None else ex.forwarded + b"," + value_object
        elif _is(name, size, "accept", 6):
            if ex.accept is None:
                ex.accept = value_object
        elif _is(name, size, "origin", 6):
            ex.origin = True
        elif _is(name, size, "access-control-request-method", 29):
            asks_method = True
    if not says_length and (ex.method == PUT or ex.method == POST) and scope.get("http_version") == "2":
        ex.declared = -1  # HTTP/2 needs neither header: a body ends with its stream (RFC 9113, 8.1)
    if ex.request_id is None:
        ex.request_id = ex.site.new_request_id()
    if total > ex.site.max_head_bytes:
        return TOO_LONG
    if ex.method == OPTIONS and ex.origin and asks_method:
        return PREFLIGHT
    if ex.declared > ex.site.max_body_bytes:
        return BODY_TOO_LARGE
    return SOUND


cdef int _nibble(uint8_t c) noexcept:
    if 48 <= c <= 57:
        return c - 48
    c |= 0x20
    return c - 87 if 97 <= c <= 102 else -1


cdef int read_path(Exchange ex) except -1:
    """Sets `path`: trailing slashes gone from the raw path, percent-decoded once, `/v1` gone. Answers SOUND
    or BAD_PATH: a broken escape, or no UTF-8."""
    cdef bytes raw = ex.raw_path
    cdef const char* data = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw)
    cdef Py_ssize_t start = 0
    while size > 1 and data[size - 1] == c"/":
        size -= 1
    if size >= 3 and data[0] == c"/" and (data[1] | 0x20) == c"v" and data[2] == c"1":
        if size == 3:
            ex.path = b"/"
            return SOUND
        if data[3] == c"/":
            start = 3
    if memchr(data + start, c"%", size - start) != NULL:
        return _decode(ex, data + start, size - start)
    if not is_utf8(data + start, size - start):
        return BAD_PATH
    ex.path = raw if start == 0 and size == PyBytes_GET_SIZE(raw) else raw[start:size]
    return SOUND


cdef int _decode(Exchange ex, const char* data, Py_ssize_t size) except -1:
    cdef bytes decoded = PyBytes_FromStringAndSize(data, size)
    cdef char* into = PyBytes_AS_STRING(decoded)
    cdef Py_ssize_t at = 0, filled = 0
    cdef int high, low
    while at < size:
        if data[at] != c"%":
            into[filled] = data[at]
            at += 1
        else:
            high = _nibble(data[at + 1]) if at + 2 < size else -1
            low = _nibble(data[at + 2]) if at + 2 < size else -1
            if high < 0 or low < 0:
                return BAD_PATH
            into[filled] = <char>(high << 4 | low)
            at += 3
        filled += 1
    if not is_utf8(into, filled):
        return BAD_PATH
    ex.path = decoded[:filled]
    return SOUND
