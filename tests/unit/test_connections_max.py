"""How many connections the listener takes of the files the system allows."""

from __future__ import annotations

import resource

import pytest

from konsul.server.listener import connections_max


@pytest.mark.parametrize(
    ("files", "connections"),
    [(resource.RLIM_INFINITY, 20_000), (1 << 20, 20_000), (4_096, 3_840), (256, 192), (64, 48), (1, 1)],
)
def test_the_node_keeps_files_for_itself(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connections_max() == connections
