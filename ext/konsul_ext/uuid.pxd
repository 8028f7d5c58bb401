"""Ids of requests and of audit events."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    UUID_BYTES = 36


cdef inline int seed_from(uint64_t* s, bytes entropy) except -1:
    """Takes 32 bytes of the system's entropy."""
    if len(entropy) != 32:
        raise ValueError("a seed has 32 bytes")
    memcpy(s, PyBytes_AS_STRING(entropy), 32)
    return 0


cdef inline void put_uuid(uint64_t* s, char* into) noexcept:
    """A version 4 UUID from xoshiro256**: unique, which is all such an id must be (it guards nothing, so it
    need not be unpredictable). https://prng.di.unimi.it/xoshiro256starstar.c"""
    cdef uint64_t halves[2]
    cdef uint64_t moved
    cdef int half, at, nibble = 0
    cdef const char* digits = "0123456789abcdef"
    for half in range(2):
        moved = s[1] * 5
        halves[half] = ((moved << 7) | (moved >> 57)) * 9
        moved = s[1] << 17
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= moved
        s[3] = (s[3] << 45) | (s[3] >> 19)
    halves[0] = (halves[0] & <uint64_t>0xFFFFFFFFFFFF0FFF) | 0x4000
    halves[1] = (halves[1] & <uint64_t>0x3FFFFFFFFFFFFFFF) | <uint64_t>0x8000000000000000
    for at in range(36):
        if at == 8 or at == 13 or at == 18 or at == 23:
            into[at] = c"-"
            continue
        into[at] = digits[(halves[nibble >> 4] >> (60 - 4 * (nibble & 15))) & 15]
        nibble += 1
