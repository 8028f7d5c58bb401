"""The switches of protection at the start: what is refused, where a node listens, who is public."""

from __future__ import annotations

from typing import Any, cast

import pytest

from konsul.doors.http.admission import ClientAddresses, PublicPaths
from konsul.features import FEATURES
from konsul.kernel.config import ConfigError, load
from konsul.kernel.feature import load_all
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.route_classes import ALL, class_of
from konsul.kernel.settings import GROUPS
from konsul.server import guards
from konsul.server.main import serve


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, "127.0.0.1"),
        ({"KONSUL_AUTH_ENABLED": "true"}, "0.0.0.0"),  # noqa: S104 - the point of it
        ({"KONSUL_AUTH_ENABLED": "true", "KONSUL_REQUIRE_AUTH": "false"}, "127.0.0.1"),
        ({"KONSUL_AUTH_ENABLED": "true", "KONSUL_HOST": "10.0.0.1"}, "10.0.0.1"),
        ({"KONSUL_HOST": "::1"}, "::1"),
    ],
)
def test_only_who_asks_for_credentials_listens_everywhere(environ: dict[str, str], host: str) -> None:
    assert guards.listen_host(load(GROUPS, environ=environ)) == host


@pytest.mark.parametrize(
    ("environ", "without", "said"),
    [
        ({"KONSUL_AUTH_ENABLED": "true"}, "auth", "KONSUL_AUTH_ENABLED is on, and this server has no auth"),
        (
            {"KONSUL_AUTH_ENABLED": "true", "KONSUL_ACL_ENABLED": "true"},
            "acl",
            "KONSUL_ACL_ENABLED is on, and this server has no acl",
        ),
    ],
)
def test_a_server_without_the_feature_refuses_its_switch(
    environ: dict[str, str], without: str, said: str
) -> None:
    config = load(GROUPS, environ=environ)
    guards.check(config, load_all(FEATURES))
    with pytest.raises(ConfigError, match=said):
        guards.check(config, load_all(word for word in FEATURES if word != without))


def test_policies_of_dns_need_somebody_who_reads_them() -> None:
    environ = {"KONSUL_DNS_POLICIES": "names", "KONSUL_AUTH_ENABLED": "true"}
    with pytest.raises(ConfigError, match="KONSUL_DNS_POLICIES names policies"):
        guards.check(load(GROUPS, environ=environ), load_all(FEATURES))
    guards.check(load(GROUPS, environ=environ | {"KONSUL_ACL_ENABLED": "true"}), load_all(FEATURES))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KONSUL_PUBLIC_PATHS", "health"),
        ("KONSUL_PUBLIC_PATHS", "/a/*/b"),
        ("KONSUL_TRUSTED_PROXIES", "proxy.example"),
        ("KONSUL_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("KONSUL_ACL_DEFAULT_POLICY", "ask"),
    ],
)
def test_what_cannot_be_meant_refuses_the_start(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load(GROUPS, environ={name: value})


class Composed:
    """As much of a kernel as public paths need."""

    def __init__(self, **environ: str) -> None:
        self.config = load(GROUPS, environ=environ)
        self.features = load_all(FEATURES)


def public(**environ: str) -> PublicPaths:
    return PublicPaths.of(cast(Any, Composed(**environ)))


@pytest.mark.parametrize(
    ("method", "path", "is_public"),
    [
        ("GET", "/health", True),
        ("HEAD", "/health/live", True),
        ("GET", "/health/checks", False),
        ("GET", "/HEALTH", False),
        ("GET", "/metrics", True),
        ("GET", "/metrics/x", False),
        ("GET", "/admin/assets/app.js", True),
        ("GET", "/admin/assets", False),
        ("GET", "/admin/ratelimit/stats", False),
        ("POST", "/auth/login", True),
        ("GET", "/auth/login", False),
        ("POST", "/auth/LOGIN", False),
        ("HEAD", "/auth/jwks", True),
        ("GET", "/", False),
    ],
)
def test_what_needs_no_credentials(method: str, path: str, is_public: bool) -> None:
    assert public().cover(method, path) is is_public


def test_the_setting_replaces_the_default_but_not_where_credentials_are_come_by() -> None:
    paths = public(KONSUL_PUBLIC_PATHS="/health/live/,/docs/*")
    assert paths.cover("GET", "/health/live")
    assert paths.cover("GET", "/docs/a/b")
    assert not paths.cover("GET", "/metrics")
    assert paths.cover("POST", "/auth/refresh")


def test_nobody_is_believed_who_is_not_named() -> None:
    of = ClientAddresses(["10.0.0.0/8", "fd00::/8"])
    assert of("192.0.2.1", b"198.51.100.1") == "192.0.2.1"
    assert of("10.0.0.1", b"198.51.100.1, 10.0.0.2") == "198.51.100.1"
    assert of("::ffff:10.0.0.1", b"198.51.100.1") == "198.51.100.1"
    assert of("fd00::1", b"2001:db8::1%eth0") == "fd00::1"
    assert of("10.0.0.1", b"6.6.6.6, 198.51.100.1, 10.9.9.9") == "198.51.100.1"
    assert of("unknown", b"198.51.100.1") == "unknown"


@pytest.mark.parametrize(
    ("method", "path", "is_a"),
    [
        ("GET", "/kv/a", "read"),
        ("PUT", "/kv/watch/a", "write"),
        ("GET", "/kv/watch/a", "watch"),
        ("GET", "/kv/watchful", "read"),
        ("GET", "/kv", "list"),
        ("GET", "/services", "list"),
        ("GET", "/services/query/tags", "list"),
        ("GET", "/services/web", "read"),
        ("PUT", "/heartbeat/web", "write"),
        ("POST", "/batch/kv/get", "batch"),
        ("POST", "/transaction", "batch"),
        ("POST", "/auth/login", "login"),
        ("POST", "/Auth/Login", "login"),
        ("GET", "/auth/users", "admin"),
        ("PUT", "/admin/ratelimit/config", "admin"),
        ("GET", "/cluster/status", "admin"),
        ("GET", "/cluster/watch", "watch"),
        ("POST", "/graphql", "graphql"),
        ("GET", "/nothing", "read"),
    ],
)
def test_a_request_has_a_class(method: str, path: str, is_a: str) -> None:
    assert class_of(method, path) == is_a
    assert is_a in ALL


def test_no_requirement_means_as_auth_says() -> None:
    assert not GuardSettings().requires_auth
    assert GuardSettings(auth_enabled=True).requires_auth
    assert not GuardSettings(auth_enabled=True, require_auth=False).requires_auth


@pytest.mark.parametrize(
    ("environ", "features", "said"),
    [
        ({"KONSUL_REQUIRE_AUTH": "true"}, FEATURES, "nothing would check credentials"),
        ({"KONSUL_ACL_ENABLED": "true"}, FEATURES, "nobody would have an identity"),
        ({"KONSUL_AUTH_ENABLED": "true"}, ("kv", "health"), "this server has no auth"),
        ({"KONSUL_AUDIT_ENABLED": "true"}, ("kv", "health"), "does not have that protection"),
    ],
)
def test_the_server_refuses_to_start_half_guarded(
    environ: dict[str, str], features: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve([], environ, features) == 1
    assert said in capsys.readouterr().err
