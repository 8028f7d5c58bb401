"""Many keys per request, in JSON or msgpack: the entry is packed here in one pass, without an object per
key beyond what decoding the body made. Sizes, types and keys that break a rule go to the application, which
words the refusal."""

import msgpack
import orjson

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t

from konsul_ext.admission cimport allow_all
from konsul_ext.buffer cimport Buffer, pack_array, shrink
from konsul_ext.kv cimport bin_size, is_json, pack_cells, pack_step, refused, storable, submit_failed
from konsul_ext.reading cimport read_freshness, settle
from konsul_ext.site cimport KV_BATCH_DELETE, KV_BATCH_GET, KV_BATCH_SET, SUCCESS, Site
from konsul_ext.writing cimport commit, takes_write

cdef enum:
    KEYS_MAX = 1000
    ANSWER_MAX_BYTES = 64 << 20
    ROW_HEAD = 16

cdef tuple MSGPACK = (b"content-type", b"application/msgpack")
cdef object loads = orjson.loads
cdef object dumps = orjson.dumps
cdef object unpack = msgpack.unpackb
cdef object pack = msgpack.packb


cdef int batch_get(Exchange ex) except -1:
    """POST /batch/kv/get."""
    if ex.idempotency_key is not None or not read_freshness(ex) or not _is_plain(ex):
        return ex.fall()  # a key that is none is refused, although nothing is written
    return ex.need_body(&_get)


cdef int batch_set(Exchange ex) except -1:
    """POST /batch/kv/set."""
    return ex.need_body(&_set) if not ex.query and _is_plain(ex) else ex.fall()


cdef int batch_delete(Exchange ex) except -1:
    """POST /batch/kv/delete."""
    return ex.need_body(&_delete) if not ex.query and _is_plain(ex) else ex.fall()


cdef bint _is_plain(Exchange ex) except -1:
    """One format both ways."""
    cdef bytes accept = ex.accept
    if ex.site.kv_shape is None:
        return False
    if is_json(ex.content_type):
        return accept is None or accept == b"*/*" or accept == b"application/json"
    if ex.content_type == b"application/msgpack":
        return accept is None or accept == b"*/*" or accept == b"application/msgpack"
    return False


cdef object _member(Exchange ex, str name):
    """The only member of the body, or None if there is more, or less."""
    try:
        body = loads(ex.body) if is_json(ex.content_type) else unpack(ex.body, raw=False, strict_map_key=True)
    except Exception:
        return None  # the application says what is wrong with it
    if type(body) is not dict or len(body) != 1:
        return None
    return body.get(name)


cdef int _answer(Exchange ex, dict document) except -1:
    if is_json(ex.content_type):
        return ex.respond_json(200, dumps(document))
    return ex.respond(200, [MSGPACK], pack(document))


cdef list _keys(Exchange ex):
    """The keys of the body if all are storable, else None."""
    cdef object keys = _member(ex, "keys")
    cdef const char* text
    cdef Py_ssize_t size
    if type(keys) is not list or not 0 < len(keys) <= KEYS_MAX:
        return None
    for key in <list>keys:
        if type(key) is not str:
            return None
        text = PyUnicode_AsUTF8AndSize(key, &size)
        if not storable(text, size, ex.site.max_key_bytes):
            return None
    return keys


cdef int _get(Exchange ex) except -1:
    ex.subject = _keys(ex)
    ex.verb = KV_BATCH_GET
    if ex.subject is None:
        return ex.fall()
    return settle(ex, &_read) if allow_all(ex, "kv:read", ex.subject, "kv.batch_get") else 0


cdef int _read(Exchange ex) except -1:
    cdef Site site = ex.site
    cdef list keys = ex.subject
    cdef list missing = []
    cdef dict found = {}
    cdef object row, value
    cdef const uint8_t* cell
    cdef Py_ssize_t size, head, gathered = 0
    cdef bint as_json = is_json(ex.content_type)
    for key in keys:
        if key in found:
            continue
        try:
            row = site.get(site.kv_table, key.encode())
        except Exception as error:
            return submit_failed(ex, error)
        if row is None:
            missing.append(key)
            continue
        cell = <const uint8_t*>PyBytes_AS_STRING(row) + ROW_HEAD
        size = bin_size(cell, &head)
        gathered += size
        if gathered > ANSWER_MAX_BYTES:
            return ex.fall()
        if not as_json:
            found[key] = PyBytes_FromStringAndSize(<const char*>cell + head, size)
            continue
        try:
            found[key] = PyUnicode_DecodeUTF8(<const char*>cell + head, size, NULL)
        except UnicodeDecodeError:
            return ex.fall()
    ex.count(SUCCESS)
    return _answer(ex, {"found": found, "not_found": missing})


cdef int _set(Exchange ex) except -1:
    cdef object items = _member(ex, "items")
    cdef Buffer entry
    if type(items) is not dict or not 0 < len(items) <= KEYS_MAX:
        return ex.fall()
    entry.data, entry.size, entry.room = NULL, 0, 0
    try:
        if not _pack_puts(ex, &entry, items):
            return ex.fall()
        cases = PyBytes_FromStringAndSize(entry.data, entry.size)
    finally:
        shrink(&entry, 0)
    ex.verb = KV_BATCH_SET
    return _commit(ex, cases, list(items), "Successfully set %d keys", "kv:write", "kv.batch_set")


cdef bint _pack_puts(Exchange ex, Buffer* entry, dict items) except -1:
    """One case without guards, one put per item; False if an item is not for us."""
    cdef const char* text
    cdef Py_ssize_t size
    pack_array(entry, 1)
    pack_array(entry, 2)
    pack_array(entry, 0)
    pack_array(entry, len(items))
    for key, value in items.items():
        if type(key) is not str:
            return False
        text = PyUnicode_AsUTF8AndSize(key, &size)
        if not storable(text, size, ex.site.max_key_bytes):
            return False
        pack_step(entry, 4, 0, ex.site.kv_table, text, size)
        if type(value) is str:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        elif type(value) is bytes:
            text = PyBytes_AS_STRING(value)
            size = PyBytes_GET_SIZE(value)
        else:
            return False
        if size > ex.site.max_value_bytes:
            return False
        pack_cells(entry, text, size, None)
    return True


cdef int _delete(Exchange ex) except -1:
    cdef list keys = _keys(ex)
    cdef Buffer entry
    cdef const char* text
    cdef Py_ssize_t size
    if keys is None:
        return ex.fall()
    entry.data, entry.size, entry.room = NULL, 0, 0
    try:
        once = set(keys)
        pack_array(&entry, 1)
        pack_array(&entry, 2)
        pack_array(&entry, 0)
        pack_array(&entry, len(once))
        for key in once:
            text = PyUnicode_AsUTF8AndSize(key, &size)
            pack_step(&entry, 3, 3, ex.site.kv_table, text, size)
        cases = PyBytes_FromStringAndSize(entry.data, entry.size)
    finally:
        shrink(&entry, 0)
    ex.verb = KV_BATCH_DELETE
    return _commit(ex, cases, keys, "Successfully deleted %d keys", "kv:delete", "kv.batch_delete")


cdef int _commit(Exchange ex, bytes cases, list keys, str message, str needs, str action) except -1:
    ex.subject = {"message": message % len(keys), "keys": keys, "count": len(keys)}
    if not takes_write(ex):
        return ex.fall()
    if not allow_all(ex, needs, keys, action):
        return 0
    try:
        ticket = commit(ex, cases)
    except Exception as error:
        return submit_failed(ex, error)
    return ex.wait_for(ticket, &_committed)


cdef int _committed(Exchange ex, tuple completion) except -1:
    if completion[1] != 0:
        return refused(ex, completion)
    ex.index = completion[2]
    ex.count(SUCCESS)
    return _answer(ex, ex.subject)
