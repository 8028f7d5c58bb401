from konsul_ext.exchange cimport Exchange

cdef int service_get(Exchange ex, Py_ssize_t prefix) except -1
cdef int service_heartbeat(Exchange ex, Py_ssize_t prefix) except -1
cdef int service_deregister(Exchange ex, Py_ssize_t prefix) except -1
