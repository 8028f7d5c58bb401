"""The HTTP server's protocol object as the application's `receive` and `send`.

The server's own awaitables belong to `Direct` and not to the application's loop, so a task could not await
them.
"""

import asyncio


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
