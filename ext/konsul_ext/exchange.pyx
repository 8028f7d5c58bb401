"""One request between its first byte and its last: body, wait for the log, answer, and what is noted about
it.

Driven from two sides: directly by the listener's answering thread (`proto` set), or by an ASGI coroutine in
`front`. Every entry point catches: whatever goes wrong becomes an answer.
"""

import logging

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from konsul_ext.audit cimport AuditLog
from konsul_ext.buffer cimport Buffer, put, put_json
from konsul_ext.moment cimport monotonic_ns, put_time
from konsul_ext.site cimport HEAD

cdef tuple JSON = (b"content-type", b"application/json")
cdef tuple TEXT = (b"content-type", b"text/plain; charset=utf-8")
cdef tuple CLOSE = (b"connection", b"close")
cdef tuple RETRY = (b"retry-after", b"1")
cdef tuple SERVER = (b"server", b"konsul")
cdef list CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-max-age", b"3600"),
    (b"access-control-expose-headers", b"Content-Length"),
]
cdef dict REASONS = {
    400: b"Bad Request", 404: b"Not Found", 408: b"Request Timeout", 413: b"Request Entity Too Large",
    500: b"Internal Server Error", 503: b"Service Unavailable",
}
cdef tuple OUTCOMES = ("success", "not_found", "cas_conflict", "error")
cdef dict ACTIONS = {401: "auth.failed", 403: "access.denied", 429: "rate_limit.exceeded"}
"""What a request that reached no verb is recorded as."""
cdef str START = "http.response.start"
cdef str BODY = "http.response.body"


cdef class Exchange:
    """See the module. `set_result` and `done` make it what the engine expects of a future; `message`,
    `drained` and `closed` make it the user of the line that its connection became."""

    # Body

    cdef int need_body(self, Step step) except -1:
        """Calls `step` once the whole body is in `body`."""
        self.step = step
        if self.body is not None:
            return step(self)
        if self.declared == 0:
            self.body = b""
            return step(self)
        if self.proto is not None:
            whole = self.proto.take_body()
            if whole is not None:
                return self.take_piece(whole, False)
        self.reading_since_ns = monotonic_ns()
        if self.proto is None:
            return 0
        self.site.reading[self] = None
        return self.receive()

    cdef int receive(self) except -1:
        self.proto.read(self)
        return 0

    def __call__(self, piece, more):
        """The listener has the next piece of the body; None if there will be none."""
        try:
            if not self.answered:
                self.take_piece(piece, more)
        except Exception as error:
            self.crash(error)

    cdef int take(self, dict message) except -1:
        """One ASGI message."""
        if message["type"] != "http.request":
            return self.take_piece(None, False)
        return self.take_piece(message.get("body", b""), message.get("more_body", False))

    cdef int take_piece(self, bytes piece, bint more) except -1:
        """Asks for more, or goes on when the body is whole."""
        if piece is None:
            # The client is gone, or framed the body wrongly and still reads: the server does not say which.
            self.close = True
            return self.refuse(400, b"the request body is not whole")
        self.received += len(piece)
        if self.received > self.site.max_body_bytes:
            self.close = True
            return self.respond_text(413, b"Request Entity Too Large")
        if self.received == self.declared or not more:
            if self.chunks is None:
                self.body = piece
            else:
                self.chunks.append(piece)
                self.body = b"".join(self.chunks)
                self.chunks = None
            return self.body_done()
        if piece and not self._hold(piece):
            return 0
        return self.receive() if self.proto is not None else 0

    cdef int _hold(self, bytes piece) except -1:
        """Keeps a piece of a body that is not whole; 0 if all requests together hold too much already."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
        self.held += size
        self.site.held_bytes += size
        if self.site.held_bytes > self.site.max_held_bytes:
            self.close = self.retry = True
            self.refuse(503, b"too many request bodies are on their way")
            return 0
        if self.chunks is None:
            self.chunks = []
        self.chunks.append(piece)
        return 1

    cdef int body_done(self) except -1:
        self.site.reading.pop(self, None)
        if self.reading_since_ns and self.site.identify is not None and not self._is_still():
            return 0
        return self.step(self)

    cdef object certificate(self):
        """What the client showed of itself in the handshake, DER; None: nothing."""
        tls = self.scope.get("tls")
        return None if tls is None else tls.get("client_cert")

    cdef bint _is_still(self) except -1:
        """Who asks, as of now: a body may be kept back until what let its head in holds no longer. False if
        it has been answered."""
        certificate = self.certificate()
        if self.is_doubled or (self.authorization is None and self.api_key is None and certificate is None):
            return True
        try:
            self.identity = self.site.identify(self.authorization, self.api_key, certificate)
        except Exception as error:
            self.identity = self.site.anonymous
            if not self.is_public:
                self.reason = getattr(error, "reason", "") or str(error)
                self.dispatched = False  # it gets no further than who was refused at once
                self.refuse_with(error)
                return False
        return True

    def expire(self):
        """The body took too long."""
        self.close = True
        self.refuse(408, b"the request body did not arrive in time")
        if self.proto is not None:
            self.proto.give_up()

    # The log's answer

    cdef int wait_for(self, object ticket, Then then) except -1:
        """`then` gets the completion of `ticket`. Must follow the submission without a chance to lose the
        GIL."""
        self.site.waiting[ticket] = self
        self.then = then
        return 0

    def done(self):
        """False until answered, as of a future."""
        return self.answered

    def set_result(self, tuple completion):
        """The engine's answer."""
        try:
            self.then(self, completion)
        except Exception as error:
            self.crash(error)

    # Ways out

    cdef int fall(self) except -1:
        """Hands the request to the application."""
        self.fell = True
        self.site.to_app(self)
        if self.future is not None and not self.future.done():
            self.future.set_result(None)
        return 0

    cdef int respond_json(self, int status, bytes body) except -1:
        return self.respond(status, [JSON], body)

    cdef int respond_text(self, int status, bytes body) except -1:
        return self.respond(status, [TEXT], body)

    cdef int refuse(self, int status, bytes message) except -1:
        """The standard error body."""
        cdef Buffer* b = self.site.clean_scratch()
        cdef bytes path = self.sent_path()
        cdef bytes reason = REASONS[status]
        put(b, '{"error":"', 10)
        put(b, PyBytes_AS_STRING(reason), PyBytes_GET_SIZE(reason))
        put(b, '","message":"', 13)
        put_json(b, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        put(b, '","request_id":"', 16)
        put_json(b, PyBytes_AS_STRING(self.request_id), PyBytes_GET_SIZE(self.request_id))
        put(b, '","timestamp":"', 15)
        put_time(b, &self.site.stamp)
        put(b, '","path":"', 10)
        put_json(b, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
        put(b, '"}', 2)
        return self.respond(status, [JSON], self.site.scratch_bytes())

    cdef int refuse_with(self, object error) except -1:
        """The answer the application would give to the same error."""
        status, headers, body = self.site.render(error, self.request_id.decode(), self.sent_path().decode())
        return self.respond(status, list(headers), body)

    cdef bytes sent_path(self):
        """The path as the client sent it, as text: what error bodies show."""
        return self.raw_path if self.raw_path.isascii() else self.raw_path.decode("latin-1").encode()

    cdef list own_headers(self, list given):
        """What every answer carries besides the headers `given` by the application."""
        cdef list headers = [*given, (b"x-request-id", self.request_id), SERVER]
        if self.route_class is not None:
            self.rate = self.scope["konsul"].get("rate", self.rate)
        if self.rate is not None:
            headers.extend(self.rate)
        if self.site.answer_headers is not None:
            headers.extend(self.site.answer_headers)
        for header in given:
            if header[0] == b"x-konsul-index":
                headers.remove(header)
                self.index = int(header[1])
                break
        self.site.tell(headers, None, self.index)
        if self.close:
            headers.append(CLOSE)
        if self.origin:
            headers.extend(CORS)
        return headers

    cdef int respond(self, int status, list headers, bytes body) except -1:
        """Sends the answer, once; whoever comes second is ignored."""
        if self.answered:
            return 0
        self.answered = True
        self.status = status
        self.size = PyBytes_GET_SIZE(body)
        headers.append((b"x-request-id", self.request_id))
        headers.append(SERVER)
        if self.rate is not None:
            headers.extend(self.rate)
        if self.site.answer_headers is not None:
            headers.extend(self.site.answer_headers)
        if self.close:
            headers.append(CLOSE)
        elif self.dispatched:
            self.site.tell(headers, self.contact, self.index)
        if self.retry:
            headers.append(RETRY)
        if self.origin:
            headers.extend(CORS)
        if self.method == HEAD and status != 204:
            headers.append((b"content-length", b"%d" % self.size))
            body = b""
            self.size = 0
        self.finish()
        if self.proto is not None:
            self.proto.answer(status, headers, body)
            return 0
        self.start = {"type": START, "status": status, "headers": headers}
        self.tail = {"type": BODY, "body": body}
        if self.future is not None and not self.future.done():
            self.future.set_result(None)
        return 0

    cdef int count(self, int outcome) except -1:
        """Counts the operation of a native route; `verb` below 0 counts nothing."""
        self.outcome = outcome
        if self.verb >= 0:
            self.site.series.count(self.verb, outcome)
        return 0

    cdef int crash(self, object error) except -1:
        """A defect of ours: the client gets 500, the log gets the trace."""
        logging.getLogger("konsul.front").error("request crashed", exc_info=error)
        if self.request_id is None:  # it happened within the head
            self.request_id = self.site.new_request_id()
        if not self.answered:
            self.refuse(500, b"Internal server error")
        return 0

    # As the user of a line

    cdef int take_over(self, int status, object user) except -1:
        """The connection is a line's now. The request is over, but noted when the line is closed; what it was
        made of is let go."""
        route = self.scope["konsul"]["route"]
        if route is not None:
            self.route = self.site.series.route(route.replace(":path}", "}"))
        self.answered = True
        self.status = status
        self.user = user
        if self.is_audited:
            self.audit(monotonic_ns() - self.begun_ns)
        self.scope = None
        self.proto = None
        self.body = None
        return self.leave()

    def message(self, data):
        """Of the client, on a WebSocket."""
        self.user.message(data)

    def drained(self):
        """The client has read."""
        self.user.drained()

    def closed(self, reason, sent):
        """The line is over."""
        user, self.user = self.user, None
        self.size = sent
        self.finish()
        user.closed(reason)

    # The end

    cdef int leave(self) except -1:
        """Is no longer in flight."""
        cdef Site site = self.site
        if self.left:
            return 0
        self.left = True
        site.in_flight -= 1
        if site.in_flight == 0 and site.when_idle is not None:
            site.loop.call_soon_threadsafe(site.when_idle)
        return 0

    cdef int finish(self) except -1:
        """Notes the finished request: metrics, access log, in flight."""
        cdef Site site = self.site
        cdef int64_t took_ns
        if self.finished:
            return 0
        self.finished = True
        if self.reading_since_ns:
            site.reading.pop(self, None)
            site.held_bytes -= self.held
        took_ns = monotonic_ns() - self.begun_ns
        if self.route >= 0:
            site.series.observe(self.route, self.method, self.status, took_ns)
        site.log.line(self.request_id, self.method_name, self.raw_path, self.status, took_ns, self.size,
                      self.client, self.user_agent)
        if self.is_audited:
            self.audit(took_ns)
        return self.leave()

    cdef int audit(self, int64_t took_ns) except -1:
        """Records what the request did, now that its status is known: what verbs did, else what it was."""
        cdef object about, acts = None
        self.is_audited = False
        about = self.scope.get("konsul") if self.fell and self.scope is not None else None
        if about is not None:
            acts = about.get("acts")
        try:
            if acts:
                for act in acts:
                    self._record(act.action, list(act.resources), act.outcome, act.reason, took_ns)
                if about.get("more_acts"):
                    more = f"{about['more_acts']} more acts"
                    self._record("http." + self.method_name.lower(), None, "", more, took_ns)
            elif self.action is not None:
                outcome = "denied" if self.is_denied else OUTCOMES[self.outcome]
                self._record(self.action, self.resources, outcome, self.reason, took_ns)
            elif self.status >= 400 or not self.is_public:
                action = ACTIONS.get(self.status) or "http." + self.method_name.lower()
                self._record(action, None, "", self.reason, took_ns)
        except Exception as error:
            logging.getLogger("konsul.front").error("an audit event was lost", exc_info=error)
        return 0

    cdef int _record(self, str action, object resources, str outcome, str reason, int64_t took_ns) except -1:
        cdef AuditLog log = self.site.log_of_acts
        if reason is None:
            reason = ""
        if log is not None:
            return log.event(self.identity, self.client, action, resources, outcome, reason, self.method_name,
                             self.raw_path, self.status, took_ns, self.request_id, self.body)
        self.site.audit.record(
            self.identity, self.client, action, resources, outcome, reason, method=self.method_name,
            path=self.raw_path, status=self.status, took_ns=took_ns, request_id=self.request_id,
            body=self.body)
        return 0
