"""A node that its cluster has not reached yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from konsul.errors import NoLeader
from konsul.features.auth import logins
from konsul.kernel.pipeline import ANONYMOUS
from tests.unit.auth.stored import PASSWORD, Stage, told


def test_a_node_without_tables_sends_callers_on_instead_of_calling_them_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_yet(*_: Any, **__: Any) -> Any:
        raise NoLeader("no leader")

    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued = await logins.begin(stage.auth, stage.engine, "alice", PASSWORD, "192.0.2.1")
        key = await stage.api_key("ci")
        monkeypatch.setattr(stage.engine, "get", none_yet)
        monkeypatch.setattr(stage.engine, "scan", none_yet)
        for given in ((f"Bearer {issued.token}", None), (None, key), ("Bearer nothing", None)):
            stage.auth.identities.clear()
            with pytest.raises(NoLeader, match="no tables yet"):
                stage.known(*given)
        assert stage.known() is ANONYMOUS
        monkeypatch.undo()
        assert stage.known(key=key).kind == "api_key"

    told(tmp_path, story)
