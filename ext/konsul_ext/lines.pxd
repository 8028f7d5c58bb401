from konsul_ext.exchange cimport Exchange

cdef class Lines:
    cdef Exchange ex
