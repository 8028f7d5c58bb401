"""The front: one callable for every request. What it is for stands in front.pyi and in the README."""

import asyncio

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from konsul_ext.access_log cimport AccessLog
from konsul_ext.admission cimport admit
from konsul_ext.audit cimport AuditLog
from konsul_ext.batch cimport batch_delete, batch_get, batch_set
from konsul_ext.head cimport BAD_PATH, BODY_TOO_LARGE, PREFLIGHT, TOO_LONG, read_head, read_path
from konsul_ext.kv cimport kv_delete, kv_get, kv_put
from konsul_ext.moment cimport monotonic_ns
from konsul_ext.lines cimport Lines
from konsul_ext.outgoing cimport Incoming, Outgoing, Watched
from konsul_ext.series cimport Series
from konsul_ext.services cimport service_deregister, service_get, service_heartbeat
from konsul_ext.site cimport DELETE, GET, HEAD, POST, PUT

from konsul_ext.socket import Socket

cdef list PREFLIGHT_HEADERS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET,POST,PUT,DELETE,OPTIONS"),
    (b"access-control-allow-headers", b"Origin,Content-Type,Accept,Authorization,X-API-Key"),
    (b"access-control-max-age", b"3600"),
    (b"access-control-expose-headers", b"Content-Length"),
    (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers, Origin"),
]


cdef class Front:
    """See front.pyi."""

    def __init__(self, core, dict waiting, app, *, raise_for=None, render=None, shapes=None,
                 kv_refusal=None, tally=None, int kv_table=1, int service_table=2,
                 Py_ssize_t max_head_bytes=4096, Py_ssize_t max_body_bytes=4194304,
                 Py_ssize_t max_value_bytes=524288, Py_ssize_t max_key_bytes=1024,
                 Py_ssize_t max_held_bytes=268435456, int body_timeout_ms=30000, int write_timeout_ms=5000,
                 write_id=None, bint redirect_writes=False,
                 str access_log="all", str log_format="json", str log_level="info", int log_fd=2,
                 Py_ssize_t log_buffer_bytes=4194304, identify=None, limit=None, authorise=None, audit=None,
                 admission=None, list answer_headers=None):
        cdef Site site = Site()
        site.log = AccessLog(access_log, log_format, log_level, log_fd, log_buffer_bytes)
        # Without words for refusals there are no native routes.
        shapes = shapes if shapes and raise_for and render and kv_refusal else {}
        site.commit, site.put, site.renew, site.get, site.get_json = (
            core.commit, core.put, core.renew, core.get, core.get_json)
        site.barrier, site.is_current, site.contact = core.barrier, core.is_current, core.contact
        site.waiting = waiting
        site.write_id, site.redirect_writes = write_id, redirect_writes
        site.raise_for, site.render, site.kv_refusal, site.tally = raise_for, render, kv_refusal, tally
        site.kv_shape = shapes.get("kv")
        site.kv_metadata_shape = shapes.get("kv_metadata")
        site.service_shape = shapes.get("service")
        site.kv_table, site.service_table = kv_table, service_table
        site.max_head_bytes, site.max_body_bytes = max_head_bytes, max_body_bytes
        site.max_value_bytes, site.max_key_bytes = max_value_bytes, max_key_bytes
        site.max_held_bytes = max_held_bytes
        site.body_timeout_ns = <long long>body_timeout_ms * 1000000
        site.write_timeout_ms = write_timeout_ms
        site.identify, site.limit, site.authorise, site.audit = identify, limit, authorise, audit
        site.log_of_acts = audit if isinstance(audit, AuditLog) else None
        site.answer_headers = answer_headers or None
        self._guarded = admission is not None
        if admission is not None:
            _set_admission(site, admission)
        site.series = Series()
        site.to_app = self._to_app
        self.site = site
        self.app = app
        self._tasks = set()
        self._sweep_s = min(1.0, body_timeout_ms / 4000)
        self._kv = site.series.route("/kv/{key}")
        self._service = site.series.route("/services/{name}")
        self._heartbeat = site.series.route("/heartbeat/{name}")
        self._deregister = site.series.route("/deregister/{name}")
        self._batch_get = site.series.route("/batch/kv/get")
        self._batch_set = site.series.route("/batch/kv/set")
        self._batch_delete = site.series.route("/batch/kv/delete")
        self._unmatched = site.series.route("unmatched")

    # Life

    def start(self):
        """See front.pyi."""
        self.site.loop = asyncio.get_running_loop()
        self.site.log.start()
        self._sweep()

    def close(self):
        """See front.pyi."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.site.log.close()

    async def drain(self, grace_ms):
        """See front.pyi."""
        cdef Site site = self.site
        idle = asyncio.Event()
        site.loop = asyncio.get_running_loop()
        site.when_idle = idle.set
        site.draining = True
        if site.in_flight:
            try:
                async with asyncio.timeout(grace_ms / 1000):
                    await idle.wait()
            except TimeoutError:
                pass
        site.when_idle = None
        return site.in_flight

    def snapshot(self):
        """See front.pyi."""
        cdef Site site = self.site
        return {
            "in_flight": site.in_flight, "bucket_bounds": site.series.bounds(),
            "requests": site.series.requests(),
            "operations": site.series.operations(), "series_dropped": site.series.dropped,
            "log_lines": site.log.lines, "log_lines_dropped": site.log.lines_dropped,
        }

    def _sweep(self):
        """Ends requests whose body takes too long. `reading` is in order of arrival, so the first sound one
        ends it."""
        cdef Exchange ex
        cdef long long now = monotonic_ns()
        for each in list(self.site.reading):
            ex = each
            if now - ex.reading_since_ns < self.site.body_timeout_ns:
                break
            ex.expire()
        self._sweeper = self.site.loop.call_later(self._sweep_s, self._sweep)

    # In: from an ASGI server, or straight from the listener's answering thread

    def __call__(self, dict scope, receive, send):
        """Serves one request or connection."""
        if scope["type"] == "http":
            return self._serve_asgi(scope, receive, send)
        return self._serve_websocket(scope, receive, send)

    def answer(self, dict scope, request):
        """See front.pyi."""
        cdef Exchange ex = self._open(scope, request)
        try:
            self._begin(ex)
        except Exception as error:
            ex.crash(error)

    async def _serve_asgi(self, dict scope, receive, send):
        cdef Exchange ex = self._open(scope, None)
        try:
            self._begin(ex)
            async with asyncio.timeout(self.site.body_timeout_ns / 1e9 if ex.reading_since_ns else None):
                while ex.reading_since_ns and ex.body is None and not ex.answered:
                    ex.take(await receive())
            if not ex.answered and not ex.fell:
                ex.future = asyncio.get_running_loop().create_future()
                await ex.future
        except TimeoutError:
            ex.expire()
        except Exception as error:
            ex.crash(error)
        finally:
            if not ex.answered and not ex.fell:
                ex.status = 499
                ex.finish()
        if ex.start is not None:
            await send(ex.start)
            await send(ex.tail)
        elif not ex.answered:
            await self._run_app(ex, receive, send)

    cdef Exchange _open(self, dict scope, object proto):
        cdef Exchange ex = Exchange.__new__(Exchange)
        ex.begun_ns = monotonic_ns()
        ex.site = self.site
        ex.scope = scope
        ex.proto = proto
        ex.raw_path, ex.method_name, ex.client = b"", "", ""
        ex.route = self._unmatched
        self.site.in_flight += 1
        return ex

    cdef int _begin(self, Exchange ex) except -1:
        """Everything before a route."""
        cdef int head = read_head(ex)
        if self.site.draining:
            ex.close = True
            ex.retry = True
            return ex.refuse(503, b"the node is stopping")
        if head == TOO_LONG:
            ex.close = True
            return ex.respond_text(431, b"Request Header Fields Too Large")
        if head == PREFLIGHT:
            ex.origin = False
            return ex.respond(204, PREFLIGHT_HEADERS.copy(), b"")
        if read_path(ex) == BAD_PATH:
            return ex.refuse(400, b"the path is not percent-encoded UTF-8")
        if head == BODY_TOO_LARGE:
            ex.close = True
            return ex.respond_text(413, b"Request Entity Too Large")
        if self._guarded and not admit(ex):
            return 0
        ex.dispatched = True
        if ex.proto is not None and ex.scope["type"] == "websocket":
            return ex.fall()
        return self._dispatch(ex)

    cdef int _dispatch(self, Exchange ex) except -1:
        """Native routes in their plain spelling; everything else is the application's."""
        cdef const char* path = PyBytes_AS_STRING(ex.path)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(ex.path)
        cdef int method = ex.method
        if ex.declared != 0 and method != PUT and method != POST:
            return ex.fall()  # which reads the body, so that the connection can be used again
        if size > 4 and memcmp(path, "/kv/", 4) == 0:
            ex.route = self._kv
            if method == GET or method == HEAD:
                return kv_get(ex)
            if method == PUT:
                return kv_put(ex)
            if method == DELETE:
                return kv_delete(ex)
        elif size > 10 and memcmp(path, "/services/", 10) == 0:
            ex.route = self._service
            if method == GET or method == HEAD:
                return service_get(ex, 10)
        elif size > 11 and memcmp(path, "/heartbeat/", 11) == 0:
            ex.route = self._heartbeat
            if method == PUT:
                return service_heartbeat(ex, 11)
        elif size > 12 and memcmp(path, "/deregister/", 12) == 0:
            ex.route = self._deregister
            if method == DELETE:
                return service_deregister(ex, 12)
        elif size > 10 and method == POST and memcmp(path, "/batch/kv/", 10) == 0:
            return self._dispatch_batch(ex)
        return ex.fall()

    cdef int _dispatch_batch(self, Exchange ex) except -1:
        if ex.path == b"/batch/kv/get":
            ex.route = self._batch_get
            return batch_get(ex)
        if ex.path == b"/batch/kv/set":
            ex.route = self._batch_set
            return batch_set(ex)
        if ex.path == b"/batch/kv/delete":
            ex.route = self._batch_delete
            return batch_delete(ex)
        return ex.fall()

    # On: to the application

    def _to_app(self, Exchange ex):
        """Runs the application once the body is whole; what a native route had begun is forgotten."""
        ex.route = self._unmatched
        ex.verb = -1
        ex.action = ex.resources = ex.reason = None
        if ex.body is None and ex.declared != 0:
            ex.need_body(&_whole)
        elif ex.proto is not None:
            self.site.loop.call_soon_threadsafe(self._spawn, ex)

    def _spawn(self, Exchange ex):
        cdef object loop = self.site.loop
        if ex.scope["type"] == "websocket":
            socket = Socket(ex, loop)
            run = self._run_app(ex, socket.receive, socket.send)
        else:
            run = self._run_app(ex, Incoming(loop, ex.proto), Outgoing(loop, ex.proto))
        task = loop.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    cdef dict _about(self, Exchange ex):
        about = {"request_id": ex.request_id.decode(), "client": ex.client, "route": None}
        if self._guarded:
            about["identity"] = ex.identity
            about["public"] = ex.is_public
            about["class"] = None if ex.is_charged else ex.route_class
        return about

    async def _run_app(self, Exchange ex, receive, send):
        cdef dict about = self._about(ex)
        cdef object proto = ex.proto
        scope = ex.scope
        if proto is not None:
            about["lines"] = Lines(ex)
        scope["konsul"] = about
        scope["path"] = ex.path.decode()
        scope.setdefault("root_path", "")
        scope.setdefault("state", {})
        try:
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
            else:
                watched = Watched(ex, receive, send)
                await self.app(scope, watched.incoming, watched.outgoing)
        except Exception:
            # The application has logged it. With its answer begun, only a cut connection tells the client.
            if proto is None:
                raise
        finally:
            if ex.user is None and not ex.finished:
                if about["route"] is not None:
                    ex.route = self.site.series.route(about["route"].replace(":path}", "}"))
                if proto is not None:
                    if not ex.answered:
                        ex.status = 500
                    proto.finish()
                ex.finish()

    async def _serve_websocket(self, dict scope, receive, send):
        """Connections that stay: the application's, with the same preparation as a request."""
        if scope["type"] != "websocket" or self.site.draining:
            await send({"type": "websocket.close", "code": 1012})
            return
        scope["method"] = "GET"
        cdef Exchange ex = self._open(scope, None)
        try:
            read_head(ex)
            if read_path(ex) == BAD_PATH:
                await send({"type": "websocket.close", "code": 1008})
                return
            if self._guarded and not admit(ex):
                await _deny(scope, send, ex.start, ex.tail)
                return
            scope["konsul"] = self._about(ex)
            scope["path"] = ex.path.decode()
            # Several in one header are one text here; applications expect a list of names.
            scope["subprotocols"] = [
                name for each in scope.get("subprotocols", ()) for part in each.split(",")
                if (name := part.strip())
            ]
            scope.setdefault("root_path", "")
            scope.setdefault("state", {})
            del scope["method"]
            await self.app(scope, receive, send)
        finally:
            if not ex.answered:
                ex.status = 101
                ex.fell = True
                ex.finish()


cdef int _set_admission(Site site, dict admission) except -1:
    site.anonymous, site.unauthenticated = admission["anonymous"], admission["unauthenticated"]
    site.class_of, site.client_of = admission["class_of"], admission["client_of"]
    site.requires_auth = admission["requires_auth"]
    site.public_paths = _encoded(admission["public_paths"])
    site.public_prefixes = tuple(_encoded(admission["public_prefixes"]))
    routes = admission["public_routes"]
    site.public_gets = _encoded(path for method, path in routes if method == "GET")
    site.public_posts = _encoded(path for method, path in routes if method == "POST")
    site.staying_paths = _encoded(admission["staying_paths"])
    site.staying_prefixes = tuple(_encoded(admission["staying_prefixes"]))
    site.probes, site.unrecorded = _encoded(admission["probes"]), _encoded(admission["unrecorded"])
    site.asking = _encoded(admission["asking"])
    return 0


cdef frozenset _encoded(paths):
    """Paths as requests have them here."""
    return frozenset([path.encode() for path in paths])


async def _deny(scope, send, start, tail):
    """Refuses an upgrade, in words if the server can pass them on."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({**start, "type": "websocket.http.response.start"})
        await send({**tail, "type": "websocket.http.response.body"})
    else:
        await send({"type": "websocket.close", "code": 1008})


cdef int _whole(Exchange ex) except -1:
    return ex.fall()
