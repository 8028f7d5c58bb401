"""Logins that konsulctl keeps: private, by server, refreshed once by whoever comes first."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from konsul.cli.logins import EARLY_S, Login, Logins, Renewing
from konsul.cli.secret_files import read_secret, write_secret
from konsul.client import Tokens
from konsul.errors import Invalid, Unauthenticated

HERE, THERE = "http://here:8888", "http://there:8888"


def login(name: str, *, holds_s: float = 900) -> Login:
    return Login.of("ann", Tokens(f"t-{name}", f"r-{name}", int(holds_s), 3_600))


class Server:
    """Exchanges refresh tokens, each once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, refresh_token: str) -> Tokens:
        if refresh_token in self.asked:
            raise Unauthenticated("invalid refresh token")
        self.asked.append(refresh_token)
        return Tokens(f"t-{len(self.asked)}", f"r-{len(self.asked)}", 900, 3_600)


@pytest.fixture
def logins(tmp_path: Path) -> Logins:
    return Logins(tmp_path / "new" / "logins.json")


def test_a_login_is_kept_by_server_in_a_private_file(logins: Logins) -> None:
    assert logins.get(HERE) is None
    logins.put(HERE, login("a"))
    logins.put(THERE, login("b"))
    found = logins.get(HERE)
    assert found is not None
    assert (found.user_id, found.token) == ("ann", "t-a")
    assert stat.S_IMODE(logins.path.stat().st_mode) == 0o600
    assert "t-a" not in repr(found)
    gone = logins.remove(HERE)
    assert gone == found
    assert logins.get(HERE) is None
    assert logins.get(THERE) is not None


def test_a_token_that_holds_is_used_as_it_is(logins: Logins) -> None:
    server = Server()
    assert logins.fresh(HERE, server) is None
    logins.put(HERE, login("a"))
    found = logins.fresh(HERE, server)
    assert found is not None
    assert (found.token, server.asked) == ("t-a", [])


@pytest.mark.parametrize("holds_s", [-1, 0, EARLY_S - 1])
def test_a_token_that_is_over_or_about_to_be_is_refreshed(logins: Logins, holds_s: float) -> None:
    logins.put(HERE, login("a", holds_s=holds_s))
    server = Server()
    found = logins.fresh(HERE, server)
    assert found is not None
    assert (found.token, server.asked) == ("t-1", ["r-a"])
    assert logins.get(HERE) == found
    assert logins.fresh(HERE, server) == found
    assert server.asked == ["r-a"]


def test_of_many_at_once_one_refreshes_and_all_use_it(logins: Logins) -> None:
    logins.put(HERE, login("a", holds_s=0))
    server, found = Server(), []
    together = threading.Barrier(8)

    def run() -> None:
        together.wait()
        found.append(Logins(logins.path).fresh(HERE, server))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["r-a"]
    assert {one.token for one in found if one is not None} == {"t-1"}
    assert len(found) == 8


def test_a_source_of_tokens_gives_the_one_of_now(logins: Logins) -> None:
    server = Server()
    source = Renewing(logins, HERE, server)
    with pytest.raises(Unauthenticated, match="there is no login"):
        source()
    logins.put(HERE, login("a", holds_s=0))
    assert [source(), source()] == ["t-1", "t-1"]
    assert server.asked == ["r-a"]


def test_a_login_that_is_over_is_forgotten_and_said_to_be(logins: Logins) -> None:
    logins.put(HERE, login("a", holds_s=0))

    def refuse(refresh_token: str) -> Tokens:
        raise Unauthenticated(f"{refresh_token and 'refresh token'} expired")

    with pytest.raises(Unauthenticated, match=r"the login of ann at http://here:8888 is over .*auth login"):
        logins.fresh(HERE, refuse)
    assert logins.get(HERE) is None


def test_others_may_not_read_it(logins: Logins) -> None:
    logins.put(HERE, login("a"))
    logins.path.chmod(0o640)
    with pytest.raises(Invalid, match=r"mode 0640, others may read it; run: chmod 600"):
        logins.get(HERE)


@pytest.mark.parametrize("content", ["{", "[]", '{"http://here:8888": {}}', '{"http://here:8888": 7}'])
def test_what_is_no_file_of_logins_is_said_to_be_none(logins: Logins, content: str) -> None:
    logins.path.parent.mkdir()
    logins.path.write_text(content)
    logins.path.chmod(0o600)
    with pytest.raises(Invalid, match="is no file of logins"):
        logins.get(HERE)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"s\n", 0o644, "has mode 0644, others may read it"),
        (b"s\n", 0o620, "has mode 0620"),
        (b" \n", 0o600, "it is empty"),
        (b"\xff", 0o600, "holds no token"),
        (b"x" * 70_000, 0o600, "it has over 65536 bytes"),
    ],
)
def test_a_secret_file_has_to_be_private_and_to_hold_one(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(Invalid, match=words):
        read_secret(str(path), "token")


def test_a_new_secret_goes_to_a_new_private_file_only(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(str(path), "s3cret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(str(path), "token") == "s3cret"
    with pytest.raises(Invalid, match="File exists"):
        write_secret(str(path), "other")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid, match="cannot write"):
        write_secret(str(tmp_path / "link"), "other")
    assert not (tmp_path / "elsewhere").exists()


def test_the_file_holds_what_is_needed_and_no_password(logins: Logins) -> None:
    logins.put(HERE, login("a"))
    found: dict[str, Any] = json.loads(logins.path.read_text())
    assert set(found[HERE]) == {
        "user_id",
        "token",
        "refresh_token",
        "expires_at_s",
        "refresh_expires_at_s",
    }
