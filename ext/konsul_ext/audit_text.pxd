from konsul_ext.buffer cimport Buffer

cdef enum:
    # Of one event; beyond them text is cut and marked, ids are counted.
    PATH_MAX_BYTES = 2048
    ID_MAX_BYTES = 1024
    IDS_MAX = 100
    IDS_MAX_BYTES = 16384
    NAME_MAX_BYTES = 256
    REASON_MAX_BYTES = 512
    ROLES_MAX = 32

cdef bytes as_bytes(object text)
cdef tuple ids_of(object resources)
cdef tuple prepared(str action, str kind, object writes, bint hashes)
cdef tuple actor_members(object identity)
cdef int put_bytes(Buffer* b, bytes text) except -1
cdef int put_foreign(Buffer* b, bytes text, Py_ssize_t most) except -1
