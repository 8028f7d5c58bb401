"""Services over HTTP in the common case: one instance, called like its service. The rest is the
application's."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from konsul_ext.admission cimport allow
from konsul_ext.buffer cimport Buffer, pack_array, put
from konsul_ext.kv cimport pack_step, refused, submit_failed
from konsul_ext.reading cimport read_freshness, settle
from konsul_ext.site cimport ERROR, SERVICE_DEREGISTER, SERVICE_GET, SUCCESS, Site
from konsul_ext.writing cimport commit, takes_write

cdef enum:
    NAME_MAX_BYTES = 128

cdef str HEARTBEAT = "service.heartbeat"


cdef bytes _name(Exchange ex, Py_ssize_t prefix):
    """The name in the path if it is a possible one, else None."""
    return _word(ex.path, prefix)


cdef bytes _word(bytes text, Py_ssize_t prefix):
    """What follows the prefix if it is a possible name or id, else None."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text) - prefix
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(text) + prefix
    cdef Py_ssize_t at
    cdef uint8_t c
    if not 0 < size <= NAME_MAX_BYTES:
        return None
    for at in range(size):
        c = data[at]
        if not (48 <= c <= 57 or 65 <= (c & 0xDF) <= 90 or c == c"." or c == c"_" or c == c"-"):
            return None
    return PyBytes_FromStringAndSize(<const char*>data, size)


cdef bytes _key(bytes name):
    """The instance called like its service; see konsul.features.catalog.tables.instance_key."""
    return b"%b %b" % (name, name)


cdef int service_get(Exchange ex, Py_ssize_t prefix) except -1:
    """GET /services/{name}."""
    cdef bytes name = _name(ex, prefix)
    if name is None or name in (b"query", b"watch", b"dependency-graph") or ex.site.service_shape is None:
        return ex.fall()
    if not read_freshness(ex):
        return ex.fall()  # also a long-poll, `index=`, which the application keeps waiting
    ex.verb = SERVICE_GET
    if not allow(ex, "service:read", name, "service.get"):
        return 0
    ex.subject = name
    return settle(ex, &_get)


cdef int _get(Exchange ex) except -1:
    try:
        found = ex.site.get_json(ex.site.service_shape, _key(ex.subject))
    except Exception as error:
        return submit_failed(ex, error)
    if found is None:
        return ex.fall()  # perhaps it has instances of other names
    ex.count(SUCCESS)
    return ex.respond_json(200, found)


cdef int service_heartbeat(Exchange ex, Py_ssize_t prefix) except -1:
    """PUT /heartbeat/{name}, of one of several instances with `?id=` in its plain spelling."""
    cdef bytes name = _name(ex, prefix)
    cdef bytes query = ex.query
    cdef bytes id = name
    if PyBytes_GET_SIZE(query) > 3 and memcmp(PyBytes_AS_STRING(query), b"id=", 3) == 0:
        id = _word(query, 3)
        query = b""
    if name is None or id is None or query or ex.declared != 0:
        return ex.fall()
    if ex.site.tally is None or ex.site.service_shape is None:
        return ex.fall()
    if not takes_write(ex):
        return ex.fall()
    ex.verb = -1
    if not allow(ex, "service:write", name, HEARTBEAT):
        return 0
    ex.subject = name
    try:
        ticket = ex.site.renew(ex.site.service_table, b"%b %b" % (name, id), ex.timeout_ms)
    except Exception as error:
        return submit_failed(ex, error)
    return ex.wait_for(ticket, &_renewed)


cdef int _renewed(Exchange ex, tuple completion) except -1:
    cdef Buffer* b
    cdef bytes name = ex.subject
    cdef int status = completion[1]
    if status == 2:
        return ex.fall()  # perhaps it is there, and has no lease
    ex.site.tally.add(HEARTBEAT, "success" if status == 0 else "error", name.decode())
    ex.count(SUCCESS if status == 0 else ERROR)
    if status != 0:
        return refused(ex, completion)
    b = ex.site.clean_scratch()
    put(b, '{"message":"heartbeat updated","service":"', 42)
    put(b, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    put(b, '"}', 2)
    return ex.respond_json(200, ex.site.scratch_bytes())


cdef int service_deregister(Exchange ex, Py_ssize_t prefix) except -1:
    """DELETE /deregister/{name}."""
    cdef Site site = ex.site
    cdef Buffer* b
    cdef bytes name = _name(ex, prefix)
    cdef bytes key
    if name is None or ex.query or site.service_shape is None:
        return ex.fall()
    if not takes_write(ex):
        return ex.fall()
    ex.verb = SERVICE_DEREGISTER
    if not allow(ex, "service:deregister", name, "service.deregister"):
        return 0
    ex.subject = name
    key = _key(name)
    b = site.clean_scratch()
    pack_array(b, 1)
    pack_array(b, 2)
    pack_array(b, 0)
    pack_array(b, 1)
    pack_step(b, 3, 3, site.service_table, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    try:
        ticket = commit(ex, site.scratch_bytes())
    except Exception as error:
        return submit_failed(ex, error)
    return ex.wait_for(ticket, &_deregistered)


cdef int _deregistered(Exchange ex, tuple completion) except -1:
    cdef Buffer* b = ex.site.clean_scratch()
    cdef bytes name = ex.subject
    if completion[1] != 0:
        return refused(ex, completion)
    ex.index = completion[2]
    ex.count(SUCCESS)
    put(b, '{"message":"service deregistered","name":"', 42)
    put(b, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    put(b, '"}', 2)
    return ex.respond_json(200, ex.site.scratch_bytes())
