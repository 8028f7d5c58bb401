"""A request for a WebSocket, to an application: refused here, or taken over by a line
(`konsul.kernel.lines`)."""

from konsul_ext.exchange cimport Exchange

cdef tuple TEXT = (b"content-type", b"text/plain; charset=utf-8")


cdef class Socket:
    """ASGI's two callables as far as they go before the upgrade. There is no `websocket.accept`: lines do it,
    without a task and buffers for each connection."""

    cdef Exchange ex
    cdef object loop, proto, start

    def __init__(self, Exchange ex, loop):
        self.ex = ex
        self.loop = loop
        self.proto = ex.proto

    async def receive(self):
        """ASGI receive."""
        return {"type": "websocket.connect"}

    async def send(self, dict message):
        """ASGI send."""
        cdef str kind = message["type"]
        if kind == "websocket.close":
            self.ex.respond(403, [TEXT], b"Forbidden")
        elif kind == "websocket.http.response.start":
            self.start = message
        elif kind == "websocket.http.response.body" and self.start is not None:
            headers = list(self.start.get("headers", ()))
            self.ex.respond(self.start["status"], headers, message.get("body", b""))
        else:
            raise RuntimeError(f"{kind} is not spoken here: open_websocket of konsul.kernel.lines upgrades")
