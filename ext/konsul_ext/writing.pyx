"""On what terms a native write goes into the log. The short cut of konsul.kernel.writing."""

from cpython.bytes cimport PyBytes_GET_SIZE

from konsul_ext.site cimport Site

cdef enum:
    TIMEOUT_MAX_MS = 60000


cdef int timeout_of(Exchange ex) except -1:
    """How long the request waits for the log in ms; 0 if its header cannot be read."""
    cdef bytes text = ex.timeout
    cdef int number
    if text is None:
        return ex.site.write_timeout_ms
    if not text.isdigit() or PyBytes_GET_SIZE(text) > 5:
        return 0
    number = int(text)
    return number if number <= TIMEOUT_MAX_MS else 0


cdef bint takes_write(Exchange ex) except -1:
    """Fills `timeout_ms` and `write_id`; False for what the application has to answer: terms that cannot be
    read, and a client that wants to be sent to the leader when this node may not be it."""
    cdef Site site = ex.site
    ex.timeout_ms = timeout_of(ex)
    if ex.timeout_ms == 0:
        return False
    if (site.redirect_writes or ex.redirect == b"true") and not site.is_current():
        return False
    if ex.idempotency_key is None:
        return True
    if site.write_id is None:
        return False
    body = ex.body if ex.body is not None else b""
    try:
        ex.write_id = site.write_id(
            ex.idempotency_key, ex.identity, ex.method_name, ex.raw_path, ex.query, body)
    except Exception:
        return False
    return True


cdef object commit(Exchange ex, bytes cases):
    """The ticket of an entry on the terms of the request. Raises CoreError."""
    if ex.write_id is None:
        return ex.site.commit(cases, ex.timeout_ms)
    return ex.site.commit(cases, ex.timeout_ms, ex.write_id)


cdef object put_row(Exchange ex, int table, bytes key, bytes cells, object at):
    """The ticket of one row's write on the terms of the request. Raises CoreError."""
    if ex.write_id is None:
        return ex.site.put(table, key, cells, at, ex.timeout_ms)
    return ex.site.put(table, key, cells, at, ex.timeout_ms, ex.write_id)
