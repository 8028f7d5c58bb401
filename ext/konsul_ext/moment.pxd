"""Clocks, and the time as the API and the logs write it: RFC 3339, UTC."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from konsul_ext.buffer cimport Buffer, put, put_byte, put_padded

cdef extern from "time.h" nogil:
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
    tm* gmtime_r(const long* seconds, tm* into)

cdef struct Stamp:
    long second  # the second `text` belongs to; the calendar is computed once a second
    char text[20]


cdef inline int64_t monotonic_ns() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline int put_second(Buffer* b, Stamp* stamp, long second) except -1:
    """Up to the point before the second's parts."""
    cdef tm parts
    cdef size_t start = b.size
    if second == stamp.second:
        put(b, stamp.text, 20)
    else:
        gmtime_r(&second, &parts)
        put_padded(b, parts.tm_year + 1900, 4)
        put_byte(b, c"-")
        put_padded(b, parts.tm_mon + 1, 2)
        put_byte(b, c"-")
        put_padded(b, parts.tm_mday, 2)
        put_byte(b, c"T")
        put_padded(b, parts.tm_hour, 2)
        put_byte(b, c":")
        put_padded(b, parts.tm_min, 2)
        put_byte(b, c":")
        put_padded(b, parts.tm_sec, 2)
        put_byte(b, c".")
        memcpy(stamp.text, b.data + start, 20)
        stamp.second = second
    return 0


cdef inline int put_time(Buffer* b, Stamp* stamp) except -1:
    """Now, in microseconds."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    put_second(b, stamp, now.tv_sec)
    put_padded(b, now.tv_nsec // 1000, 6)
    return put_byte(b, c"Z")
