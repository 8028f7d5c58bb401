"""Requests straight from granian's callback thread, without a task or a wake of the loop.

A read is answered where it arrives; a write comes back from the log on the loop and is answered there. Only
what the application serves becomes a task. One of these stands between granian and the loop, and takes both
roles: granian's scheduler calls `schedule` for each request, and granian's futures call
`call_soon_threadsafe` when a body is there.
"""

import logging

from konsul_ext.exchange cimport Exchange
from konsul_ext.front cimport Front
from konsul_ext.outgoing cimport Incoming, Outgoing


cdef class Direct:
    """Built by `Front.direct`. Its methods may be called from any thread that holds the GIL."""

    cdef Front front
    cdef object loop
    cdef set _tasks

    def __init__(self, Front front, loop):
        self.front = front
        self.loop = loop
        self._tasks = set()

    def schedule(self, watcher):
        """One request or connection. Never raises: granian does not look."""
        try:
            scope = watcher.scope
            if scope["type"] == "http":
                self.front.serve(scope, watcher.proto, watcher)
            else:
                self.loop.call_soon_threadsafe(self._connect, watcher)
        except Exception as error:
            logging.getLogger("konsul.front").error("request crashed", exc_info=error)
            watcher.done()

    def call_soon_threadsafe(self, callback, *args, context=None):
        """A future of granian is done: a waiting request goes on here, anything else on the loop."""
        if type(callback) is Exchange:
            callback(*args)
            return None
        return self.loop.call_soon_threadsafe(callback, *args, context=context)

    def call_soon(self, callback, *args, context=None):
        """As `call_soon_threadsafe`: granian uses this name for futures that were done already."""
        return self.call_soon_threadsafe(callback, *args, context=context)

    def _connect(self, watcher):
        task = self.loop.create_task(self._websocket(watcher))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _websocket(self, watcher):
        try:
            proto = watcher.proto
            await self.front(watcher.scope, Incoming(self.loop, proto), Outgoing(self.loop, proto))
        except Exception as error:
            watcher.err(error)
            return
        watcher.done()
