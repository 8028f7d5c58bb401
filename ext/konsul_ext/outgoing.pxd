from konsul_ext.exchange cimport Exchange

cdef class Incoming:
    cdef object loop, proto

cdef class Outgoing:
    cdef object loop, proto, headers
    cdef int status
    cdef bint begun

cdef class Watched:
    cdef Exchange ex
    cdef object receive, send
    cdef bint replayed
