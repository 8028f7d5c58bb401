"""Single keys over HTTP, answered by one call into the core. What is unusual goes to the application.

Each function is the short cut of a FastAPI route; tests/contract/test_front_oracle.py holds the two together.
"""

import orjson

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp

from konsul_ext.admission cimport allow
from konsul_ext.buffer cimport Buffer, pack_array, pack_bin, pack_u64, put, put_byte, put_decimal, put_json
from konsul_ext.reading cimport UNSAID, freshness_of, settle
from konsul_ext.site cimport (
    CAS_CONFLICT, ERROR, KV_DELETE, KV_GET, KV_GET_JSON, KV_SET, NOT_FOUND, SUCCESS, Site,
)
from konsul_ext.writing cimport commit, put_row, takes_write

cdef enum:
    PREFIX = 4  # "/kv/"
    ROW_HEAD = 16  # create_index, modify_index
    PLAIN = 0  # what a query asks a read for, as bits
    RAW = 1
    METADATA = 2
    FRESHNESS = 4

cdef object loads = orjson.loads
cdef object U64_MAX = 2**64 - 1
cdef tuple OCTETS = (b"content-type", b"application/octet-stream")
cdef tuple NOSNIFF = (b"x-content-type-options", b"nosniff")


cdef bint is_json(bytes content_type) noexcept:
    """The usual spellings; the rest is left to the application."""
    cdef Py_ssize_t size
    if content_type is None:
        return False
    size = PyBytes_GET_SIZE(content_type)
    if size < 16 or memcmp(PyBytes_AS_STRING(content_type), "application/json", 16) != 0:
        return False
    return size == 16 or PyBytes_AS_STRING(content_type)[16] == c";"


cdef bint storable(const char* key, Py_ssize_t size, Py_ssize_t most) noexcept:
    """What the core accepts as a key; the application words the refusal of any other."""
    return 0 < size <= most and memchr(key, 0, size) == NULL


cdef inline bytes _key(Exchange ex):
    """The key in the path, or None."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(ex.path) - PREFIX
    cdef const char* data = PyBytes_AS_STRING(ex.path) + PREFIX
    if not storable(data, size, ex.site.max_key_bytes):
        return None
    return PyBytes_FromStringAndSize(data, size)


cdef int submit_failed(Exchange ex, object error) except -1:
    """The core refused at once: `error` is a CoreError with `(code, message)`."""
    code, message = error.args
    ex.count(ERROR)
    return ex.refuse_with(ex.site.error(code, message))


cdef int refused(Exchange ex, tuple completion) except -1:
    """A completion that is neither applied nor a conflict."""
    cdef bytes text = completion[4]
    ex.count(NOT_FOUND if completion[1] == 2 else ERROR)
    return ex.refuse_with(ex.site.error(completion[1], text.decode("utf-8", "replace")))


cdef int kv_get(Exchange ex) except -1:
    """GET /kv/{key}, with `?metadata=true` or `?raw`."""
    cdef Site site = ex.site
    cdef bytes key = _key(ex)
    if key is None or (key.startswith(b"watch") and (len(key) == 5 or key[5] == c"/")):
        return ex.fall()
    ex.expected = PLAIN
    if PyBytes_GET_SIZE(ex.query) and not _read_query(ex):
        return ex.fall()
    if (site.kv_metadata_shape if ex.expected & METADATA else site.kv_shape) is None:
        return ex.fall()
    ex.verb = KV_GET if ex.expected & RAW else KV_GET_JSON
    if not allow(ex, "kv:read", key, "kv.get" if ex.expected & RAW else "kv.get_json"):
        return 0
    ex.subject = key
    return settle(ex, &_get)


cdef int _get(Exchange ex) except -1:
    cdef Site site = ex.site
    cdef bytes key = ex.subject
    cdef bint raw = ex.expected & RAW
    try:
        if raw:
            found = site.get(site.kv_table, key)
        else:
            found = site.get_json(site.kv_metadata_shape if ex.expected & METADATA else site.kv_shape, key)
    except Exception as error:
        return submit_failed(ex, error)
    if found is None:
        ex.count(NOT_FOUND)
        return ex.refuse(404, b"Key not found")
    ex.count(SUCCESS)
    return _respond_raw(ex, found) if raw else ex.respond_json(200, found)


cdef bint _read_query(Exchange ex) except -1:
    """Reads the form and the freshness from a query of plain parameters, each at most once; False for any
    other."""
    cdef const char* data = PyBytes_AS_STRING(ex.query)
    cdef const char* cut
    cdef Py_ssize_t left = PyBytes_GET_SIZE(ex.query), size
    cdef int form, seen = PLAIN
    while True:
        cut = <const char*>memchr(data, c"&", left)
        size = left if cut == NULL else cut - data
        form = _form_of(data, size)
        if form == FRESHNESS:
            ex.freshness = freshness_of(data, size)
            if ex.freshness == UNSAID:
                return False
        if seen & form:
            return False
        seen |= form
        if cut == NULL:
            break
        left -= size + 1
        data = cut + 1
    ex.expected = seen
    return True


cdef int _form_of(const char* text, Py_ssize_t size) noexcept:
    if (size == 3 and memcmp(text, "raw", 3) == 0) or (size == 8 and memcmp(text, "raw=true", 8) == 0):
        return RAW
    if size == 13 and memcmp(text, "metadata=true", 13) == 0:
        return METADATA
    return FRESHNESS


cdef int _respond_raw(Exchange ex, bytes row) except -1:
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(row)
    cdef uint64_t index = 0
    cdef Py_ssize_t size, at
    for at in range(8, ROW_HEAD):
        index = index << 8 | data[at]
    size = bin_size(data + ROW_HEAD, &at)
    value = PyBytes_FromStringAndSize(<const char*>data + ROW_HEAD + at, size)
    ex.index = index
    return ex.respond(200, [OCTETS, NOSNIFF], value)


cdef Py_ssize_t bin_size(const uint8_t* cell, Py_ssize_t* head) noexcept:
    """The length of a msgpack bin cell as the core packs it; `head` becomes the length of its own head."""
    if cell[0] == 0xc4:
        head[0] = 2
        return cell[1]
    if cell[0] == 0xc5:
        head[0] = 3
        return cell[1] << 8 | cell[2]
    head[0] = 5
    return <Py_ssize_t>cell[1] << 24 | cell[2] << 16 | cell[3] << 8 | cell[4]


cdef int kv_put(Exchange ex) except -1:
    """PUT /kv/{key} with a plain JSON body, or any body under `?raw`."""
    cdef bytes query = ex.query
    if ex.site.kv_shape is None:
        return ex.fall()
    if PyBytes_GET_SIZE(query) == 0:
        return ex.need_body(&_put_json) if is_json(ex.content_type) else ex.fall()
    if query == b"raw" or query == b"raw=true":
        return ex.need_body(&_put_raw)
    return ex.fall()


cdef int _put_json(Exchange ex) except -1:
    cdef object body, name, item, value = "", at = None, flags = None
    cdef const char* text
    cdef Py_ssize_t size
    try:
        body = loads(ex.body)
    except ValueError:
        return ex.fall()
    if type(body) is not dict:
        return ex.fall()
    for name, item in (<dict>body).items():
        if name == "value":
            if type(item) is not str:
                return ex.fall()
            value = item
        elif name == "cas" or name == "flags":
            if type(item) is not int or not 0 <= item <= U64_MAX:
                return ex.fall()
            if name == "cas":
                at = item
            else:
                flags = item
        else:
            return ex.fall()
    text = PyUnicode_AsUTF8AndSize(value, &size)
    return _put(ex, text, size, at, flags)


cdef int _put_raw(Exchange ex) except -1:
    return _put(ex, PyBytes_AS_STRING(ex.body), PyBytes_GET_SIZE(ex.body), None, None)


cdef int _put(Exchange ex, const char* value, Py_ssize_t size, object at, object flags) except -1:
    cdef Site site = ex.site
    cdef Buffer* b
    cdef bytes key = _key(ex)
    cdef bytes cells
    if key is None or size > site.max_value_bytes or not takes_write(ex):
        return ex.fall()
    ex.verb = KV_SET
    if not allow(ex, "kv:write", key, "kv.set"):
        return 0
    b = site.clean_scratch()
    pack_cells(b, value, size, flags)
    cells = site.scratch_bytes()
    ex.subject = key
    ex.expected = at if at is not None else 0
    try:
        ticket = put_row(ex, site.kv_table, key, cells, at)
    except Exception as error:
        return submit_failed(ex, error)
    return ex.wait_for(ticket, &_put_done)


cdef int pack_cells(Buffer* b, const char* value, Py_ssize_t size, object flags) except -1:
    """The cells of a row: value, flags (absent: KEEP, msgpack ext 3 without payload), no expiry, and the lock
    as it is (session and lock_index KEEP): it stays whatever is written."""
    pack_array(b, 5)
    pack_bin(b, value, size)
    if flags is None:
        put(b, "\xc7\x00\x03", 3)
    else:
        pack_u64(b, flags)
    return put(b, "\xc0\xc7\x00\x03\xc7\x00\x03", 7)


cdef int _put_done(Exchange ex, tuple completion) except -1:
    cdef Buffer* b = ex.site.clean_scratch()
    cdef bytes key = ex.subject
    cdef uint64_t index
    if completion[1] != 0:
        return _conflict(ex, completion)
    index = completion[2]
    ex.index = completion[2]
    ex.count(SUCCESS)
    put(b, '{"key":"', 8)
    put_json(b, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    put(b, '","message":"key set","modify_index":', 37)
    put_decimal(b, index)
    put_byte(b, c"}")
    return ex.respond_json(200, ex.site.scratch_bytes())


cdef int _conflict(Exchange ex, tuple completion) except -1:
    if completion[1] != 1:
        return refused(ex, completion)
    current = completion[3]
    ex.count(CAS_CONFLICT if current else NOT_FOUND)
    return ex.refuse_with(ex.site.kv_refusal((<bytes>ex.subject).decode(), ex.expected, current))


cdef int kv_delete(Exchange ex) except -1:
    """DELETE /kv/{key}, with `?cas=n`."""
    cdef Site site = ex.site
    cdef Buffer* b
    cdef bytes key = _key(ex)
    cdef const char* data
    cdef Py_ssize_t size
    cdef bint guarded = PyBytes_GET_SIZE(ex.query) > 0
    if key is None or site.kv_shape is None or (guarded and not read_cas(ex)):
        return ex.fall()
    if not takes_write(ex):
        return ex.fall()
    ex.verb = KV_DELETE
    if not allow(ex, "kv:delete", key, "kv.delete"):
        return 0
    data = PyBytes_AS_STRING(key)
    size = PyBytes_GET_SIZE(key)
    b = site.clean_scratch()
    pack_array(b, 1)
    pack_array(b, 2)
    pack_array(b, 2 if guarded else 0)
    if guarded:  # the row exists, at this index
        pack_step(b, 3, 0, site.kv_table, data, size)
        pack_step(b, 4, 2, site.kv_table, data, size)
        pack_u64(b, ex.expected)
    pack_array(b, 1)
    pack_step(b, 3, 3, site.kv_table, data, size)
    ex.subject = key
    try:
        ticket = commit(ex, site.scratch_bytes())
    except Exception as error:
        return submit_failed(ex, error)
    return ex.wait_for(ticket, &_delete_done)


cdef int pack_step(Buffer* b, int parts, int kind, int table, const char* key, Py_ssize_t size) except -1:
    """The beginning of a guard or op: its kind, table and key."""
    pack_array(b, parts)
    pack_u64(b, kind)
    pack_u64(b, table)
    return pack_bin(b, key, size)


cdef bint read_cas(Exchange ex) except -1:
    """Reads the query `cas=n` in its plain spelling into `expected`."""
    cdef const char* data = PyBytes_AS_STRING(ex.query)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(ex.query)
    cdef Py_ssize_t at
    cdef uint64_t number = 0
    if not 5 <= size <= 23 or memcmp(data, "cas=", 4) != 0 or (data[4] == c"0" and size > 5):
        return False
    for at in range(4, size):
        if not c"0" <= data[at] <= c"9":
            return False
        number = number * 10 + <uint64_t>(data[at] - c"0")
    ex.expected = number
    return True


cdef int _delete_done(Exchange ex, tuple completion) except -1:
    cdef Buffer* b = ex.site.clean_scratch()
    cdef bytes key = ex.subject
    if completion[1] != 0:
        return _conflict(ex, completion)
    ex.index = completion[2]
    ex.count(SUCCESS)
    put(b, '{"key":"', 8)
    put_json(b, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    put(b, '","message":"key deleted"}', 26)
    return ex.respond_json(200, ex.site.scratch_bytes())
