"""The application's `receive` and `send`: over the server's protocol object, and watched by the front.

The server's own awaitables belong to `Direct` and not to the application's loop, so a task could not await
them.
"""

import asyncio

from konsul_ext.exchange cimport Exchange
from konsul_ext.site cimport HEAD


cdef class Incoming:
    """ASGI receive."""

    def __init__(self, loop, proto):
        self.loop = loop
        self.proto = proto

    def __call__(self):
        return _of_loop(self.loop, self.proto.receive())


cdef class Outgoing:
    """ASGI send."""

    def __init__(self, loop, proto):
        self.loop = loop
        self.proto = proto

    def __call__(self, dict message):
        return _of_loop(self.loop, self.proto.send(message))


cdef object _of_loop(loop, awaitable):
    """The server's awaitable itself if it is done, else a future of `loop` that follows it."""
    if not hasattr(awaitable, "add_done_callback"):
        return awaitable
    future = loop.create_future()
    follower = Follower.__new__(Follower)
    (<Follower>follower).future = future
    (<Follower>follower).source = awaitable
    awaitable.add_done_callback(follower)
    future.add_done_callback((<Follower>follower).give_up)
    return future


cdef class Follower:
    """Copies what the server's awaitable ends with into a future of the loop."""

    cdef object future, source

    def __call__(self, source):
        if self.future.done():
            return
        try:
            self.future.set_result(source.result())
        except asyncio.CancelledError:
            self.future.cancel()
        except Exception as error:
            self.future.set_exception(error)

    def give_up(self, future):
        """Nobody waits any more: the server may stop as well."""
        if future.cancelled():
            self.source.cancel()


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
