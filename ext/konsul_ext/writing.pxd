from konsul_ext.exchange cimport Exchange

cdef int timeout_of(Exchange ex) except -1
cdef bint takes_write(Exchange ex) except -1
cdef object commit(Exchange ex, bytes cases)
cdef object put_row(Exchange ex, int table, bytes key, bytes cells, object at)
