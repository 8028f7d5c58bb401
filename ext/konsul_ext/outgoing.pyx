"""The application's `receive` and `send`: over the listener's request object, and watched by the front."""

from konsul_ext.exchange cimport Exchange
from konsul_ext.site cimport HEAD


cdef class Incoming:
    """ASGI receive."""

    def __init__(self, loop, proto):
        self.loop = loop
        self.proto = proto

    def __call__(self):
        future = self.loop.create_future()
        self.proto.wait(Arrival(future))
        return future


cdef class Arrival:
    """Turns a piece of a body into an ASGI message."""

    cdef object future

    def __init__(self, future):
        self.future = future

    def __call__(self, piece, more):
        if self.future.done():
            return
        if piece is None:
            self.future.set_result({"type": "http.disconnect"})
        else:
            self.future.set_result({"type": "http.request", "body": piece, "more_body": more})


cdef class Outgoing:
    """ASGI send. An answer whose body is one message leaves whole, any other piece by piece."""

    def __init__(self, loop, proto):
        self.loop = loop
        self.proto = proto

    def __call__(self, dict message):
        cdef bytes body
        cdef bint more
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            return _now(None)
        if message["type"] != "http.response.body" or self.headers is None:
            return _now(None)
        body = bytes(message.get("body", b""))
        more = message.get("more_body", False)
        if not self.begun:
            self.begun = True
            if not more:
                self.proto.answer(self.status, self.headers, body)
                return _now(None)
            self.proto.begin(self.status, self.headers)
        future = self.loop.create_future()
        if self.proto.push(body, Room(future)):
            future.set_result(None)
        if not more:
            self.proto.end()
        return future


cdef class Room:
    """Lets the application go on."""

    cdef object future

    def __init__(self, future):
        self.future = future

    def __call__(self, _piece, _more):
        if not self.future.done():
            self.future.set_result(None)


cdef class Watched:
    """The application's two callables: the body it has not read itself, and an answer noted on its way
    out."""

    def __init__(self, Exchange ex, receive, send):
        self.ex = ex
        self.receive = receive
        self.send = send

    def incoming(self):
        """ASGI receive: the whole body once, then whatever the server says."""
        if self.replayed:
            return self.receive()
        self.replayed = True
        body = self.ex.body if self.ex.body is not None else b""
        return _now({"type": "http.request", "body": body, "more_body": False})

    def outgoing(self, dict message):
        """ASGI send."""
        cdef Exchange ex = self.ex
        if message["type"] == "http.response.start":
            ex.answered = True
            ex.status = message["status"]
            message = dict(message)
            ex.index = ex.scope["konsul"].get("index")
            message["headers"] = ex.own_headers(list(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            if ex.method == HEAD:
                message = dict(message)
                message["body"] = b""
            ex.size += len(message.get("body", b""))
        return self.send(message)


async def _now(value):
    return value
