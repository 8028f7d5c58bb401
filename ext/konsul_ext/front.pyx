"""The front: one ASGI callable for every request."""


cdef class Front:
    """See front.pyi."""

    cdef object core, waiting, app
    cdef object series

    def __init__(self, core, dict waiting, app, *, shapes=None, int kv_table=1, int service_table=2,
                 Py_ssize_t max_head_bytes=4096, Py_ssize_t max_body_bytes=4194304,
                 Py_ssize_t max_value_bytes=524288, Py_ssize_t max_key_bytes=1024,
                 int body_timeout_ms=30000, int write_timeout_ms=5000, str access_log="all",
                 str log_format="json", int log_fd=2, Py_ssize_t log_buffer_bytes=4194304, ready=None,
                 identify=None, limit=None, authorise=None, audit=None):
        self.core = core
        self.waiting = waiting
        self.app = app

    def __call__(self, dict scope, receive, send):
        scope["konsul"] = {"request_id": "0", "identity": None, "client": scope["client"][0], "route": None}
        return self.app(scope, receive, send)

    def start(self):
        pass

    def snapshot(self):
        return {"in_flight": 0, "bucket_bounds": [], "requests": [], "operations": [], "series_dropped": 0,
                "log_lines": 0, "log_lines_dropped": 0}

    async def drain(self, int grace_ms):
        return 0

    def close(self):
        pass
