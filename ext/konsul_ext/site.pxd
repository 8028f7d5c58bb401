from libc.stdint cimport int64_t, uint64_t

from konsul_ext.access_log cimport AccessLog
from konsul_ext.audit cimport AuditLog
from konsul_ext.buffer cimport Buffer
from konsul_ext.moment cimport Stamp
from konsul_ext.series cimport Series

cdef enum Method:
    GET = 0
    HEAD = 1
    PUT = 2
    POST = 3
    DELETE = 4
    OPTIONS = 5
    PATCH = 6
    OTHER = 7

cdef enum Outcome:
    SUCCESS = 0
    NOT_FOUND = 1
    CAS_CONFLICT = 2
    ERROR = 3

cdef enum Verb:
    KV_GET_JSON = 0
    KV_GET = 1
    KV_SET = 2
    KV_DELETE = 3
    KV_BATCH_GET = 4
    KV_BATCH_SET = 5
    KV_BATCH_DELETE = 6
    SERVICE_GET = 7
    SERVICE_DEREGISTER = 8

cdef class Site:
    # The core and who waits for it
    cdef object commit, put, renew, get, get_json, barrier, is_current, contact
    cdef dict waiting
    cdef int write_timeout_ms
    # What the features gave
    cdef object kv_shape, kv_metadata_shape, service_shape
    cdef int kv_table, service_table
    cdef object raise_for, render, kv_refusal, tally, write_id
    cdef bint redirect_writes
    # Pipeline slots; None is open
    cdef object identify, limit, authorise, audit
    cdef AuditLog log_of_acts  # `audit`, if it is the compiled one
    # Admission
    cdef object anonymous, unauthenticated, class_of, client_of
    cdef bint requires_auth
    cdef frozenset public_paths, public_gets, public_posts, staying_paths, probes, unrecorded, asking
    cdef tuple public_prefixes, staying_prefixes
    cdef list answer_headers  # None, or what every answer carries besides
    # Limits
    cdef Py_ssize_t max_head_bytes, max_body_bytes, max_value_bytes, max_key_bytes
    cdef Py_ssize_t max_held_bytes
    cdef int64_t body_timeout_ns
    # State
    cdef object to_app
    cdef object loop
    cdef dict reading
    cdef Py_ssize_t held_bytes  # pieces of bodies that are not whole yet, of all requests
    cdef uint64_t in_flight
    cdef object when_idle
    cdef bint draining
    cdef Series series
    cdef AccessLog log
    cdef Buffer scratch
    cdef Stamp stamp
    cdef uint64_t[4] seed
    # The last of these headers: on a quiet node the next answer has the same
    cdef object told_index, told_contact
    cdef tuple index_header, contact_header

    cdef bytes new_request_id(self)
    cdef int tell(self, list headers, tuple contact, object index) except -1
    cdef object error(self, int code, str message)
    cdef Buffer* clean_scratch(self) noexcept
    cdef bytes scratch_bytes(self)
