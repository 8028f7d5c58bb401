"""What is let through, in which order it is asked, and what is said of a refusal."""

from __future__ import annotations

import pytest

from konsul.engine import Access
from konsul.errors import Forbidden, Unauthenticated
from konsul.features.acl.guard import DURATIONS_S, TIMED_EVERY, Guard
from konsul.kernel.pipeline import ANONYMOUS, AUTHENTICATED, INSIDE, Identity

RULES = [
    ("kv", "app/**", ["read", "list"]),
    ("kv", "app/secret/**", ["deny"]),
    ("service", "web-*", ["list"]),
    ("health", "", ["read"]),
]
ADMIN = Identity("user", "root", roles=("admin",))
NEEDS = ("kv:read", "kv:list", "service:register", "health:write", "backup:restore", "admin:write")


def guard(*, requires_auth: bool = True, default_allow: bool = False) -> tuple[Guard, Access]:
    access = Access()
    access.set([("dev", RULES)], default_allow)
    return Guard(access, requires_auth=requires_auth, default_allow=default_allow), access


def caller(access: Access, *policies: str) -> Identity:
    grant = access.grant(policies) if policies else None
    return Identity("user", "ann", roles=("user",), policies=policies, grant=grant)


@pytest.mark.parametrize("default_allow", [True, False])
@pytest.mark.parametrize("needs", [*NEEDS, AUTHENTICATED])
def test_administrators_and_the_node_itself_pass(needs: str, default_allow: bool) -> None:
    found, _ = guard(default_allow=default_allow)
    for identity in (ADMIN, INSIDE):
        assert found.authorise(identity, needs, "app/secret/x") == "admin"
        assert found.visible(identity, "kv:list") is None


@pytest.mark.parametrize("needs", [*NEEDS, AUTHENTICATED])
def test_who_has_no_name_is_asked_for_one_first(needs: str) -> None:
    found, _ = guard(default_allow=True)
    with pytest.raises(Unauthenticated, match="unauthorized"):
        found.authorise(ANONYMOUS, needs, "x")


@pytest.mark.parametrize("needs", NEEDS)
def test_where_a_name_is_not_required_the_default_decides_but_never_about_administration(needs: str) -> None:
    closed, _ = guard(requires_auth=False)
    with pytest.raises(Unauthenticated):
        closed.authorise(ANONYMOUS, needs, "x")
    allowing, _ = guard(requires_auth=False, default_allow=True)
    if needs.startswith("admin:"):
        with pytest.raises(Unauthenticated):
            allowing.authorise(ANONYMOUS, needs, "x")
    else:
        assert allowing.authorise(ANONYMOUS, needs, "x") == "default policy"
    assert allowing.authorise(ANONYMOUS, AUTHENTICATED, "") == ""


@pytest.mark.parametrize("policies", [(), ("no-such",)])
@pytest.mark.parametrize("needs", NEEDS)
def test_who_has_no_policy_that_exists_is_told_so(needs: str, policies: tuple[str, ...]) -> None:
    found, access = guard()
    identity = caller(access, *policies)
    with pytest.raises(Forbidden) as caught:
        found.authorise(identity, needs, "x")
    assert (str(caught.value), caught.value.needs) == ("no policies attached to token", needs)
    assert found.authorise(identity, AUTHENTICATED, "") == ""
    allowing, access = guard(default_allow=True)
    identity = caller(access, *policies)
    if needs.startswith("admin:"):
        with pytest.raises(Forbidden):
            allowing.authorise(identity, needs, "x")
    else:
        assert allowing.authorise(identity, needs, "x")


def test_rules_decide_and_say_which() -> None:
    found, access = guard()
    ann = caller(access, "dev")
    assert found.authorise(ann, "kv:read", "app/a") == "policy dev rule 0 (kv app/**)"
    assert found.authorise(ann, "health:read", "") == "policy dev rule 0 (health)"
    refused = (("kv:read", "app/secret/a"), ("kv:write", "app/a"), ("kv:read", "web"), ("admin:read", ""))
    for needs, resource in refused:
        with pytest.raises(Forbidden, match="insufficient permissions") as caught:
            found.authorise(ann, needs, resource)
        assert (caught.value.needs, caught.value.resource) == (needs, resource)
        assert caught.value.reason


def test_a_list_is_refused_only_if_nothing_of_it_could_be_seen() -> None:
    found, access = guard()
    ann = caller(access, "dev")
    for needs, prefix in (("kv:list", ""), ("kv:list", "ap"), ("kv:list", "app/x"), ("service:list", "")):
        assert found.authorise(ann, needs, prefix)
    for needs, prefix in (("kv:list", "web"), ("kv:list", "app/secret/"), ("service:list", "db")):
        with pytest.raises(Forbidden, match="insufficient permissions"):
            found.authorise(ann, needs, prefix)
    sight = found.visible(ann, "kv:list")
    assert sight is not None
    assert [sight.sees(key) for key in ("app/a", "app/secret/a", "web")] == [True, False, False]


@pytest.mark.parametrize("identity", [ANONYMOUS, Identity("user", "bob")])
def test_who_has_no_grant_sees_nothing_unless_the_default_allows(identity: Identity) -> None:
    for default_allow in (False, True):
        found, _ = guard(requires_auth=False, default_allow=default_allow)
        sight = found.visible(identity, "kv:list")
        assert sight is not None
        assert sight.sees("app/a") == default_allow


def test_a_grant_is_made_for_an_identity_that_came_without() -> None:
    found, _ = guard()
    assert found.authorise(Identity("user", "ann", policies=("dev",)), "kv:read", "app/a")


def test_a_policy_that_changes_holds_at_once() -> None:
    found, access = guard()
    ann = caller(access, "dev")
    access.set([("dev", [("kv", "**", ["deny"])])], False)
    with pytest.raises(Forbidden):
        found.authorise(ann, "kv:read", "app/a")
    access.set([], False)
    with pytest.raises(Forbidden, match="no policies"):
        found.authorise(ann, "kv:read", "app/a")


def test_every_decision_is_counted_and_some_are_timed() -> None:
    found, access = guard()
    ann = caller(access, "dev")
    for _ in range(TIMED_EVERY):
        found.authorise(ann, "kv:read", "app/a")
        with pytest.raises(Forbidden):
            found.authorise(ann, "kv:read", "web")
    assert found.allowed == {"kv:read": TIMED_EVERY}
    assert found.denied == {"kv:read": TIMED_EVERY}
    timed = found.timed["kv"]
    assert timed.count == 2
    assert timed.upto(DURATIONS_S[-1]) <= timed.count
    assert timed.sum_s > 0
