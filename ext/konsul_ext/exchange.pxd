from libc.stdint cimport int64_t, uint64_t

from konsul_ext.site cimport Site

cdef class Exchange

ctypedef int (*Step)(Exchange ex) except -1
ctypedef int (*Then)(Exchange ex, tuple completion) except -1

cdef class Exchange:
    cdef Site site
    # Who asks: the ASGI scope; `proto` is the listener's request when it drives the front directly, else None
    cdef dict scope
    cdef object proto, future
    # What its head said
    cdef str method_name, client
    cdef int method
    cdef bytes raw_path, path, query, request_id, content_type, user_agent, accept
    cdef bytes idempotency_key, min_index, timeout, redirect  # as they are; read where they count
    cdef bytes authorization, api_key, forwarded
    cdef bint is_doubled  # credentials came in two headers of one name
    cdef bint origin, retry
    cdef bint close
    cdef Py_ssize_t declared  # content-length; 0: no body; -1: length unknown
    # Who that is, what it may, and what the audit will say of it
    cdef object identity
    cdef str route_class, action, reason
    cdef object resources
    cdef list rate  # headers of what is left of the client's rate
    cdef bint is_public, is_audited, is_denied, is_charged
    cdef int outcome
    # Its body
    cdef bytes body
    cdef list chunks
    cdef Py_ssize_t received, held
    cdef Step step
    # Its terms
    cdef int freshness, timeout_ms
    cdef bytes write_id
    # Its answer
    cdef tuple contact  # of the node, from before a read
    cdef object index  # what X-Konsul-Index says, if not the tables' index now
    cdef bint dispatched
    cdef Then then
    cdef object subject
    cdef uint64_t expected
    cdef int route, verb
    cdef int64_t begun_ns, reading_since_ns
    cdef bint answered, fell, finished, left
    cdef object user  # of the line that has taken the connection over
    cdef dict start, tail
    cdef int status
    cdef int64_t size

    cdef int need_body(self, Step step) except -1
    cdef int receive(self) except -1
    cdef int take(self, dict message) except -1
    cdef int take_piece(self, bytes piece, bint more) except -1
    cdef int body_done(self) except -1
    cdef object certificate(self)
    cdef bint _is_still(self) except -1
    cdef int _hold(self, bytes piece) except -1
    cdef int wait_for(self, object ticket, Then then) except -1
    cdef bytes sent_path(self)
    cdef int fall(self) except -1
    cdef int respond(self, int status, list headers, bytes body) except -1
    cdef int respond_json(self, int status, bytes body) except -1
    cdef int respond_text(self, int status, bytes body) except -1
    cdef int refuse(self, int status, bytes message) except -1
    cdef int refuse_with(self, object error) except -1
    cdef int count(self, int outcome) except -1
    cdef int crash(self, object error) except -1
    cdef int take_over(self, int status, object user) except -1
    cdef int audit(self, int64_t took_ns) except -1
    cdef int _record(self, str action, object resources, str outcome, str reason, int64_t took_ns) except -1
    cdef int leave(self) except -1
    cdef int finish(self) except -1
    cdef list own_headers(self, list given)
