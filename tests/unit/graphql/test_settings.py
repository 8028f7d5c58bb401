"""What the GraphQL door's settings refuse at the start, and registered documents that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from konsul.doors.graphql.persisted import Persisted
from konsul.errors import StartFailed
from konsul.kernel.config import ConfigError, load
from konsul.kernel.graphql_settings import GraphqlSettings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"KONSUL_GRAPHQL_PUBSUB_BACKEND": "redis"}, "replicated log"),
        ({"KONSUL_GRAPHQL_REDIS_URL": "redis://somewhere"}, "no Redis"),
        ({"KONSUL_GRAPHQL_MAX_QUERY_DEPTH": "0"}, "KONSUL_GRAPHQL_MAX_QUERY_DEPTH"),
        ({"KONSUL_GRAPHQL_WS_PING_INTERVAL": "1"}, "a duration with a unit"),
        ({"KONSUL_GRAPHQL_PERSISTED_MODE": "some"}, "one of off, apq, allow-list"),
        ({"KONSUL_GRAPHQL_PERSISTED_MODE": "allow-list"}, "KONSUL_GRAPHQL_PERSISTED_DIR is empty"),
        ({"KONSUL_GRAPHQL_PERSISTED_DIR": "nowhere/at/all"}, "does not exist"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load([GraphqlSettings], environ=settings)
    assert said in str(refused.value)
    assert "redis://somewhere" not in str(refused.value)


def test_a_switched_off_door_needs_no_documents() -> None:
    settings = {"KONSUL_GRAPHQL_ENABLED": "false", "KONSUL_GRAPHQL_PERSISTED_MODE": "allow-list"}
    assert not load([GraphqlSettings], environ=settings).of(GraphqlSettings).enabled


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", None),
        ("list.json", b"[1]"),
        ("broken.json", b"{"),
        ("numbers.json", b'{"a": 1}'),
        ("latin.json", b"\xff"),
        ("operations.json", b'{"operations": [{"id": "x"}]}'),
    ],
)
def test_registered_documents_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StartFailed, match="KONSUL_GRAPHQL_PERSISTED_DIR"):
        Persisted(GraphqlSettings(persisted_dir=str(path)))
