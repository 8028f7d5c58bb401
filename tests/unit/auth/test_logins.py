"""Logins: one answer for every wrong guess, refresh tokens good once, an end that ends everything."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from konsul.errors import Conflict, Invalid, KonsulError, RateLimited, Unauthenticated
from konsul.features.auth import commands, logins, queries
from konsul.features.auth.credentials import digest
from konsul.features.auth.logins import Issued
from konsul.features.auth.tables import LoginRow, UserRow
from konsul.kernel import entry
from tests.unit.auth.stored import PASSWORD, Stage, told
from tests.waiting import until_async


async def log_in(stage: Stage, user_id: str = "alice", password: str = PASSWORD) -> Issued:
    return await stage.context().run(commands.login, user_id=user_id, password=password)


async def refresh(stage: Stage, token: str) -> Issued:
    whose = logins.whose(stage.auth, token)
    return await stage.context().run(commands.refresh, user_id=whose, refresh_token=token)


async def refusal(stage: Stage, token: str) -> str:
    with pytest.raises(Unauthenticated) as raised:
        await refresh(stage, token)
    return str(raised.value)


def test_wrong_guesses_get_one_answer(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        await stage.user("off", enabled=False)
        await stage.engine.put(UserRow.table_id, b"none", entry.cells("None", "", ["user"], [], True, 0, 0))
        for user_id, password in (
            ("alice", "wrong"),
            ("alice", ""),
            ("off", PASSWORD),
            ("nobody", PASSWORD),
            ("none", ""),
        ):
            with pytest.raises(Unauthenticated) as raised:
                await log_in(stage, user_id, password)
            assert str(raised.value) == "invalid credentials"
        assert stage.logins() == []
        assert stage.auth.counts.logins == {"failed": 5}

    told(tmp_path, story)


def test_a_login_is_a_row_without_a_secret(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued = await log_in(stage)
        assert (issued.expires_in_s, issued.refresh_expires_in_s) == (900, 604_800)
        rows, _ = stage.engine.scan_packed(LoginRow.table_id)
        stored = b"".join(part for row in rows for part in row)
        claims = stage.auth.tokens.read(issued.refresh_token, "refresh")
        assert digest(claims.token_id).encode() in stored
        for secret in (issued.token, issued.refresh_token, claims.token_id):
            assert secret.encode() not in stored

    told(tmp_path, story)


def test_what_the_users_row_says_is_in_the_token(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice", roles=["admin"], policies=["dev"])
        issued = await log_in(stage)
        await stage.change(UserRow, "alice", roles=["user"], policies=["ops"])
        claims = stage.auth.tokens.read(issued.token, "access")
        assert (claims.roles, claims.policies) == (("admin",), ("dev",))
        later = stage.auth.tokens.read((await refresh(stage, issued.refresh_token)).token, "access")
        assert (later.roles, later.policies, later.login_id) == (("user",), ("ops",), claims.login_id)

    told(tmp_path, story)


def test_a_refresh_token_is_good_once_and_then_ends_its_login(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        first, other = await log_in(stage), await log_in(stage)
        second = await refresh(stage, first.refresh_token)
        third = await refresh(stage, second.refresh_token)
        assert stage.known(f"Bearer {third.token}").id == "alice"
        assert await refusal(stage, first.refresh_token) == "invalid refresh token"
        for gone in (first, second, third):
            with pytest.raises(Unauthenticated, match="token revoked"):
                stage.known(f"Bearer {gone.token}")
        assert await refusal(stage, third.refresh_token) == "invalid refresh token"
        assert stage.known(f"Bearer {other.token}").id == "alice", "another login of the same user stays"
        assert (stage.auth.counts.replays, stage.auth.counts.refreshed) == (1, 2)

    told(tmp_path, story)


def test_of_those_who_refresh_at_once_one_wins_and_the_login_ends(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued = await log_in(stage)
        came = await asyncio.gather(
            *(refresh(stage, issued.refresh_token) for _ in range(5)), return_exceptions=True
        )
        won = [one for one in came if isinstance(one, Issued)]
        assert len(won) == 1
        assert stage.logins() == []
        with pytest.raises(Unauthenticated, match="token revoked"):
            stage.known(f"Bearer {won[0].token}")

    told(tmp_path, story)


def test_only_refresh_tokens_refresh(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued = await log_in(stage)
        for wrong in (issued.token, "a.b.c", "", issued.refresh_token + "x"):
            assert await refusal(stage, wrong) == "invalid refresh token"
        assert await refresh(stage, issued.refresh_token)

    told(tmp_path, story)


def test_a_refresh_token_expires(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued = await log_in(stage)

        def is_over() -> bool:
            try:
                stage.auth.tokens.read(issued.refresh_token, "refresh")
            except Unauthenticated:
                return True
            return False

        await until_async(is_over, "the refresh token to expire")
        assert await refusal(stage, issued.refresh_token) == "refresh token expired"
        with pytest.raises(Unauthenticated, match="token expired"):
            stage.known(f"Bearer {issued.token}")
        await until_async(lambda: not stage.logins(), "its login's row to go by itself")

    told(tmp_path, story, {"jwt_expiry_ms": 1_000, "refresh_expiry_ms": 1_000, "jwt_leeway_ms": 0})


@pytest.mark.parametrize("what", ["disabled", "deleted"])
def test_who_may_not_log_in_any_more_may_not_refresh(tmp_path: Path, what: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued = await log_in(stage)
        if what == "disabled":
            await stage.change(UserRow, "alice", enabled=False)
        else:
            await stage.delete(UserRow, "alice")
        assert await refusal(stage, issued.refresh_token) == "invalid refresh token"

    told(tmp_path, story)


def test_a_password_changed_while_it_is_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        passwords = stage.auth.passwords
        fits, asked = type(passwords).fits, 0

        async def overtaken(self: object, stored: str, given: str) -> bool:
            nonlocal asked
            asked += 1
            found = await fits(passwords, stored, given)
            if asked == 1:
                await stage.change(UserRow, "alice", password_hash=await passwords.hash("another one"))
            return found

        monkeypatch.setattr(type(passwords), "fits", overtaken)
        with pytest.raises(Unauthenticated, match="invalid credentials"):
            await log_in(stage)
        assert asked == 2
        assert stage.logins() == []

    told(tmp_path, story)


def test_the_login_refreshed_longest_ago_makes_room(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        await stage.user("alice2")
        first, second = await log_in(stage), await log_in(stage)
        other = await log_in(stage, "alice2")
        made_ms = time.time_ns() // 1_000_000
        await until_async(lambda: time.time_ns() // 1_000_000 > made_ms, "the clock to move on")
        await refresh(stage, first.refresh_token)
        third = await log_in(stage)
        for held in (first, third, other):
            assert stage.known(f"Bearer {held.token}")
        with pytest.raises(Unauthenticated, match="token revoked"):
            stage.known(f"Bearer {second.token}")

    told(tmp_path, story, {"logins_max": 2})


def test_guessing_is_stopped_and_right_passwords_cost_nothing(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        for _ in range(8):
            await log_in(stage)
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                await log_in(stage, password="wrong")
        with pytest.raises(RateLimited) as raised:
            await log_in(stage)
        assert raised.value.retry_after_s >= 1
        elsewhere = stage.context(client="198.51.100.7")
        with pytest.raises(RateLimited):
            await elsewhere.run(commands.login, user_id="alice", password="wrong")
        assert stage.auth.counts.logins == {"success": 8, "failed": 5, "limited": 2}

    told(tmp_path, story)


def test_logging_out_ends_the_login_and_no_other(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice")
        issued, other = await log_in(stage), await log_in(stage)
        who = stage.known(f"Bearer {issued.token}")
        for _ in range(2):
            await stage.context(who).run(commands.logout)
        with pytest.raises(Unauthenticated, match="token revoked"):
            stage.known(f"Bearer {issued.token}")
        assert await refusal(stage, issued.refresh_token) == "invalid refresh token"
        assert stage.known(f"Bearer {other.token}").id == "alice"
        key = stage.known(None, await stage.api_key("k1"))
        with pytest.raises(Invalid):
            await stage.context(key).run(commands.logout)
        with pytest.raises(Unauthenticated):
            await stage.context().run(commands.logout)

    told(tmp_path, story)


def test_verify_tells_whose_credentials_these_are(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice", policies=["dev"])
        issued = await log_in(stage)
        who = stage.known(f"Bearer {issued.token}")
        answer = await stage.context(who).run(queries.verify)
        expires = stage.auth.tokens.read(issued.token, "access").expires_at_s
        assert answer == {
            "expires": expires,
            "issuer": "konsul",
            "roles": ["user"],
            "policies": ["dev"],
            "user_id": "alice",
            "username": "Alice",
            "type": "user",
            "method": "jwt",
        }
        key = stage.known(None, await stage.api_key("k1"))
        assert "expires" not in await stage.context(key).run(queries.verify)
        with pytest.raises(Unauthenticated, match="missing authorization header"):
            await stage.context().run(queries.verify)

    told(tmp_path, story)


def test_the_first_token_is_made_once(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        async def first() -> object:
            try:
                return await stage.context().run(commands.bootstrap)
            except KonsulError as error:
                return type(error)

        came = await asyncio.gather(first(), first(), first())
        made = [one for one in came if one is not Conflict]
        assert len(made) == 1
        token: str = made[0].token  # type: ignore[attr-defined]
        assert re.fullmatch("konsul_[0-9a-f]{64}", token)
        assert stage.known(None, token.encode()).is_admin
        assert await first() is Conflict

    told(tmp_path, story)
