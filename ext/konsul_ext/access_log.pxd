from libc.stdint cimport int64_t, uint64_t

from konsul_ext.buffer cimport Buffer
from konsul_ext.moment cimport Stamp

cdef class AccessLog:
    cdef Buffer _lines
    cdef size_t _room_bytes
    cdef bint _json
    cdef bint _flush_asked
    cdef int _least_status
    cdef int _fd
    cdef object _wake
    cdef object _thread
    cdef bint _closed
    cdef Stamp _stamp
    cdef uint64_t _unreported
    cdef public uint64_t lines
    cdef public uint64_t lines_dropped

    cdef int _report_loss(self) except -1
    cdef int line(self, bytes request_id, str method, bytes path, int status, int64_t took_ns,
                  int64_t size, str client, bytes user_agent) except -1
    cdef int _fields(self, bytes request_id, str method, bytes path, int status, int64_t took_ns,
                     int64_t size, str client, bytes user_agent) except -1
