"""What all requests of one front share: the core, what features gave, limits, counters. Held by every
Exchange."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from konsul_ext.buffer cimport shrink
from konsul_ext.uuid cimport UUID_BYTES, put_uuid, seed_from

cdef tuple KNOWN = (b"x-konsul-known-leader", b"true")
cdef tuple UNKNOWN = (b"x-konsul-known-leader", b"false")

cdef enum:
    SCRATCH_KEEP_BYTES = 1 << 20


cdef class Site:
    """Filled by `Front`; nothing here decides anything."""

    def __cinit__(self):
        seed_from(self.seed, os.urandom(32))
        self.stamp.second = -1
        self.reading = {}

    def __dealloc__(self):
        shrink(&self.scratch, 0)

    cdef bytes new_request_id(self):
        cdef bytes text = PyBytes_FromStringAndSize(NULL, UUID_BYTES)
        put_uuid(self.seed, PyBytes_AS_STRING(text))
        return text

    cdef int tell(self, list headers, tuple contact, object index) except -1:
        """Appends what every answer says about the node behind it: `contact` as the core gives it, or None
        for now; `index` None for its own."""
        if contact is None:
            try:
                contact = self.contact()
            except Exception:
                return 0  # the node has stopped: nothing is behind the answer
        if index is None:
            index = contact[2]
        last_contact_ms = contact[1]
        if index != self.told_index:
            self.told_index = index
            self.index_header = (b"x-konsul-index", b"%d" % index)
        if last_contact_ms != self.told_contact:
            self.told_contact = last_contact_ms
            self.contact_header = (b"x-konsul-last-contact", b"%d" % last_contact_ms)
        headers.append(self.index_header)
        headers.append(KNOWN if contact[0] else UNKNOWN)
        headers.append(self.contact_header)
        return 0

    cdef object error(self, int code, str message):
        """The exception of a core's status code, made by the engine's own doorway."""
        try:
            self.raise_for((0, code, 0, 0, message.encode()))
        except Exception as error:
            return error

    cdef Buffer* clean_scratch(self) noexcept:
        """The scratch buffer, empty: whoever failed in the middle may have left something in it."""
        self.scratch.size = 0
        return &self.scratch

    cdef bytes scratch_bytes(self):
        """What was written into `scratch`, which is empty afterwards."""
        cdef bytes text = PyBytes_FromStringAndSize(self.scratch.data, self.scratch.size)
        shrink(&self.scratch, SCRATCH_KEEP_BYTES)
        return text
