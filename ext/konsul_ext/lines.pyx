"""Requests whose connection becomes a line: see konsul.kernel.lines."""


cdef class Lines:
    """`scope["konsul"]["lines"]` of one request behind the listener. Its user has `message(data)`,
    `drained()` and `closed(reason)`, all called on the loop's thread."""

    def __init__(self, Exchange ex):
        self.ex = ex

    def sse(self, int status, headers, user):
        """Answers with an event stream; returns the line. RuntimeError: answered already, or gone."""
        cdef Exchange ex = self.ex
        if ex.proto is None:
            raise RuntimeError("the request is answered already")
        line = ex.proto.sse(status, ex.own_headers(list(headers)), ex)
        ex.take_over(status, user)
        return line

    def websocket(self, user, subprotocol, headers, size_t max_message_bytes):
        """Upgrades to a WebSocket; returns the line. RuntimeError as for `sse`, or it was not asked for."""
        cdef Exchange ex = self.ex
        if ex.proto is None:
            raise RuntimeError("the request is answered already")
        line = ex.proto.websocket(ex, subprotocol, ex.own_headers(list(headers)), max_message_bytes)
        ex.take_over(101, user)
        return line
