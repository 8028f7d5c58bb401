from konsul_ext.exchange cimport Exchange
from konsul_ext.site cimport Site

cdef class Front:
    cdef Site site
    cdef object app
    cdef set _tasks
    cdef object _sweeper
    cdef double _sweep_s
    cdef int _kv, _service, _heartbeat, _deregister, _batch_get, _batch_set, _batch_delete, _unmatched
    cdef bint _guarded

    cdef Exchange _open(self, dict scope, object proto)
    cdef int _begin(self, Exchange ex) except -1
    cdef int _dispatch(self, Exchange ex) except -1
    cdef int _dispatch_batch(self, Exchange ex) except -1
    cdef dict _about(self, Exchange ex)
