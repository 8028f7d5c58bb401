"""Who calls: found out by any credential, remembered exactly, forgotten when something behind it changes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from konsul.errors import Unauthenticated
from konsul.features.auth import logins
from konsul.features.auth.logins import Issued
from konsul.features.auth.tables import ApiKeyRow, LoginRow, UserRow
from konsul.kernel import entry
from konsul.kernel.pipeline import ANONYMOUS, INSIDE, Identity
from tests.unit.auth.certified import certificate
from tests.unit.auth.stored import PASSWORD, Stage, told
from tests.waiting import until_async


async def logged_in(stage: Stage, user_id: str = "alice", **more: Any) -> Issued:
    await stage.user(user_id, **more)
    return await logins.begin(stage.auth, stage.engine, user_id, PASSWORD, "192.0.2.1")


def refusal(stage: Stage, authorization: str | None = None, key: bytes | None = None) -> str:
    with pytest.raises(Unauthenticated) as raised:
        stage.known(authorization, key)
    return str(raised.value)


def token(stage: Stage, index: int) -> str:
    """A token of a login that no table here has."""
    who: dict[str, Any] = {"user_id": "alice", "username": "Alice", "roles": ["user"], "policies": []}
    return f"Bearer {stage.auth.tokens.issue('access', **who, login_id='elsewhere', index=index)}"


def gone(stage: Stage, authorization: str | None = None, key: bytes | None = None) -> bool:
    try:
        stage.known(authorization, key)
    except Unauthenticated:
        return True
    return False


def test_nothing_brought_is_nobody(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        assert stage.known() is ANONYMOUS

    told(tmp_path, story)


def test_a_token_is_its_user_as_the_server_knows_it(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        issued = await logged_in(stage, policies=["ops", "dev"], roles=["admin", "user"])
        found = stage.known(f"Bearer {issued.token}")
        assert (found.kind, found.id, found.name, found.method) == ("user", "alice", "Alice", "jwt")
        assert (found.roles, found.policies) == (("admin", "user"), ("dev", "ops"))
        assert found.is_admin
        assert f"alice/{found.login_id}" in stage.logins()
        assert found.expires_at_s is not None
        assert 890 < found.expires_at_s - time.time() <= 905.1
        assert issued.token not in repr(found)

    told(tmp_path, story)


@pytest.mark.parametrize("form", ["X-API-Key", "Bearer", "ApiKey"])
def test_an_api_key_is_taken_in_every_form(tmp_path: Path, form: str) -> None:
    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1", permissions=["ops", "dev"])
        found = stage.known(None, key) if form == "X-API-Key" else stage.known(f"{form} {key.decode()}")
        assert (found.kind, found.id, found.name, found.method) == ("api_key", "k1", "the k1", "api_key")
        assert (found.policies, found.roles, found.token_id) == (("dev", "ops"), (), "k1")
        assert found.expires_at_s is None

    told(tmp_path, story)


def test_a_star_makes_a_key_an_administrator(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        found = stage.known(None, await stage.api_key("k1", permissions=["*", "dev"]))
        assert (found.is_admin, found.policies) == (True, ("dev",))
        plain = stage.known(None, await stage.api_key("k2", permissions=None))
        assert (plain.is_admin, plain.policies) == (False, ())

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("", "invalid authorization header format"),
        ("Bearer", "invalid authorization header format"),
        ("bearer a.b.c", "invalid authorization header format"),
        ("BEARER a.b.c", "invalid authorization header format"),
        ("Basic YTpi", "invalid authorization header format"),
        ("Bearer  a.b.c", "invalid authorization header format"),
        ("Bearer a.b.c d", "invalid authorization header format"),
        ("apikey konsul_1", "invalid authorization header format"),
        ("Bearer ", "token missing"),
        ("ApiKey ", "missing API key"),
        ("Bearer a.b.c", "invalid token"),
        ("Bearer abc", "invalid token"),
        ("Bearer konsul_abc", "invalid API key"),
        ("ApiKey abc", "invalid API key"),
        ("ApiKey a.b.c", "invalid API key"),
    ],
)
def test_headers_that_name_nobody(tmp_path: Path, header: str, error: str) -> None:
    async def story(stage: Stage) -> None:
        assert refusal(stage, header) == error

    told(tmp_path, story)


def test_keys_that_do_not_hold_say_why(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        assert refusal(stage, None, b"") == "missing API key"
        assert refusal(stage, None, b"konsul_none") == "invalid API key"
        assert refusal(stage, None, b"\xff\x00") == "invalid API key"
        over = await stage.api_key("over", expires_at_ms=1)
        off = await stage.api_key("off", enabled=False)
        assert refusal(stage, None, over) == "API key expired"
        assert refusal(stage, None, off) == "API key disabled"
        failures = stage.auth.identities.failures
        assert failures == {
            "missing API key": 1,
            "invalid API key": 2,
            "API key expired": 1,
            "API key disabled": 1,
        }

    told(tmp_path, story)


def test_two_credentials_must_be_of_one_caller(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        one, other = await stage.api_key("k1"), await stage.api_key("k2")
        issued = await logged_in(stage)
        assert stage.known(f"ApiKey {one.decode()}", one).id == "k1"
        for header in (f"ApiKey {other.decode()}", f"Bearer {issued.token}"):
            assert refusal(stage, header, one) == "invalid authorization header format"
        assert refusal(stage, "Bearer a.b.c", one) == "invalid token"

    told(tmp_path, story)


def test_a_key_in_the_place_of_a_header_is_not_taken_for_it(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        header = f"Bearer {(await logged_in(stage)).token}"
        assert stage.known(header).id == "alice"
        assert refusal(stage, None, header.encode()) == "invalid API key"

    told(tmp_path, story)


def test_a_known_credential_is_not_verified_again(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        header, key = f"Bearer {(await logged_in(stage)).token}", await stage.api_key("k1")
        for _ in range(3):
            assert (stage.known(header).id, stage.known(None, key).id) == ("alice", "k1")
        assert (stage.auth.identities.misses, stage.auth.identities.entries()) == (2, 2)

    told(tmp_path, story)


def test_what_does_not_hold_is_not_remembered(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        for number in range(20):
            assert gone(stage, f"Bearer a.b.{number}")
        assert stage.auth.identities.entries() == 0

    told(tmp_path, story)


@pytest.mark.parametrize("what", ["login ended", "user disabled", "user deleted", "logins ended"])
def test_tokens_end_with_what_they_rest_on(tmp_path: Path, what: str) -> None:
    async def story(stage: Stage) -> None:
        header = f"Bearer {(await logged_in(stage)).token}"
        login = stage.known(header).login_id
        if what == "login ended":
            await stage.delete(LoginRow, f"alice/{login}")
        elif what == "user disabled":
            await stage.change(UserRow, "alice", enabled=False)
        elif what == "user deleted":
            await stage.delete(UserRow, "alice")
        else:
            await stage.engine.commit(entry.encode([entry.case([], [logins.ends_all("alice")])]))
        await until_async(lambda: gone(stage, header), "the token to end")
        assert refusal(stage, header) == "token revoked"
        assert stage.logins() == []

    told(tmp_path, story)


def test_logins_of_a_user_whose_name_begins_alike_stay(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        header = f"Bearer {(await logged_in(stage, 'alice2')).token}"
        await stage.engine.commit(entry.encode([entry.case([], [logins.ends_all("alice")])]))
        assert stage.known(header).id == "alice2"

    told(tmp_path, story)


def test_roles_and_policies_are_those_of_now(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        header = f"Bearer {(await logged_in(stage, roles=['admin'])).token}"
        key = await stage.api_key("k1", permissions=["*"])
        assert stage.known(header).is_admin
        assert stage.known(None, key).is_admin
        await stage.change(UserRow, "alice", roles=["user"], policies=["read"])
        await stage.change(ApiKeyRow, "k1", permissions=["read"])
        await until_async(lambda: not stage.known(header).is_admin, "the role to be gone")
        await until_async(lambda: not stage.known(None, key).is_admin, "the star to be gone")
        assert stage.known(header).policies == stage.known(None, key).policies == ("read",)

    told(tmp_path, story)


@pytest.mark.parametrize("what", ["disabled", "deleted", "expired"])
def test_keys_end_when_their_row_says_so(tmp_path: Path, what: str) -> None:
    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1")
        assert stage.known(None, key).id == "k1"
        if what == "disabled":
            await stage.change(ApiKeyRow, "k1", enabled=False)
        elif what == "expired":
            await stage.change(ApiKeyRow, "k1", expires_at_ms=1)
        else:
            await stage.delete(ApiKeyRow, "k1")
        await until_async(lambda: gone(stage, None, key), "the key to end")
        error = refusal(stage, None, key)
        assert error == {"deleted": "invalid API key"}.get(what, f"API key {what}")

    told(tmp_path, story)


def test_a_remembered_key_expires_by_itself(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        soon_ms = time.time_ns() // 1_000_000 + 300
        key = await stage.api_key("k1", expires_at_ms=soon_ms)
        assert stage.known(None, key).expires_at_s == soon_ms / 1_000
        assert stage.auth.identities.entries() == 1
        await until_async(lambda: gone(stage, None, key), "the key to expire")
        assert refusal(stage, None, key) == "API key expired"

    told(tmp_path, story)


def test_a_refreshed_login_keeps_its_access_tokens(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        issued = await logged_in(stage)
        assert stage.known(f"Bearer {issued.token}").id == "alice"
        await logins.refresh(stage.auth, stage.engine, issued.refresh_token)
        assert stage.known(f"Bearer {issued.token}").id == "alice"
        assert stage.auth.identities.misses == 1

    told(tmp_path, story)


def test_a_change_while_one_is_verified_is_not_lost(tmp_path: Path) -> None:
    """The row was read, then it changed, then what was read would be remembered: for ever."""

    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1")
        identities = stage.auth.identities
        verify = identities._by_key

        def overtaken(text: bytes) -> Identity:
            found = verify(text)
            identities.forget(ApiKeyRow.table_id, b"k1")
            return found

        identities._by_key = overtaken  # type: ignore[method-assign]
        assert stage.known(None, key).id == "k1"
        assert identities.entries() == 0
        identities._by_key = verify  # type: ignore[method-assign]
        assert stage.known(None, key).id == "k1"
        assert identities.entries() == 1

    told(tmp_path, story)


def test_the_oldest_make_room_and_leave_nothing_behind(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        identities = stage.auth.identities
        keys = [await stage.api_key(f"k{number}") for number in range(6)]
        for key in keys:
            stage.known(None, key)
        assert identities.entries() == 3
        assert {row[1] for row in identities._concerned} == {b"k3", b"k4", b"k5"}
        for number in range(6):
            identities.forget(ApiKeyRow.table_id, f"k{number}".encode())
        assert (identities.entries(), identities._concerned) == (0, {})

    told(tmp_path, story, {"identities_max": 3})


def test_without_its_watches_nothing_is_remembered(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key = await stage.api_key("k1")
        stage.known(None, key)
        stage.kernel.watching.stop()
        assert stage.auth.identities.entries() == 0
        stage.known(None, key)
        assert stage.auth.identities.entries() == 0
        await until_async(lambda: stage.auth.identities.remembers, "the watches to stand again")

    told(tmp_path, story)


def test_a_login_this_node_has_not_heard_of_yet_counts(tmp_path: Path) -> None:
    """It was made on another node of the cluster, at an index that this one has not reached."""

    async def story(stage: Stage) -> None:
        await stage.user("alice")
        stage.auth.tokens.cluster = lambda: "0123456789abcdef"
        index = stage.engine.contact()[2]
        assert refusal(stage, token(stage, index)) == "token revoked"
        ahead = token(stage, index + 1)
        found = stage.known(ahead)
        assert (found.id, stage.auth.identities.entries()) == ("alice", 0)
        assert stage.auth.identities.renew(found) is found
        await stage.user("bob")
        assert refusal(stage, ahead) == "token revoked", "the index is reached, and there is no such login"
        with pytest.raises(Unauthenticated, match="token revoked"):
            stage.auth.identities.renew(found)

    told(tmp_path, story)


def test_tokens_of_another_cluster_or_another_life_of_this_one_are_nobodys(tmp_path: Path) -> None:
    """They share the secret, and their index is far ahead."""

    async def story(stage: Stage) -> None:
        tokens = stage.auth.tokens
        assert refusal(stage, token(stage, 10**9)) == "token revoked", "a lone node is never behind"
        tokens.cluster = lambda: "0123456789abcdef"
        elsewhere = token(stage, 10**9)
        tokens.cluster = lambda: "fedcba9876543210"
        assert refusal(stage, elsewhere) == "token revoked"
        tokens._now_s = lambda: time.time() - 60
        late = token(stage, 10**9)
        tokens._now_s = time.time
        assert refusal(stage, late) == "token revoked", "no node is behind for so long"
        assert stage.known(token(stage, 10**9)).id == "alice"

    told(tmp_path, story)


def test_renewing_tells_who_it_is_now(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        issued, key = await logged_in(stage), await stage.api_key("k1")
        renew = stage.auth.identities.renew
        user, by_key = stage.known(f"Bearer {issued.token}"), stage.known(None, key)
        assert (renew(ANONYMOUS), renew(INSIDE)) == (ANONYMOUS, INSIDE)
        assert renew(user) is user
        assert renew(by_key) is by_key
        await stage.change(UserRow, "alice", policies=["more"])
        await stage.change(ApiKeyRow, "k1", permissions=["*"])
        assert renew(user).policies == ("more",)
        assert renew(by_key).is_admin
        for who, error in ((user, "token expired"), (by_key, "API key expired")):
            with pytest.raises(Unauthenticated, match=error):
                renew(replace(who, expires_at_s=1.0))
        await stage.delete(UserRow, "alice")
        await stage.delete(ApiKeyRow, "k1")
        for who, error in ((user, "token revoked"), (by_key, "invalid API key")):
            with pytest.raises(Unauthenticated, match=error):
                renew(who)

    told(tmp_path, story)


def test_a_certificate_names_its_user(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.user("alice", policies=["dev"])
        found = stage.known(cert=certificate("alice"))
        assert (found.kind, found.id, found.method) == ("user", "alice", "certificate")
        assert (found.policies, found.login_id) == (("dev",), "")
        key = await stage.api_key("k1")
        assert stage.known(None, key, certificate("alice")).id == "k1", "what is brought on purpose counts"
        known = certificate("alice")
        assert stage.known(cert=known).id == "alice"
        await stage.change(UserRow, "alice", enabled=False)
        for who in ("alice", "bob", "alice/x", ""):
            with pytest.raises(Unauthenticated, match="certificate names no user"):
                stage.known(cert=certificate(who) if who else b"no certificate")
        for old in (certificate("alice", "alice"), certificate("alice", days=-1)):
            with pytest.raises(Unauthenticated, match="certificate"):
                stage.known(cert=old)

    told(tmp_path, story)
