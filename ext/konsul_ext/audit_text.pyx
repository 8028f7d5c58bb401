"""What others chose, as JSON text of an audit event: cut, marked where cut, and escaped so that it can
neither end a line nor look like another member."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from konsul_ext.buffer cimport Buffer, is_utf8, put, put_byte, put_json, reserve, shrink

cdef dict KINDS = {"inside": b"service"}


cdef bytes as_bytes(object text):
    """UTF-8; None is nothing; a lone surrogate becomes `?`."""
    if text is None:
        return b""
    if isinstance(text, bytes):
        return <bytes>text
    return (<str?>text).encode("utf-8", "replace")


cdef tuple ids_of(object resources):
    """(the ids that an event holds, how many it does not)."""
    cdef list kept
    cdef Py_ssize_t size = 0, given
    cdef bytes text
    if isinstance(resources, (str, bytes)):
        return ([as_bytes(resources)] if resources else None), 0
    kept = []
    given = len(resources)
    for one in resources:
        text = as_bytes(one)
        size += min(PyBytes_GET_SIZE(text), <Py_ssize_t>ID_MAX_BYTES)
        if len(kept) >= IDS_MAX or size > IDS_MAX_BYTES:
            break
        kept.append(text)
    return kept, given - len(kept)


cdef tuple prepared(str action, str kind, object writes, bint hashes):
    """(text up to the result, text up to the id, whether it changes something, whether bodies are hashed)."""
    cdef Buffer text
    text.data, text.size, text.room = NULL, 0, 0
    put(&text, '","action":"', 12)
    put_foreign(&text, as_bytes(action), NAME_MAX_BYTES)
    put(&text, '","result":"', 12)
    head = PyBytes_FromStringAndSize(text.data, text.size)
    text.size = 0
    put(&text, '","resource":{"type":"', 22)
    put_foreign(&text, as_bytes(kind), NAME_MAX_BYTES)
    put_byte(&text, c'"')
    middle = PyBytes_FromStringAndSize(text.data, text.size)
    shrink(&text, 0)
    return head, middle, writes, hashes


cdef tuple actor_members(object identity):
    """(the actor's member, the auth_method's, the identity itself)."""
    cdef Buffer b
    cdef Py_ssize_t at
    cdef str kind = "anonymous" if identity is None else identity.kind
    b.data, b.size, b.room = NULL, 0, 0
    put(&b, '},"actor":{', 11)
    if identity is not None and identity.id:
        put(&b, '"id":"', 6)
        put_foreign(&b, as_bytes(identity.id), NAME_MAX_BYTES)
        put(&b, '",', 2)
    put(&b, '"type":"', 8)
    put_foreign(&b, KINDS.get(kind) or as_bytes(kind), NAME_MAX_BYTES)
    put_byte(&b, c'"')
    if identity is not None:
        if identity.name:
            put(&b, ',"name":"', 9)
            put_foreign(&b, as_bytes(identity.name), NAME_MAX_BYTES)
            put_byte(&b, c'"')
        if identity.roles:
            put(&b, ',"roles":[', 10)
            for at, role in enumerate(identity.roles[:ROLES_MAX]):
                put(&b, ',"' if at else '"', 2 if at else 1)
                put_foreign(&b, as_bytes(role), NAME_MAX_BYTES)
                put_byte(&b, c'"')
            put_byte(&b, c"]")
        if identity.token_id:
            put(&b, ',"token_id":"', 13)
            put_foreign(&b, as_bytes(identity.token_id), NAME_MAX_BYTES)
            put_byte(&b, c'"')
    put_byte(&b, c"}")
    member = PyBytes_FromStringAndSize(b.data, b.size)
    b.size = 0
    if identity is not None and identity.method:
        put(&b, ',"auth_method":"', 16)
        put_foreign(&b, as_bytes(identity.method), NAME_MAX_BYTES)
        put_byte(&b, c'"')
    method = PyBytes_FromStringAndSize(b.data, b.size)
    shrink(&b, 0)
    return member, method, identity


cdef int put_bytes(Buffer* b, bytes text) except -1:
    return put(b, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef int put_foreign(Buffer* b, bytes text, Py_ssize_t most) except -1:
    """Text that somebody else chose, inside a JSON string: cut to `most` bytes, marked where cut, escaped."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef const char* data = PyBytes_AS_STRING(text)
    cdef bint is_cut = size > most
    cdef Py_ssize_t at = 0
    cdef uint8_t c
    cdef size_t into
    if not is_cut:
        # Nearly everything is printable ASCII: copied while it is being looked at.
        reserve(b, size)
        into = b.size
        for at in range(size):
            c = <uint8_t>data[at]
            if c < 0x20 or c >= 0x7F or c == 0x22 or c == 0x5c:
                break
            b.data[into + at] = <char>c
        else:
            b.size += size
            return 0
    else:
        size = most
        while size and (<uint8_t>data[size] & 0xC0) == 0x80:
            size -= 1
    if is_utf8(data, size):
        put_escaped(b, data, size)
    else:
        for at in range(size):
            if <uint8_t>data[at] < 0x80:
                put_escaped(b, data + at, 1)
            else:
                put(b, "\\ufffd", 6)
    return put(b, "\xe2\x80\xa6", 3) if is_cut else 0


cdef int put_escaped(Buffer* b, const char* text, size_t size) except -1:
    """UTF-8 inside a JSON string, without its quotes. Beyond what JSON demands: DEL, the C1 controls, the
    line and paragraph separators, invisible and direction-changing characters are escaped too."""
    cdef size_t at = 0, start = 0
    cdef const uint8_t* s = <const uint8_t*>text
    cdef uint8_t c
    cdef int point, length
    cdef const char* digits = "0123456789abcdef"
    while at < size:
        c = s[at]
        point, length = 0, 1
        if c < 0x7F:
            at += 1
            continue
        if c == 0x7F:
            point = 0x7F
        elif c == 0xC2 and s[at + 1] < 0xA0:
            point, length = s[at + 1], 2
        elif c == 0xE2 and s[at + 1] == 0x80 and (0x8B <= s[at + 2] <= 0x8F or 0xA8 <= s[at + 2] <= 0xAE):
            point, length = 0x2000 + (s[at + 2] & 0x3F), 3
        elif c == 0xE2 and s[at + 1] == 0x81 and s[at + 2] >= 0xA0 and s[at + 2] <= 0xAF:
            point, length = 0x2040 + (s[at + 2] & 0x3F), 3
        elif c == 0xEF and s[at + 1] == 0xBB and s[at + 2] == 0xBF:
            point, length = 0xFEFF, 3
        if point == 0:
            at += 1
            continue
        put_json(b, text + start, at - start)
        put(b, "\\u", 2)
        put_byte(b, digits[point >> 12])
        put_byte(b, digits[(point >> 8) & 15])
        put_byte(b, digits[(point >> 4) & 15])
        put_byte(b, digits[point & 15])
        at += length
        start = at
    return put_json(b, text + start, size - start)
