from konsul_ext.exchange cimport Exchange

cdef enum Head:
    SOUND = 0
    TOO_LONG = 1
    PREFLIGHT = 2
    BODY_TOO_LARGE = 3
    BAD_PATH = 4

cdef int read_head(Exchange ex) except -1
cdef int read_path(Exchange ex) except -1
