from libc.stdint cimport int64_t, uint64_t

from konsul_ext.buffer cimport Buffer
from konsul_ext.moment cimport Stamp


cdef class AuditLog:
    cdef Buffer _lines
    cdef Buffer _spare
    cdef Py_ssize_t _count
    cdef Py_ssize_t _events_max
    cdef size_t _bytes_max
    cdef int64_t _first_ns, _last_ns
    cdef int _which
    cdef bint _block, _asked
    cdef bytes _tail
    cdef dict _actions
    cdef dict _actors
    cdef object _wake
    cdef Stamp _stamp
    cdef uint64_t _seed[4]
    cdef readonly uint64_t recorded
    cdef readonly uint64_t dropped
    cdef readonly uint64_t refused

    cdef bint has_room(self) noexcept
    cdef int event(self, object identity, str client, str verb, object resources, str outcome, str reason,
                   str method, bytes path, int status, int64_t took_ns, object request_id,
                   bytes body) except -1
    cdef tuple _action_of(self, str verb)
    cdef tuple _actor_of(self, object identity)
    cdef int _line(self, Buffer* b, const char* event_id, int64_t at_ns, tuple action, tuple actor,
                   bytes client, list resources, Py_ssize_t omitted, int result, bytes reason, bytes method,
                   bytes path, int status, int64_t took_ns, bytes request_id, bytes body_hash) except -1
