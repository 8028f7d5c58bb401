cdef class Incoming:
    cdef object loop, proto

cdef class Outgoing:
    cdef object loop, proto
