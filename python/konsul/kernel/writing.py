"""What a write may ask for besides its work: to be applied once, a deadline, the leader's address instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from konsul.errors import Invalid, NoLeader

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.kernel.pipeline import Identity

TIMEOUT_MS: Final = 5_000
"""How long a request waits for the log unless it says otherwise."""
TIMEOUT_MAX_MS: Final = 60_000
BAD_KEY: Final = "Invalid Idempotency-Key header: expected 1 to 255 visible ASCII characters"
BAD_TIMEOUT: Final = f"Invalid X-Konsul-Timeout-Ms header: expected 1 to {TIMEOUT_MAX_MS}"
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_NUMBER: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_ID_BYTES: Final = 16
_PERSON: Final = b"konsul write id"
_PART: Final = b"konsul part id"


class Elsewhere(Exception):
    """The client wanted to be sent to the leader rather than forwarded, and this node is not it.

    `http_address`: the leader's URL. `leader_addr`: where it listens for peers.
    """

    def __init__(self, http_address: str, leader_addr: str) -> None:
        super().__init__("this node does not lead: send the request to the address in Location")
        self.http_address = http_address
        self.leader_addr = leader_addr


@dataclass(frozen=True, slots=True)
class Terms:
    """How one request wants its writes done. `write_id`: 16 bytes under which each is applied once."""

    write_id: bytes | None = None
    timeout_ms: int = TIMEOUT_MS
    redirect: bool = False


PLAIN_TERMS: Final = Terms()
"""What is in force where nothing was asked."""


def write_id(
    key: bytes, identity: Identity | None, method: str, path: bytes, query: bytes, body: bytes
) -> bytes:
    """The id of a request under its Idempotency-Key.

    The whole request is part of it, and who sends it: the same key on another request, or from somebody
    else, must not be answered with what this one did. `path`: as sent.

    Raises:
        Invalid: the key is empty, longer than 255 bytes or holds anything but visible ASCII.
    """
    if not _KEY.fullmatch(key):
        raise Invalid(BAD_KEY)
    who = b"" if identity is None else identity.id.encode()
    # The lengths keep neighbours apart; the method ends at the first space.
    head = b"%b %d %d %d %d " % (method.encode(), len(key), len(who), len(path), len(query))
    whole = b"".join((head, key, who, path, query, body))
    return blake2b(whole, digest_size=_ID_BYTES, person=_PERSON).digest()


def part_of(whole: bytes | None, number: int) -> bytes | None:
    """The id of one of several entries that a request makes."""
    if whole is None:
        return None
    return blake2b(whole + number.to_bytes(8), digest_size=_ID_BYTES, person=_PART).digest()


def timeout_ms(text: str | None) -> int:
    """The client's deadline from its header. Raises Invalid for anything but 1 to `TIMEOUT_MAX_MS`."""
    if text is None:
        return TIMEOUT_MS
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= TIMEOUT_MAX_MS:
        raise Invalid(BAD_TIMEOUT)
    return int(text)


def send_to_leader(engine: Engine) -> None:
    """Returns on the leader, and where the leader's HTTP address is not known, so that it is forwarded.

    Raises:
        Elsewhere: another node leads. NoLeader: none does.
    """
    # The leader's lease answers for one compare; the status is a document.
    if engine.is_current():
        return
    status = engine.status()
    if status["role"] == "leader":
        return
    cluster = status["cluster"]
    leader_id = cluster["leader_raft_id"] if cluster["known_leader"] else 0
    if not leader_id:
        raise NoLeader("no leader is known: try again")
    for member in cluster["members"]:
        if member["raft_id"] == leader_id and member["http_address"]:
            raise Elsewhere(member["http_address"], member["address"])
