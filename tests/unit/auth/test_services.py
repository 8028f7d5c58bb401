"""Background work: last uses of keys, key files that change, the operator's first token."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from konsul.engine import Engine
from konsul.errors import Conflict, NoLeader, StartFailed, Unauthenticated
from konsul.features.auth import bootstrap, commands
from konsul.features.auth.files import open_to_others
from konsul.features.auth.node import auth_of
from konsul.features.auth.services import Guarding
from konsul.features.auth.tables import ApiKeyRow, ApiKeyUseRow
from konsul.features.auth.uses import APART_S, BATCH, Uses
from tests.unit.auth.stored import PASSWORD, Stage, told
from tests.unit.auth.test_logins import log_in
from tests.waiting import until_async

TOKEN = "an-operators-own-token-of-32-characters-or-more"


def last_used(stage: Stage, key_id: str) -> int | None:
    row = stage.engine.get(ApiKeyUseRow.table_id, key_id.encode())
    return None if row is None else int(row.cells[ApiKeyUseRow.column("last_used_at_ms")])


def guarding(stage: Stage) -> Guarding:
    return next(one for one in stage.kernel.services._running if isinstance(one, Guarding))


def test_uses_are_noted_on_every_way_in_and_written_by_the_minute(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1")
        before = stage.engine.contact()[2]
        for _ in range(100):
            stage.known(None, key)
        assert stage.engine.contact()[2] == before, "using a key writes nothing"
        assert set(stage.auth.identities.used) == {"k1"}
        used = stage.auth.identities.take_used()
        assert stage.auth.identities.used == {}
        uses, now = Uses(), float(round(used["k1"]))
        assert await uses.flush(stage.engine, {"k1": now}, now) == 1
        assert last_used(stage, "k1") == round(now * 1_000)
        assert await uses.flush(stage.engine, {"k1": now + 1}, now + 1) == 0
        assert await uses.flush(stage.engine, {"k1": now + 30}, now + APART_S - 1) == 0
        assert await uses.flush(stage.engine, {}, now + APART_S) == 1
        assert last_used(stage, "k1") == round((now + 30) * 1_000), "what waited is not lost"
        assert await Uses().flush(stage.engine, {"k1": now - 5}, now + 1_000) == 0
        assert last_used(stage, "k1") == round((now + 30) * 1_000), "never back in time"

    told(tmp_path, story)


def test_a_deleted_key_takes_its_last_use_along(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.api_key("k1")
        assert await Uses().flush(stage.engine, {"k1": 1_000.0, "never there": 1_000.0}, 1_000.0) == 1
        await stage.delete(ApiKeyRow, "k1")
        assert last_used(stage, "k1") is None
        assert await Uses().flush(stage.engine, {"k1": 2_000.0}, 2_000.0) == 0
        assert stage.engine.count(ApiKeyUseRow.table_id) == 0

    told(tmp_path, story)


def test_many_uses_are_written_in_pieces(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        names = [f"k{number}" for number in range(BATCH + 3)]
        for name in names:
            await stage.api_key(name)
        uses = Uses()
        assert await uses.flush(stage.engine, dict.fromkeys(names, 1_000.0), 1_000.0) == BATCH
        assert await uses.flush(stage.engine, {}, 1_000.0) == 3

    told(tmp_path, story)


def test_uses_that_cannot_be_written_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stage: Stage) -> None:
        names = [f"k{number}" for number in range(BATCH)]
        for name in names:
            await stage.api_key(name)
        uses, asked = Uses(), 0

        async def no_leader(*_: object) -> None:
            nonlocal asked
            asked += 1
            raise NoLeader("no leader is known: try again")

        with monkeypatch.context() as patched:
            patched.setattr(Engine, "commit", no_leader)
            assert await uses.flush(stage.engine, dict.fromkeys(names, 1_000.0), 1_000.0) == 0
        assert asked < BATCH, "one round is enough to know"
        assert await uses.flush(stage.engine, {}, 1_000.0) == BATCH

    told(tmp_path, story)


def test_another_secret_is_taken_while_the_node_runs(tmp_path: Path) -> None:
    """The file gets a second line, then loses the first; a broken file changes nothing."""
    path = tmp_path / "secret"
    old, new = "the old secret, which is long enough", "the new secret, which is long enough"
    path.write_text(old, encoding="utf-8")

    async def story(stage: Stage) -> None:
        await stage.user("alice", PASSWORD)
        auth, service = stage.auth, guarding(stage)
        first = await log_in(stage)
        path.write_text(f"{new}\n{old}\n", encoding="utf-8")
        await service.read_keys()
        second = await log_in(stage)
        for issued in (first, second):
            assert stage.known(f"Bearer {issued.token}").id == "alice"
        path.write_text("short", encoding="utf-8")
        await service.read_keys()
        assert "32 bytes" in str(service.health())
        assert stage.known(f"Bearer {first.token}").id == "alice"
        path.write_text(new, encoding="utf-8")
        for call in stage.kernel.hangups:
            call()
        await until_async(lambda: len(auth.keys.by_kid) == 1, "SIGHUP to have the file read")
        assert service.health() is None
        assert stage.known(f"Bearer {second.token}").id == "alice"
        with pytest.raises(Unauthenticated, match="invalid token"):
            stage.known(f"Bearer {first.token}")
        assert auth.counts.reloads == {"success": 2, "failed": 1}

    told(tmp_path, story, {"jwt_secret": "", "jwt_secret_file": str(path)})


def test_a_key_that_is_gone_ends_the_connections_of_its_tokens(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("the old secret, which is long enough", encoding="utf-8")

    async def story(stage: Stage) -> None:
        await stage.user("alice", PASSWORD)
        who = stage.known(f"Bearer {(await log_in(stage)).token}")
        path.write_text("the new secret, which is long enough", encoding="utf-8")
        await guarding(stage).read_keys()
        with pytest.raises(Unauthenticated, match="token revoked"):
            stage.auth.identities.renew(who)

    told(tmp_path, story, {"jwt_secret": "", "jwt_secret_file": str(path)})


def test_the_operators_token_becomes_a_key_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")

    async def story(stage: Stage) -> None:
        def known(token: str) -> bool:
            try:
                return stage.known(f"Bearer {token}").is_admin
            except Unauthenticated:
                return False

        await until_async(lambda: known(TOKEN), "the token to be a key")
        with pytest.raises(Conflict, match="KONSUL_BOOTSTRAP_TOKEN_FILE"):
            await stage.context().run(commands.bootstrap)
        assert not await bootstrap.install_token(stage.engine, TOKEN)
        assert await bootstrap.install_token(stage.engine, f"{TOKEN}-2")
        await until_async(lambda: known(f"{TOKEN}-2") and not known(TOKEN), "the other one to count")
        await stage.delete(ApiKeyRow, bootstrap.FILE_KEY_ID)
        assert not await bootstrap.install_token(stage.engine, f"{TOKEN}-2"), "what was deleted stays so"
        await until_async(lambda: not known(f"{TOKEN}-2"), "it to be gone")
        several = [f"{TOKEN}-{number}" for number in range(3, 6)]
        await asyncio.gather(*(bootstrap.install_token(stage.engine, token) for token in several))
        await until_async(lambda: sum(map(known, several)) == 1, "one of several to count")

    told(tmp_path, story, {"bootstrap_token_file": str(path)})


@pytest.mark.parametrize(
    "content", ["", "short", "x" * 31, "with a space in it, and long enough", "a.b." * 10]
)
def test_an_unusable_first_token_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")

    async def story(stage: Stage) -> None:
        raise AssertionError("it started")

    with pytest.raises(StartFailed, match="KONSUL_BOOTSTRAP_TOKEN_FILE") as raised:
        told(tmp_path, story, {"bootstrap_token_file": str(path)})
    assert not content or content not in str(raised.value)


def test_without_anything_that_signs_the_node_does_not_start(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        raise AssertionError(f"it started: {auth_of(stage.engine)}")

    with pytest.raises(StartFailed, match="KONSUL_JWT_SECRET_FILE"):
        told(tmp_path, story, {"jwt_secret": ""})


def test_secrets_that_everybody_may_read_are_named(tmp_path: Path) -> None:
    private, shared = tmp_path / "private", tmp_path / "shared"
    for path, mode in ((private, 0o600), (shared, 0o644)):
        path.write_text("a secret", encoding="utf-8")
        path.chmod(mode)
    assert open_to_others(private, shared, tmp_path / "none") == [str(shared)]
