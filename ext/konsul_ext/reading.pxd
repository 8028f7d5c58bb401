from konsul_ext.exchange cimport Exchange, Step

cdef enum Freshness:
    UNSAID = -1
    DEFAULT = 0
    STALE = 1
    LINEARIZABLE = 2

cdef int freshness_of(const char* text, Py_ssize_t size) noexcept
cdef bint read_freshness(Exchange ex) noexcept
cdef int settle(Exchange ex, Step read) except -1
