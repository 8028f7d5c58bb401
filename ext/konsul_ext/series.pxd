from libc.stdint cimport int64_t, uint64_t, uint32_t

cdef enum:
    BUCKETS = 11
    OUTCOMES = 4
    VERBS = 9

cdef struct Cell:
    uint32_t key  # route << 16 | method << 12 | status, plus 1 so that 0 means free
    uint64_t count
    uint64_t sum_ns
    uint64_t buckets[BUCKETS]

cdef class Series:
    cdef Cell* _cells
    cdef dict _routes
    cdef list _templates
    cdef public uint64_t dropped
    cdef uint64_t _used
    cdef uint64_t _operations[VERBS][OUTCOMES]

    cdef int route(self, str template) except -1
    cdef int observe(self, int route, int method, int status, int64_t took_ns) except -1
    cdef void count(self, int verb, int outcome) noexcept
