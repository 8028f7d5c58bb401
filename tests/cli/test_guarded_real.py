"""konsulctl auth, user, apikey and acl against a real guarded server."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.console import Console, Said
from tests.doors.guarded import PASSWORD, Guarded, guarded

DEV = {
    "name": "dev",
    "kv": [
        {"path": "app/**", "capabilities": ["read", "list", "write"]},
        {"path": "app/secret/**", "capabilities": ["deny"]},
    ],
}
TESTED = """\
ACL Test:
  Policies:   dev, ops
  Resource:   kv
  Path:       app/a
  Capability: read
  Result:     ALLOWED ✓
"""
EXPLAINED = """\
DENIED ✗  kv:read on app/secret/a
  Subject:  user {user} (user)
  Policies: dev
  Because:  policy dev rule 1 (kv app/secret/**)
  Default:  deny

Rules that match:
     dev kv[0]  app/**         read, write, list  allows
  >  dev kv[1]  app/secret/**  deny               denies
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("cli")) as found:
        yield found


@pytest.fixture
def space() -> str:
    """A name that no other test has."""
    return f"t-{uuid4().hex[:12]}"


@pytest.fixture
def root(console: Console, node: Guarded, monkeypatch: pytest.MonkeyPatch) -> Console:
    """konsulctl of an administrator, by an API key from a private file."""
    file = Path(f"{node.server.data_dir}-root")
    file.write_text(node.key)
    file.chmod(0o600)
    monkeypatch.setenv("KONSUL_SERVER", node.server.base_url)
    monkeypatch.setenv("KONSUL_API_KEY_FILE", str(file))
    return console


@pytest.fixture
def dev(node: Guarded, tmp_path: Path) -> Path:
    """The file of the policy dev, which is also stored."""
    node.policy("dev", kv=DEV["kv"])  # type: ignore[arg-type]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(DEV))
    return path


def private(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def expire(profiles: Path, node: Guarded) -> str:
    """Makes the token of the login that is kept seem to be over; returns it."""
    kept = profiles.with_name("konsulctl-logins.json")
    document = json.loads(kept.read_text())
    login = document[node.server.base_url]
    login["expires_at_s"] = 0
    kept.write_text(json.dumps(document))
    return str(login["token"])


def failed(said: Said, code: int, words: str) -> None:
    assert (said.code, said.text) == (code, "")
    assert words in said.errors


def test_a_policy_from_file_to_deletion(root: Console, tmp_path: Path, space: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(DEV | {"name": space}))
    assert root.ok("acl", "policy", "validate", str(path)).text == f"{path} is a valid policy\n"
    assert root.ok("acl", "policy", "create", str(path)).text == f"Policy created successfully: {space}\n"
    failed(root("acl", "policy", "create", str(path)), 4, "Policy already exists")
    assert f"  - {space}\n" in root.ok("acl", "policy", "list").text
    assert root.ok("acl", "policy", "get", space).json()["kv"] == DEV["kv"]
    assert root.ok("acl", "policy", "update", str(path)).text == f"Policy updated successfully: {space}\n"
    kept = root("acl", "policy", "delete", space, stdin=b"no\n")
    assert (kept.code, kept.text) == (0, "Deletion canceled\n")
    assert f"delete policy '{space}'? (yes/no)" in kept.errors
    deleted = root("acl", "policy", "delete", space, stdin=b"YES\n")
    assert (deleted.code, deleted.text) == (0, f"Policy deleted successfully: {space}\n")
    failed(root("acl", "policy", "delete", space, "--yes"), 3, "policy not found")


def test_a_document_without_sense(root: Console, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"name":"a b","kv":[{"path":"x","capabilities":["reed"]}]}')
    said = root("acl", "policy", "validate", str(path))
    assert said.code == 2
    assert said.text.splitlines() == [
        f'{path}: name is "a b": expected 1 to 64 of A-Z a-z 0-9 _ -',
        f'{path}: kv[0].capabilities[0] is "reed": expected read, write, list, delete or deny',
    ]
    found = root("acl", "validate", str(path), "--output", "json")
    assert [one["at"] for one in found.json()["problems"]] == ["name", "kv[0].capabilities[0]"]
    path.write_text("{")
    failed(root("acl", "policy", "create", str(path)), 2, "is not valid JSON")
    path.write_text("[]")
    failed(root("acl", "policy", "create", str(path)), 2, "expected a JSON object")
    path.write_text("{}")
    failed(root("acl", "policy", "update", str(path)), 2, "name is required")


@pytest.mark.usefixtures("dev")
def test_policies_are_tried(root: Console) -> None:
    assert root.ok("acl", "test", "dev,ops", "kv", "app/a", "read").text == TESTED
    denied = root("acl", "test", "dev", "kv", "web", "read")
    assert (denied.code, denied.text.splitlines()[-1]) == (0, "  Result:     DENIED ✗")
    assert root("acl", "test", "dev", "kv", "web", "read", "--exit-code").code == 1
    assert root("acl", "test", "dev", "kv", "app/a", "read", "--exit-code").code == 0
    assert root.ok("acl", "test", "dev", "kv", "web", "read", "--output", "json").json()["allowed"] is False
    failed(root("acl", "test", "dev", "planet", "web", "read"), 2, "Invalid resource type")


def test_a_decision_is_explained(root: Console, node: Guarded, dev: Path, space: str) -> None:
    node.user(space, "dev").close()
    explain = ("acl", "explain", "kv", "app/secret/a", "read")
    assert root.ok(*explain, "--user", space).text == EXPLAINED.format(user=space)
    for flags in (("--policies", "dev"), ("--document", str(dev))):
        assert root(*explain, *flags, "--exit-code").code == 1
        assert root.ok(*explain, *flags, "--output", "json").json()["rule"]["rule"] == "kv[1]"
    own = root.ok("acl", "explain", "admin", "-", "write")
    assert own.text.startswith("ALLOWED ✓  admin:write\n")
    table = root.ok(*explain, "--user", space, "--output", "table").text.splitlines()
    assert table[0].split() == ["policy", "source", "rule", "pattern", "capabilities", "effect", "decides"]
    failed(root(*explain, "--user", "a", "--policies", "b"), 2, "give at most one of")
    failed(root(*explain, "--user", "no-such"), 3, "user not found")


def test_a_user_from_making_to_deletion(root: Console, tmp_path: Path, space: str) -> None:
    secret = private(tmp_path / "password", f"{PASSWORD}\n")
    made = root.ok("user", "create", space, "--password-file", secret, "--policy", "a,b", "--policy", "c")
    assert made.text == f"Successfully created user: {space}\n"
    assert root.ok("user", "get", space, "--output", "json").json()["policies"] == ["a", "b", "c"]
    assert f"  {space}  user  a, b, c\n" in root.ok("user", "list").text
    root.ok("user", "update", space, "--policy", "", "--role", "admin")
    changed = root.ok("user", "get", space, "--output", "json").json()
    assert (changed["policies"], changed["roles"]) == ([], ["admin"])
    failed(root("user", "disable", space), 4, "last enabled user with the role admin")
    root.ok("user", "create", f"{space}-2", "--no-password", "--role", "admin")
    assert root.ok("user", "disable", space).text == f"Successfully disabled user: {space}\n"
    assert root.ok("user", "enable", space).text == f"Successfully enabled user: {space}\n"
    kept = root("user", "delete", space, stdin=b"n\n")
    assert (kept.code, "Deletion canceled" in kept.errors) == (0, True)
    assert root.ok("user", "delete", space, "--yes").text == f"Successfully deleted user: {space}\n"
    failed(root("user", "get", space), 3, "user not found")


def test_a_password_comes_from_no_argument(root: Console, tmp_path: Path, space: str) -> None:
    failed(root("user", "create", space), 2, "give the password with --password-file")
    root.ok("user", "create", space, "--password-file", "-", stdin=PASSWORD.encode())
    loose = tmp_path / "loose"
    loose.write_text(PASSWORD)
    loose.chmod(0o644)
    failed(root("user", "passwd", space, "--password-file", str(loose)), 2, "others may read it")
    other = private(tmp_path / "other", "battery staple")
    changed = root.ok("user", "passwd", space, "--password-file", other)
    assert changed.text == f"Successfully changed the password of {space}; all logins are over\n"


def test_a_key_from_making_to_deletion(root: Console, tmp_path: Path, space: str) -> None:
    said = root("apikey", "create", space, "--permission", "dev", "--meta", "a=b", "--expires-in", "1h")
    assert said.code == 0
    secret = said.text.strip()
    assert secret.startswith("konsul_")
    assert "shown this once" in said.errors
    key_id = said.errors.rsplit(" ", 1)[1].strip()
    shown = root.ok("apikey", "get", key_id, "--output", "json").json()
    assert (shown["name"], shown["permissions"], shown["metadata"]) == (space, ["dev"], {"a": "b"})
    assert secret not in root.ok("apikey", "list", "--output", "yaml").text
    file = tmp_path / "key"
    quiet = root.ok("apikey", "create", space, "--out", str(file), "--quiet")
    assert quiet.text == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("konsul_")
    failed(root("apikey", "create", space, "--out", str(file)), 2, "File exists")
    absent = tmp_path / "absent"
    failed(root("apikey", "create", space, "--permission", "a b", "--out", str(absent)), 2, "names no policy")
    assert not absent.exists(), "no key, no file"
    root.ok("apikey", "update", key_id, "--name", "new")
    root.ok("apikey", "revoke", key_id)
    assert f"{key_id}  new" in root.ok("apikey", "list").text
    root.ok("apikey", "enable", key_id)
    root.ok("apikey", "delete", key_id, "--yes")
    failed(root("apikey", "get", key_id), 3, "API key not found")


@pytest.mark.usefixtures("dev")
def test_a_login_from_password_to_logout(
    root: Console,
    node: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    quiet_home: Path,
    space: str,
) -> None:
    node.user(space, "dev").close()
    monkeypatch.delenv("KONSUL_API_KEY_FILE")
    ctl, secret = root, private(tmp_path / "password", PASSWORD)
    failed(ctl("auth", "whoami"), 1, "missing authorization header")
    failed(ctl("kv", "get", "app/a"), 1, "; log in with konsulctl auth login, or give --api-key-file or")
    failed(ctl("auth", "logout"), 3, "there is no login at")
    failed(ctl("auth", "login", space, "--password-file", private(tmp_path / "no", "no")), 1, "invalid")
    logged = ctl.ok("auth", "login", space, "--password-file", secret)
    assert logged.text == f"Logged in as {space} at {node.server.base_url}\n"
    kept = quiet_home.with_name("konsulctl-logins.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert ctl.ok("auth", "whoami", "--output", "json").json()["user_id"] == space
    ctl.ok("kv", "set", "app/a", "1")
    failed(ctl("kv", "get", "app/secret/a"), 1, "insufficient permissions: kv:read on app/secret/a (request")

    # The access token is over: the next command refreshes it by itself.
    before = expire(quiet_home, node)
    assert ctl.ok("kv", "get", "app/a").text == "1\n"
    after = ctl.ok("auth", "token").text.strip()
    assert after != before
    ctl.ok("auth", "refresh")
    assert ctl.ok("auth", "token").text.strip() != after
    out = ctl.ok("auth", "logout")
    assert out.text == f"Logged out {space} at {node.server.base_url}\n"
    failed(ctl("kv", "get", "app/a"), 1, "missing authorization header")


def test_a_login_that_was_ended_elsewhere_is_said_to_be_over(
    root: Console,
    node: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    quiet_home: Path,
    space: str,
) -> None:
    node.user(space).close()
    monkeypatch.delenv("KONSUL_API_KEY_FILE")
    root.ok("auth", "login", space, "--password-file", private(tmp_path / "password", PASSWORD))
    node.admin.delete(f"/auth/users/{space}").raise_for_status()
    failed(root("auth", "whoami"), 1, "token revoked")
    expire(quiet_home, node)
    failed(root("auth", "whoami"), 1, "is over")
    failed(root("auth", "refresh"), 3, "run konsulctl auth login")


def test_the_first_key_is_made_once(root: Console, tmp_path: Path) -> None:
    file = tmp_path / "root"
    failed(root("auth", "bootstrap", "--out", str(file)), 4, "the first token was made already")
    assert not file.exists()


def test_no_secret_is_shown_where_it_was_not_asked_for(root: Console, node: Guarded) -> None:
    for words in (("auth", "whoami"), ("apikey", "list"), ("user", "list"), ("auth", "jwks")):
        for form in ("text", "json", "yaml", "table"):
            said = root(*words, "--output", form)
            assert node.key not in said.text + said.errors
