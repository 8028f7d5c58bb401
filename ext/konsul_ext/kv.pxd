from libc.stdint cimport uint8_t

from konsul_ext.buffer cimport Buffer
from konsul_ext.exchange cimport Exchange

cdef int kv_get(Exchange ex) except -1
cdef int kv_put(Exchange ex) except -1
cdef int kv_delete(Exchange ex) except -1
cdef bint is_json(bytes content_type) noexcept
cdef bint storable(const char* key, Py_ssize_t size, Py_ssize_t most) noexcept
cdef int submit_failed(Exchange ex, object error) except -1
cdef int refused(Exchange ex, tuple completion) except -1
cdef int pack_cells(Buffer* b, const char* value, Py_ssize_t size, object flags) except -1
cdef int pack_step(Buffer* b, int parts, int kind, int table, const char* key, Py_ssize_t size) except -1
cdef Py_ssize_t bin_size(const uint8_t* cell, Py_ssize_t* head) noexcept
