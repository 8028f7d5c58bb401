"""`konsulctl kv` through a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from konsul.client import Client
from tests.cli.console import Console
from tests.conftest import LiveServer
from tests.waiting import until

TREE = {"t/a": "1", "t/b/c": "2", "t/b/d": "3", "t/e": "4"}


@pytest.fixture(scope="module", autouse=True)
def _tree(server: LiveServer) -> None:
    with Client(server.base_url) as client:
        client.kv.set_many({**TREE, "x/text": "grün", "other": "o"})
        client.kv.set("x/bytes", b"\x00\xff\n", flags=7)


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (["get", "t/a"], "1\n"),
        (["get", "x/text"], "grün\n"),
        (["get", "t/a", "--raw"], "1"),
        (["get", "t/a", "--output", "raw"], "1"),
        (["get", "t/a", "--consistency", "linearizable"], "1\n"),
        (["list", "t/", "--quiet"], "t/a\nt/b/c\nt/b/d\nt/e\n"),
        (["list", "--prefix", "t/", "--keys"], "t/a\nt/b/c\nt/b/d\nt/e\n"),
        (["list", "t/"], "Keys:\n  t/a\n  t/b/c\n  t/b/d\n  t/e\n"),
        (["list", "t/", "--separator", "/"], "Keys:\n  t/a\n  t/b/\n  t/e\n"),
        (["list", "t/b", "--recurse"], "Keys:\n  t/b/c = 2\n  t/b/d = 3\n"),
        (["list", "t/b", "--recurse", "--quiet"], "t/b/c = 2\nt/b/d = 3\n"),
        (["list", "absent/"], "No keys found\n"),
        (["list", "absent/", "--recurse"], "No keys found\n"),
        (["list", "absent/", "--output", "json"], "[]\n"),
        (["list", "t/b", "--output", "yaml"], "- t/b/c\n- t/b/d\n"),
        (["delete", "absent"], "Successfully deleted key: absent\n"),
        (["delete", "absent/", "--recurse"], "Successfully deleted keys with prefix: absent/\n"),
    ],
)
def test_reads_and_what_they_print(ctl: Console, args: list[str], output: str) -> None:
    assert ctl.ok("kv", *args).text == output


@pytest.mark.parametrize(
    ("args", "code", "errors"),
    [
        (["get", "absent"], 3, "Error getting key: key not found\n"),
        (["set", "absent", "v", "--cas", "5"], 3, "Error setting key: key not found\n"),
        (["delete", "absent", "--cas", "5"], 3, "Error deleting key: key not found\n"),
        (["set", "t/a", "v", "--cas", "0"], 4, "Error setting key: server error: CAS conflict for key 't/a'"),
        (["delete", "t/a", "--cas", "0"], 4, "Error deleting key: server error: CAS conflict for key 't/a'"),
        (["set", "t/a", "v", "--ttl", "x"], 2, "Error setting key: server error: Bad Request - Invalid TTL"),
        (["get", "k" * 1025], 2, "Error getting key: server error: Bad Request - "),
        (["get", "a", "--consistency", "odd"], 2, "Error getting key: server error: Bad Request - "),
    ],
)
def test_refusals_and_how_they_are_told(ctl: Console, args: list[str], code: int, errors: str) -> None:
    said = ctl("kv", *args)
    assert (said.code, said.output) == (code, b"")
    assert said.errors.startswith(errors)
    assert code == 3 or "(request " in said.errors or "CAS" in said.errors


def test_a_value_is_set_read_and_deleted(ctl: Console) -> None:
    assert ctl.ok("kv", "set", "w/one", "first value").text == "Successfully set w/one = first value\n"
    found = ctl.ok("kv", "get", "w/one", "--output", "json").json()
    assert {name: found[name] for name in ("key", "value", "flags")} == {
        "key": "w/one",
        "value": "first value",
        "flags": 0,
    }
    assert found["create_index"] == found["modify_index"] > 0
    assert ctl.ok("kv", "delete", "w/one").text == "Successfully deleted key: w/one\n"
    assert ctl("kv", "get", "w/one").code == 3


def test_compare_and_set_from_the_printed_index(ctl: Console) -> None:
    created = ctl.ok("kv", "set", "w/cas", "1", "--cas", "0", "--output", "json").json()["modify_index"]
    changed = ctl.ok("kv", "set", "w/cas", "2", "--cas", str(created), "--output", "json").json()[
        "modify_index"
    ]
    assert changed > created
    assert ctl("kv", "set", "w/cas", "3", "--cas", str(created)).code == 4
    assert ctl.ok("kv", "delete", "w/cas", "--cas", str(changed)).code == 0


def test_values_from_input_and_files(ctl: Console, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"\x00\x01\xfe")
    assert ctl.ok("kv", "set", "w/in", "-", stdin=b"piped\n").text == "Successfully set w/in (6 bytes)\n"
    assert ctl.ok("kv", "get", "w/in", "--raw").output == b"piped\n"
    for args in ([f"@{file}"], ["--file", str(file)]):
        ctl.ok("kv", "set", "w/file", *args)
        assert ctl.ok("kv", "get", "w/file", "--raw").output == b"\x00\x01\xfe"
        ctl.ok("kv", "delete", "w/file")
    assert ctl.ok("kv", "set", "w/dash", "--", "-5").text == "Successfully set w/dash = -5\n"
    assert ctl.ok("kv", "set", "w/empty", "").text == "Successfully set w/empty = \n"
    assert ctl.ok("kv", "get", "w/empty").text == "\n"


def test_bytes_keep_their_form_in_every_output(ctl: Console) -> None:
    assert ctl.ok("kv", "get", "x/bytes", "--raw").output == b"\x00\xff\n"
    found = ctl.ok("kv", "get", "x/bytes", "--output", "json").json()
    assert (found["value"], found["encoding"], found["flags"]) == ("AP8K", "base64", 7)
    table = ctl.ok("kv", "get", "x/bytes", "--output", "table").text
    assert table.split()[:4] == ["key", "value", "flags", "modify_index"]
    assert table.split()[4:7] == ["x/bytes", "AP8K", "7"]
    assert ctl.ok("kv", "list", "x/bytes", "--recurse", "--output", "raw").text == "x/bytes = AP8K\n"


def test_keys_with_every_awkward_character(ctl: Console) -> None:
    for key in ("a b", "q?x#y%41", "ü/ö", "//lead", "trail/", "..", "a/./b", "+&=", "--flag"):
        ctl.ok("kv", "set", "--", f"odd/{key}", key)
        assert ctl.ok("kv", "get", "--", f"odd/{key}").text == f"{key}\n"
    listed = ctl.ok("kv", "list", "odd/", "--keys").text.splitlines()
    assert listed == sorted(listed, key=str.encode)
    assert len(listed) == 9


def test_a_ttl_ends_a_key(ctl: Console) -> None:
    ctl.ok("kv", "set", "w/ttl", "short", "--ttl", "50ms")
    until(lambda: ctl("kv", "get", "w/ttl").code == 3, "the key's end")
    ctl.ok("kv", "set", "w/ttl", "long", "--ttl", "1h")
    assert "expires_at" in ctl.ok("kv", "get", "w/ttl", "--output", "json").json()


def test_recursive_delete(ctl: Console) -> None:
    for key in ("d/1", "d/2/3", "dx"):
        ctl.ok("kv", "set", key, "v")
    ctl.ok("kv", "delete", "d/", "--recurse")
    assert ctl.ok("kv", "list", "d", "--keys").text == "dx\n"
    assert ctl("kv", "delete", "", "--recurse").code == 2


def test_an_export_is_imported_whole(ctl: Console, tmp_path: Path) -> None:
    exported = ctl.ok("kv", "export", "x/").output
    lines = [json.loads(line) for line in exported.splitlines()]
    assert lines == [
        {"key": "x/bytes", "value": "AP8K", "encoding": "base64", "flags": 7},
        {"key": "x/text", "value": "grün"},
    ]
    assert (
        ctl.ok("kv", "import", "--prefix", "copy/", stdin=exported).text == "Successfully imported 2 keys\n"
    )
    found = ctl.ok("kv", "get", "copy/x/bytes", "--output", "json").json()
    assert (found["value"], found["flags"]) == ("AP8K", 7)
    file = tmp_path / "kv.json"
    file.write_text('{"kv": {"m/1": "a", "m/2": "b"}}')
    assert ctl.ok("kv", "import", str(file), "--output", "json").json() == {"count": 2}
    assert ctl.ok("kv", "list", "m/", "--recurse", "--quiet").text == "m/1 = a\nm/2 = b\n"


def test_quiet_writes_say_nothing(ctl: Console) -> None:
    assert ctl.ok("kv", "set", "w/q", "v", "--quiet").output == b""
    assert ctl.ok("--quiet", "kv", "delete", "w/q").output == b""


def test_a_listing_longer_than_a_page(ctl: Console, server: LiveServer) -> None:
    with Client(server.base_url) as client:
        client.kv.set_many({f"many/{n:05}": "v" for n in range(2500)})
    listed = ctl.ok("kv", "list", "many/", "--keys").text.splitlines()
    assert listed == [f"many/{n:05}" for n in range(2500)]
    assert len(ctl.ok("kv", "list", "many/", "--recurse", "--output", "json").json()) == 2500
