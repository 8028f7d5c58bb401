from konsul_ext.exchange cimport Exchange

cdef int admit(Exchange ex) except -1
cdef int allow(Exchange ex, str needs, object resource, str action) except -1
cdef int allow_all(Exchange ex, str needs, list keys, str action) except -1
