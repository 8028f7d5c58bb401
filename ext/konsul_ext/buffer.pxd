"""A growing byte buffer and the two formats written into it: JSON text and msgpack. No Python objects, no
GIL needs."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef struct Buffer:
    char* data
    size_t size
    size_t room


cdef inline int reserve(Buffer* b, size_t more) except -1:
    """Makes sure that `more` bytes fit; doubles, so that appends cost constant time on average."""
    cdef size_t room
    cdef char* moved
    if b.size + more <= b.room:
        return 0
    room = b.room * 2 if b.room else 4096
    while room < b.size + more:
        room *= 2
    moved = <char*>realloc(b.data, room)
    if moved == NULL:
        raise MemoryError()
    b.data = moved
    b.room = room
    return 0


cdef inline void shrink(Buffer* b, size_t keep) noexcept:
    """Empties the buffer; gives memory beyond `keep` back, so one large answer does not stay for ever."""
    b.size = 0
    if b.room > keep:
        free(b.data)
        b.data = NULL
        b.room = 0


cdef inline int put(Buffer* b, const char* text, size_t size) except -1:
    reserve(b, size)
    memcpy(b.data + b.size, text, size)
    b.size += size
    return 0


cdef inline int put_byte(Buffer* b, uint8_t byte) except -1:
    reserve(b, 1)
    b.data[b.size] = <char>byte
    b.size += 1
    return 0


cdef inline int put_decimal(Buffer* b, uint64_t number) except -1:
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    return put(b, digits + at, 20 - at)


cdef inline int put_padded(Buffer* b, uint64_t number, int width) except -1:
    """`number` in exactly `width` digits, zeros in front."""
    cdef int at
    reserve(b, width)
    for at in range(width - 1, -1, -1):
        b.data[b.size + at] = <char>(48 + number % 10)
        number //= 10
    b.size += width
    return 0


cdef inline int put_json(Buffer* b, const char* text, size_t size) except -1:
    """UTF-8 `text` inside a JSON string, without its quotes; escapes exactly what orjson and serde_json
    escape."""
    cdef size_t at, start = 0
    cdef uint8_t c
    cdef const char* hexdigits = "0123456789abcdef"
    reserve(b, size)
    for at in range(size):
        c = <uint8_t>text[at]
        if c >= 0x20 and c != 0x22 and c != 0x5c:
            continue
        put(b, text + start, at - start)
        start = at + 1
        if c == 0x22:
            put(b, '\\"', 2)
        elif c == 0x5c:
            put(b, "\\\\", 2)
        elif c == 0x0a:
            put(b, "\\n", 2)
        elif c == 0x0d:
            put(b, "\\r", 2)
        elif c == 0x09:
            put(b, "\\t", 2)
        elif c == 0x08:
            put(b, "\\b", 2)
        elif c == 0x0c:
            put(b, "\\f", 2)
        else:
            put(b, "\\u00", 4)
            put_byte(b, hexdigits[c >> 4])
            put_byte(b, hexdigits[c & 15])
    return put(b, text + start, size - start)


cdef inline int _put_big_endian(Buffer* b, uint8_t mark, uint64_t number, int width) except -1:
    cdef int at
    reserve(b, 9)
    b.data[b.size] = <char>mark
    for at in range(width):
        b.data[b.size + 1 + at] = <char>((number >> (8 * (width - 1 - at))) & 0xFF)
    b.size += 1 + width
    return 0


cdef inline int pack_u64(Buffer* b, uint64_t number) except -1:
    """The smallest msgpack form, as every writer of the log uses it."""
    if number < 0x80:
        return put_byte(b, <uint8_t>number)
    if number <= 0xFF:
        return _put_big_endian(b, 0xcc, number, 1)
    if number <= 0xFFFF:
        return _put_big_endian(b, 0xcd, number, 2)
    if number <= 0xFFFFFFFF:
        return _put_big_endian(b, 0xce, number, 4)
    return _put_big_endian(b, 0xcf, number, 8)


cdef inline int pack_bin(Buffer* b, const char* data, size_t size) except -1:
    if size <= 0xFF:
        _put_big_endian(b, 0xc4, size, 1)
    elif size <= 0xFFFF:
        _put_big_endian(b, 0xc5, size, 2)
    else:
        _put_big_endian(b, 0xc6, size, 4)
    return put(b, data, size)


cdef inline int pack_str(Buffer* b, const char* data, size_t size) except -1:
    if size < 32:
        put_byte(b, <uint8_t>(0xa0 | size))
    elif size <= 0xFF:
        _put_big_endian(b, 0xd9, size, 1)
    elif size <= 0xFFFF:
        _put_big_endian(b, 0xda, size, 2)
    else:
        _put_big_endian(b, 0xdb, size, 4)
    return put(b, data, size)


cdef inline int pack_array(Buffer* b, size_t items) except -1:
    if items < 16:
        return put_byte(b, <uint8_t>(0x90 | items))
    if items <= 0xFFFF:
        return _put_big_endian(b, 0xdc, items, 2)
    return _put_big_endian(b, 0xdd, items, 4)


cdef inline int pack_map(Buffer* b, size_t items) except -1:
    if items < 16:
        return put_byte(b, <uint8_t>(0x80 | items))
    if items <= 0xFFFF:
        return _put_big_endian(b, 0xde, items, 2)
    return _put_big_endian(b, 0xdf, items, 4)


cdef inline bint is_utf8(const char* text, size_t size) noexcept:
    """Well-formed UTF-8 of the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing over
    U+10FFFF."""
    cdef size_t at = 0
    cdef const uint8_t* s = <const uint8_t*>text
    cdef uint64_t eight
    cdef uint8_t c, low, high
    cdef int more
    while at < size:
        if at + 8 <= size:
            memcpy(&eight, s + at, 8)
            if eight & <uint64_t>0x8080808080808080 == 0:
                at += 8
                continue
        c = s[at]
        at += 1
        if c < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            if c == 0xE0:
                low = 0xA0
            elif c == 0xED:
                high = 0x9F
        elif 0xF0 <= c <= 0xF4:
            more = 3
            if c == 0xF0:
                low = 0x90
            elif c == 0xF4:
                high = 0x8F
        else:
            return False
        if at + more > size or s[at] < low or s[at] > high:
            return False
        at += 1
        more -= 1
        while more:
            if s[at] & 0xC0 != 0x80:
                return False
            at += 1
            more -= 1
    return True
