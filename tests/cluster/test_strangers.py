"""What anybody may send to the raft port: noise, scans, huge frames. Refused, noted, without effect."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from collections.abc import Callable

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.node import Node
from tests.cluster.harness.stories import fresh_key, put, value_of, writing
from tests.waiting import until

WAIT_S = 30.0
MIB = 1 << 20


def dial(node: Node) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", node.raft_port), WAIT_S)
    connection.settimeout(WAIT_S)
    return connection


def send_until_closed(connection: socket.socket, payload: bytes) -> None:
    """Sends, and reads until the other side ends it; that it does is what is tested."""
    try:
        connection.sendall(payload)
        # It may have ended it already, at the first byte that was wrong.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    except TimeoutError:
        raise
    except OSError:
        return


def noise(node: Node) -> None:
    rng = random.Random(7)
    for size in (1, 3, 4, 16, 100, 5_000, MIB):
        with dial(node) as connection:
            send_until_closed(connection, rng.randbytes(size))


def http(node: Node) -> None:
    with dial(node) as connection:
        send_until_closed(connection, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def scan(node: Node) -> None:
    for _ in range(200):
        dial(node).close()


def greeting(cluster_id: int, lane: int) -> bytes:
    """What a node says first (`core/net/src/greeting.rs`). Lanes: 0 frames, 1 calls, 2 snapshot."""
    body = struct.pack("<HHBQ", 1, 1, lane, 0) + struct.pack("<QQI", cluster_id, 4_711, 1)
    body += b"\x08stranger" + b"\x050.1.0"
    return b"KNSLPEER" + struct.pack("<H", len(body)) + body


def cluster_id(node: Node) -> int:
    status = node.status()
    assert status is not None
    return int(status["cluster_id"], 16)


def huge_frames(node: Node) -> None:
    for ours in (0, cluster_id(node), 4_711):
        for lane in (0, 1, 2):
            for length in (0xFFFF_FFFF, 1 << 31, (256 << 10) + 1):
                frame = struct.pack("<IIBB", length, 0, 1, 0) + b"x" * 1_000
                with dial(node) as connection:
                    send_until_closed(connection, greeting(ours, lane) + frame)


def frames_of_nobody(node: Node) -> None:
    """Frames with a right form, from somebody who says he is a node and is none."""
    rng = random.Random(8)
    for ours in (cluster_id(node), 4_711):
        for lane in (0, 1, 2):
            for size in (0, 1, 9, 200, 5_000):
                for kind in range(10):
                    body = rng.randbytes(size)
                    frame = (
                        struct.pack("<IIBB", size, crc32c(struct.pack("<IBB", size, kind, 0) + body), kind, 0)
                        + body
                    )
                    with dial(node) as connection:
                        send_until_closed(connection, greeting(ours, lane) + frame)


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit."""
    rest = 0xFFFF_FFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest >> 1) ^ (0x82F6_3B78 if rest & 1 else 0)
    return rest ^ 0xFFFF_FFFF


def silence(node: Node) -> None:
    """Connections that never say anything are ended by the node."""
    quiet = [dial(node) for _ in range(20)]
    for connection in quiet:
        connection.settimeout(40)
        try:
            while connection.recv(65_536):
                pass
        except ConnectionError:
            pass
        connection.close()


def memory_kib(node: Node) -> int:
    with open(f"/proc/{node.pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])


def open_files(node: Node) -> int:
    return len(os.listdir(f"/proc/{node.pid}/fd"))


@pytest.mark.parametrize("attack", [noise, http, scan, huge_frames, frames_of_nobody, silence])
def test_noise_at_the_raft_port_has_no_effect(trio: Cluster, attack: Callable[[Node], None]) -> None:
    leader = trio.until_leader()
    node = trio.followers()[0]
    memory, files, lines = memory_kib(node), open_files(node), len(node.output().splitlines())
    with writing(list(trio.nodes.values()), writers=2) as load:
        before = load.count
        attack(node)
        attack(leader)
        until(lambda: load.count > before + 20, "writes meanwhile")
    assert load.wrong == []
    assert memory_kib(node) < memory + 64 * 1_024
    until(lambda: open_files(node) < files + 10, "the strangers' connections to be closed")
    assert len(node.output().splitlines()) - lines < 40, "it was logged again and again"
    key = fresh_key()
    put(node, key, "1")
    assert value_of(leader, key) == "1"
