"""The access log: one line per finished request, formatted in memory, written to stderr by a thread of its
own.

A request never waits for the log. What does not fit is counted, and the count is a log line of its own.
"""

import os
import threading

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t

from konsul_ext.buffer cimport is_utf8, put, put_byte, put_decimal, put_json, put_padded, shrink
from konsul_ext.moment cimport put_time

FLUSH_S = 0.1

cdef enum:
    FLUSH_BYTES = 65536
    USER_AGENT_MAX_BYTES = 256
    PATH_MAX_BYTES = 2048

cdef class AccessLog:
    """`which`: all, errors (status 400 and above) or off. `log_format`: json or text, as the kernel's log."""

    def __init__(self, str which, str log_format, str level, int fd, size_t room_bytes):
        self._json = log_format == "json"
        by_level = {"debug": 0, "info": 0, "warn": 400, "error": 500}
        self._least_status = max({"all": 0, "errors": 400, "off": 1000}[which], by_level[level])
        self._fd = fd
        self._room_bytes = room_bytes
        self._stamp.second = -1
        self._wake = threading.Event()
        self._thread = None

    def __dealloc__(self):
        shrink(&self._lines, 0)

    def start(self):
        """Starts the writer thread."""
        if self._thread is None and self._least_status < 1000:
            self._thread = threading.Thread(target=self._write_for_ever, name="access-log", daemon=True)
            self._thread.start()

    def close(self):
        """Writes what is buffered and ends the thread. Idempotent."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    cdef int line(self, bytes request_id, str method, bytes path, int status, int64_t took_ns,
                  int64_t size, str client, bytes user_agent) except -1:
        """Adds the line of one finished request."""
        if status < self._least_status:
            return 0
        if self._lines.size > self._room_bytes:
            self.lines_dropped += 1
            self._unreported += 1
            return 0
        self.lines += 1
        cdef Buffer* b = &self._lines
        if self._json:
            put(b, '{"level":"', 10)
            put(b, "info" if status < 400 else "warn" if status < 500 else "error", 5 if status >= 500 else 4)
            put(b, '","ts":"', 8)
            put_time(b, &self._stamp)
            put(b, '","caller":"front","msg":"Request completed",', 45)
        else:
            put_time(b, &self._stamp)
            put(b, "\tINFO\t" if status < 400 else "\tWARN\t" if status < 500 else "\tERROR\t",
                7 if status >= 500 else 6)
            put(b, "front\tRequest completed\t{", 25)
        self._fields(request_id, method, path, status, took_ns, size, client, user_agent)
        put(b, "}\n", 2)
        if b.size >= FLUSH_BYTES and not self._flush_asked:
            self._flush_asked = True
            self._wake.set()
        return 0

    cdef int _fields(self, bytes request_id, str method, bytes path, int status, int64_t took_ns,
                     int64_t size, str client, bytes user_agent) except -1:
        cdef Buffer* b = &self._lines
        cdef Py_ssize_t length
        cdef const char* text
        cdef int64_t micros = took_ns // 1000
        put(b, '"request_id":"', 14)
        put_json(b, PyBytes_AS_STRING(request_id), PyBytes_GET_SIZE(request_id))
        put(b, '","method":"', 12)
        text = PyUnicode_AsUTF8AndSize(method, &length)
        put_json(b, text, length)
        put(b, '","path":"', 10)
        _put_foreign(b, path, PATH_MAX_BYTES)
        put(b, '","status":', 11)
        put_decimal(b, status)
        put(b, ',"duration":', 12)
        put_decimal(b, micros // 1000000)
        put_byte(b, c".")
        put_padded(b, micros % 1000000, 6)
        put(b, ',"response_size":', 17)
        put_decimal(b, size)
        put(b, ',"ip":"', 7)
        text = PyUnicode_AsUTF8AndSize(client, &length)
        put_json(b, text, length)
        put(b, '","user_agent":"', 16)
        if user_agent is not None:
            _put_foreign(b, user_agent, USER_AGENT_MAX_BYTES)
        return put_byte(b, c'"')

    def take(self):
        """The buffered lines, which leave the buffer."""
        self._flush_asked = False
        if self._unreported:
            self._report_loss()
        taken = PyBytes_FromStringAndSize(self._lines.data, self._lines.size)
        shrink(&self._lines, 4 * FLUSH_BYTES)
        return taken

    cdef int _report_loss(self) except -1:
        cdef Buffer* b = &self._lines
        cdef bytes count = b"%d" % self._unreported
        self._unreported = 0
        if self._json:
            put(b, '{"level":"warn","ts":"', 22)
            put_time(b, &self._stamp)
            put(b, '","caller":"front","msg":"access log lines dropped","count":', 60)
        else:
            put_time(b, &self._stamp)
            put(b, '\tWARN\tfront\taccess log lines dropped\t{"count":', 46)
        put(b, count, len(count))
        return put(b, "}\n", 2)

    def _write_for_ever(self):
        while not self._closed:
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self._write()
        self._write()

    def _write(self):
        lines = memoryview(self.take())
        while lines:
            try:
                lines = lines[os.write(self._fd, lines):]
            except BlockingIOError:
                self._wake.wait(FLUSH_S)
            except OSError:
                # Nobody reads stderr any more: there is nowhere left to say so.
                return


cdef int _put_foreign(Buffer* b, bytes text, Py_ssize_t most) except -1:
    """Text of a client: cut to `most` bytes; what is no UTF-8 is written byte by byte as `?` or ASCII."""
    cdef Py_ssize_t size = min(PyBytes_GET_SIZE(text), most)
    cdef const char* data = PyBytes_AS_STRING(text)
    cdef Py_ssize_t at
    while size and size < PyBytes_GET_SIZE(text) and (<uint8_t>data[size] & 0xC0) == 0x80:
        size -= 1
    if is_utf8(data, size):
        return put_json(b, data, size)
    for at in range(size):
        if <uint8_t>data[at] < 0x80:
            put_json(b, data + at, 1)
        else:
            put_byte(b, c"?")
    return 0
