"""Settings: four sources, one precedence, and nothing that falls back silently."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from konsul.kernel.config import ConfigError, Settings, declarations, load, setting
from konsul.kernel.duration import format_duration_ms, parse_duration_ms
from konsul.kernel.notices import notices
from konsul.kernel.settings import (
    GROUPS,
    MIB,
    HttpSettings,
    KvSettings,
    LogSettings,
    RaftSettings,
    StorageSettings,
    max_body_bytes,
)
from konsul.kernel.values import BOOL, FLOAT, INT, LIST, TEXT


class Sample(Settings):
    """One of each kind that the server's own settings do not have."""

    secret: str = setting(
        "KONSUL_SAMPLE_SECRET", TEXT, default="", doc="", secret=True, check=lambda _: "more"
    )
    ratio: float = setting("KONSUL_SAMPLE_RATIO", FLOAT, default=1.0, doc="")
    items: tuple[str, ...] = setting("KONSUL_SAMPLE_ITEMS", LIST, default=("a",), doc="")
    count: int = setting("KONSUL_SAMPLE_COUNT", INT, default=1, doc="")
    on: bool = setting("KONSUL_SAMPLE_ON", BOOL, default=False, doc="")


def sample(**environ: str) -> Sample:
    return load([Sample], environ={f"KONSUL_SAMPLE_{name}": text for name, text in environ.items()}).of(
        Sample
    )


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "konsul.toml"
    file.write_text('port = 1001\nlog_level = "debug"\n[kv]\nmax_value_bytes = "1MiB"\n')
    environ = {"KONSUL_CONFIG_FILE": str(file), "KONSUL_PORT": "1002", "KONSUL_LOG_LEVEL": "warn"}
    config = load(GROUPS, environ=environ, flags={"KONSUL_PORT": "1003"})
    assert config.of(HttpSettings).port == 1003
    assert config.of(LogSettings).level == "warn"
    assert config.of(KvSettings).max_value_bytes == MIB
    assert config.of(StorageSettings).data_dir == "./data"
    assert config.sources["KONSUL_PORT"] == "--port"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("KONSUL_PORT", "abc", "a whole number"),
        ("KONSUL_PORT", "0", "a port from 1 to 65535"),
        ("KONSUL_PORT", "8_888", "a whole number"),
        ("KONSUL_PORT", "٣", "a whole number"),
        ("KONSUL_LOG_LEVEL", "WARN", "one of debug, info, warn, error"),
        ("KONSUL_SERVICE_TTL", "30", "a duration with a unit"),
        ("KONSUL_SERVICE_TTL", "-1s", "a duration with a unit"),
        ("KONSUL_SERVICE_TTL", "0s", "1ms to 8760h"),
        ("KONSUL_SYNC_WRITES", "yes", "true or false"),
        ("KONSUL_KV_MAX_VALUE_BYTES", "65MiB", "1 to 64MiB"),
        ("KONSUL_KV_MAX_VALUE_BYTES", "1 MB", "a number of bytes"),
        ("KONSUL_PERSISTENCE_TYPE", "rocks", "one of durable, memory, badger"),
    ],
)
def test_a_value_that_does_not_parse_names_itself(name: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(GROUPS, environ={name: text})
    message = str(refused.value)
    assert message.startswith(f"{name} is {text!r} (environment): expected {expected}")


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        load(GROUPS, environ={"KONSUL_PORT": "x", "KONSUL_LOG_FORMAT": "xml"})
    assert "KONSUL_PORT" in str(refused.value)
    assert "KONSUL_LOG_FORMAT" in str(refused.value)


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        sample(SECRET="hunter2")
    assert str(refused.value) == "KONSUL_SAMPLE_SECRET is (not shown) (environment): expected more"


def test_empty_means_unset_and_so_does_a_list_of_blanks() -> None:
    assert load(GROUPS, environ={"KONSUL_PORT": ""}).of(HttpSettings).port == 8888
    assert sample(ITEMS=" , ,").items == ("a",)
    assert sample(ITEMS=" b ,, c").items == ("b", "c")


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true_has_six_spellings(text: str) -> None:
    assert sample(ON=text).on is True


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "0x1", ""])
def test_a_float_is_a_plain_decimal(text: str) -> None:
    if text:
        with pytest.raises(ConfigError):
            sample(RATIO=text)
    else:
        assert sample(RATIO=text).ratio == 1.0


def test_heartbeats_that_cannot_work_are_refused_with_both_values() -> None:
    with pytest.raises(ConfigError) as refused:
        load(GROUPS, environ={"KONSUL_RAFT_HEARTBEAT_TIMEOUT": "500ms"})
    assert "KONSUL_RAFT_HEARTBEAT_TIMEOUT (500ms)" in str(refused.value)
    assert "KONSUL_RAFT_ELECTION_TIMEOUT (1s)" in str(refused.value)
    fast = {"KONSUL_RAFT_HEARTBEAT_TIMEOUT": "50ms", "KONSUL_RAFT_ELECTION_TIMEOUT": "300ms"}
    assert load(GROUPS, environ=fast).of(RaftSettings).election_timeout_ms == 300


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("port = ", "is not TOML"),
        ("prot = 1", "prot, which is not a setting"),
        ("port = 1\n[po]\nrt = 1", "po_rt, which is not a setting"),
        ("[kv]\nmax_value_bytes = 1\n[kv.max]\nvalue_bytes = 1", "twice"),
        ("port = 1.5", "expected a whole number"),
        ("port = 2026-01-01", "expected text, a number"),
    ],
)
def test_a_file_is_read_strictly(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "konsul.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        load(GROUPS, environ={}, flags={"KONSUL_CONFIG_FILE": str(file)})


def test_a_missing_file_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(GROUPS, environ={"KONSUL_CONFIG_FILE": "nowhere.toml"})


def test_variables_without_effect_are_named_but_not_their_values() -> None:
    environ = {
        "KONSUL_MQTT_PASSWORD": "hunter2",
        "KONSUL_AUTH_ENABLED": "false",
        "KONSUL_HTTP_PORT": "1",
        "KONSUL_TOKEN": "t",
        "KONSUL_TOKEN_FILE": "f",
        "KONSUL_CONFIG": "c",
        "KONSUL_PORT": "1",
        "KONSUL_TRACING_ENABLED": "",
        "HOME": "x",
    }
    said = notices(environ, declarations(GROUPS))
    assert said == [
        "KONSUL_CONFIG is not a setting of this server; did you mean KONSUL_CONFIG_FILE?",
        "KONSUL_HTTP_PORT is not a setting of this server; did you mean KONSUL_PORT?",
        "KONSUL_MQTT_PASSWORD is not used yet",
    ]


def test_a_large_value_limit_grows_the_body_limit() -> None:
    environ = {"KONSUL_KV_MAX_VALUE_BYTES": "16MiB"}
    config = load(GROUPS, environ=environ)
    assert max_body_bytes(config.of(HttpSettings), config.of(KvSettings)) == 32 * MIB
    config = load(GROUPS, environ={})
    assert max_body_bytes(config.of(HttpSettings), config.of(KvSettings)) == 4 * MIB


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("300ms", 300),
        ("1.5h", 5_400_000),
        ("2h45m", 9_900_000),
        ("1ns", 1),
        (".5s", 500),
        ("1.s", 1_000),
        ("0", 0),
    ],
)
def test_go_durations_are_read(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "30", "s", ".s", "1 s", "1d", "-1s", "+1s", "1s ", "99999999h", "1s1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (250, "250ms"),
        (1_500, "1.5s"),
        (182_500, "3m2.5s"),
        (3_600_000, "1h0m0s"),
        (60_000, "1m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(ms: int, text: str) -> None:
    assert format_duration_ms(ms) == text
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "KONSUL_AUDIT_ENABLED",
            "true",
            "KONSUL_AUDIT_ENABLED is on, and this server does not have that protection",
        ),
        ("KONSUL_RATE_LIMIT_ENABLED", "1", "KONSUL_RATE_LIMIT_ENABLED is on"),
        ("KONSUL_AUDIT_ENABLED", "yes", "KONSUL_AUDIT_ENABLED is 'yes'"),
        ("KONSUL_REQUIRE_AUTH", "true", "KONSUL_REQUIRE_AUTH is on, but nothing would check credentials"),
        ("KONSUL_ACL_ENABLED", "true", "KONSUL_ACL_ENABLED is on, but nobody would have an identity"),
        ("KONSUL_ACL_ENABLED", "yes", "KONSUL_ACL_ENABLED is 'yes'"),
    ],
)
def test_a_protection_that_is_not_there_refuses_the_start(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(GROUPS, environ={name: value}, notice=notices)
