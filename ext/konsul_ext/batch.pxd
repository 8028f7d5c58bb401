from konsul_ext.exchange cimport Exchange

cdef int batch_get(Exchange ex) except -1
cdef int batch_set(Exchange ex) except -1
cdef int batch_delete(Exchange ex) except -1
