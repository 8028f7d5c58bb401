"""The file of profiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.console import Console


def test_a_profile_is_added_used_listed_and_removed(console: Console, quiet_home: Path) -> None:
    assert console.ok("profile", "list").text == "No profiles found\n"
    file = quiet_home.with_name("t.txt")
    file.write_text("t")
    file.chmod(0o600)
    added = console.ok("profile", "add", "prod", "--server", "https://prod:1", "--token-file", str(file))
    file.unlink()
    assert added.text == "Successfully added profile: prod\n"
    console.ok("--server", "http://127.0.0.1:1", "profile", "add", "near", "--timeout", "1s")
    assert (
        console.ok("profile", "list").text
        == "Profiles:\n  near - http://127.0.0.1:1\n* prod - https://prod:1\n"
    )
    assert console.ok("profile", "use", "near").text == "Successfully chose profile: near\n"
    assert console("health", "live").errors.startswith(
        "Error getting liveness: cannot connect to http://127.0.0.1:1"
    )
    assert console("health", "live", "--profile", "prod").errors.startswith(
        f"Error getting liveness: cannot read the token file {file}"
    )
    assert console.ok("profile", "remove", "near").text == "Successfully removed profile: near\n"
    assert yaml.safe_load(quiet_home.read_text()) == {
        "current": "",
        "profiles": {"prod": {"server": "https://prod:1", "token_file": str(file)}},
    }


def test_secrets_are_stored_for_the_owner_only_and_never_shown(console: Console, quiet_home: Path) -> None:
    said = console.ok(
        "profile", "add", "p", "--server", "http://h:1", "--token", "t-hidden", "--api-key", "k-hidden"
    )
    assert "hidden" not in said.text
    assert quiet_home.stat().st_mode & 0o777 == 0o600
    assert "t-hidden" in quiet_home.read_text()
    for form in ("text", "table", "json", "yaml"):
        assert "hidden" not in console.ok("profile", "list", "--output", form).text
    shown = console.ok("profile", "list", "--output", "json").json()[0]
    assert {shown["token"], shown["api_key"]} == {"(set)"}


def test_a_file_others_can_read_is_warned_about_once_it_holds_secrets(
    console: Console, quiet_home: Path
) -> None:
    console.ok("profile", "add", "p", "--server", "http://127.0.0.1:1", "--token", "t")
    quiet_home.chmod(0o644)
    said = console("health", "live", "--timeout", "1s")
    assert said.errors.startswith("Warning: ")
    assert "chmod 600" in said.errors


@pytest.mark.parametrize(
    ("args", "code", "cause"),
    [
        (["profile", "add", "p"], 2, "give at least one of"),
        (["profile", "add", "p", "--server", "ftp://x"], 2, "is not an http://"),
        (["profile", "use", "absent"], 3, "'absent' is not in"),
        (["profile", "remove", "absent"], 3, "'absent' is not in"),
        (["health", "live", "--profile", "absent"], 3, "'absent' is not in"),
    ],
)
def test_refusals(console: Console, quiet_home: Path, args: list[str], code: int, cause: str) -> None:
    said = console(*args)
    assert said.code == code
    assert cause in said.errors
    assert not quiet_home.exists()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("a: [", "is not valid YAML"),
        ("- a", "must hold"),
        ("profiles: {a: 1}", "must hold"),
        ("profiles: {a: {sever: x}}", "unknown settings: sever"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(
    console: Console, quiet_home: Path, content: str, cause: str
) -> None:
    quiet_home.write_text(content)
    said = console("health", "live")
    assert said.code == 2
    assert str(quiet_home) in said.errors
    assert cause in said.errors


def test_a_file_that_cannot_be_written_is_named(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("KONSUL_CONFIG", str(file / "below.yaml"))
    said = console("profile", "add", "p", "--server", "http://h")
    assert said.code == 2
    assert "below.yaml" in said.errors


def test_a_choice_survives_a_flag_that_overrides_it(console: Console, quiet_home: Path) -> None:
    console.ok("profile", "add", "p", "--server", "http://127.0.0.1:9")
    said = console("health", "live", "--server", "http://127.0.0.1:1", "--timeout", "1s")
    assert "127.0.0.1:1:" in said.errors
    assert quiet_home.exists()
