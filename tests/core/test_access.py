"""Access, Grant and Sight as Python has them: live, shared, for any thread, wrong input in words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from konsul.engine import Access, Grant

Rules = Sequence[tuple[str, str, Sequence[str]]]

DEV: Rules = (
    ("service", "web-*", ("read",)),
    ("kv", "app/**", ("read", "list")),
    ("kv", "app/secrets/**", ("deny",)),
)


def access(*policies: tuple[str, Rules], default_allow: bool = False) -> Access:
    made = Access()
    made.set(policies, default_allow)
    return made


def test_a_decision_names_the_rule_that_made_it() -> None:
    grant = access(("dev", DEV)).grant(["dev"])
    assert grant.decide("kv:read", "app/x") == (1, "policy dev rule 0 (kv app/**)")
    assert grant.decide("kv:read", b"app/secrets/x") == (0, "policy dev rule 1 (kv app/secrets/**)")
    assert grant.decide("kv:write", "app/x") == (0, "no rule allows it")
    assert grant.decide("service:read", "web-1") == (1, "policy dev rule 0 (service web-*)")


def test_the_default_decides_where_no_rule_does_but_never_about_administration() -> None:
    grant = access(("dev", DEV), default_allow=True).grant(["dev"])
    assert grant.decide("kv:write", "other") == (1, "default policy")
    assert grant.decide("kv:write", "app/secrets/x")[0] == 0
    assert grant.decide("admin:read", "")[0] == 0


def test_without_any_policy_that_exists_it_is_said_so() -> None:
    made = access(("dev", DEV))
    for names in ([], ["gone"]):
        assert made.grant(names).decide("kv:read", "app/x")[0] == 2
    made.set([], True)
    assert made.grant(["gone"]).decide("kv:read", "app/x") == (1, "default policy")


def test_what_is_held_follows_a_change_at_once() -> None:
    made = access(("dev", DEV))
    grant = made.grant(["dev", "later"])
    sight = grant.sight("kv:list")
    assert sight.sees("app/x")
    assert not sight.sees("more/x")
    made.set([("dev", DEV), ("later", [("kv", "more/**", ["list"])])], False)
    assert sight.sees("more/x")
    assert grant.decide("kv:list", "more/x")[0] == 1
    made.set([], False)
    assert not sight.sees(b"app/x")
    assert grant.decide("kv:list", "app/x")[0] == 2


def test_a_set_of_policies_that_cannot_be_changes_nothing() -> None:
    made = access(("dev", DEV))
    grant = made.grant(["dev"])
    with pytest.raises(ValueError, match='policy ops, kv rule 1: unknown capability "register"'):
        made.set([("dev", []), ("ops", [("kv", "a", ["read"]), ("kv", "b", ["register"])])], True)
    assert grant.decide("kv:read", "app/x")[0] == 1
    assert grant.decide("kv:read", "b")[0] == 0
    assert made.stats() == (1, 3, 1)


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("../x", ("kv", "a", ["read"]), "policy name"),
        ("p", ("keys", "a", ["read"]), "unknown resource"),
        ("p", ("kv", "", ["read"]), "the pattern is empty"),
        ("p", ("kv", "a" * 1_025, ["read"]), "max 1024"),
        ("p", ("kv", "*a" * 17, ["read"]), "17 wildcards"),
        ("p", ("kv", "a", []), "capabilities are missing"),
        ("p", ("health", "a", ["read"]), "have no pattern"),
    ],
)
def test_wrong_policies_are_refused_in_words(name: str, rule: tuple[str, str, list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Access().set([(name, [rule])], False)


def test_questions_that_make_no_sense_are_errors_and_not_answers() -> None:
    made = access(("dev", DEV))
    grant = made.grant(["dev"])
    for needs in ("kv:deny", "kv", "", "nothing:read", "health:list"):
        with pytest.raises(ValueError, match="no permission"):
            grant.decide(needs, "x")
        with pytest.raises(ValueError, match="no permission"):
            grant.sight(needs)
    with pytest.raises(ValueError, match="too many policies: 65"):
        made.grant([f"p{at}" for at in range(65)])
    with pytest.raises(TypeError):
        grant.decide("kv:read", 7)  # type: ignore[arg-type]
    assert grant.decide("kv:read", "app/\ud800")[0] == 1, "no key can be called so: the handler says it"


def test_many_are_asked_at_once() -> None:
    grant = access(("dev", DEV)).grant(["dev"])
    assert grant.first_refused("kv:read", ["app/a", "app/b"]) == -1
    assert grant.first_refused("kv:read", ["app/a", b"x", "app/secrets/b"]) == 1
    assert grant.first_refused("kv:read", []) == -1


def test_what_could_be_listed() -> None:
    grant = access(("dev", DEV)).grant(["dev"])
    assert grant.could_list("kv:list", "ap")
    assert grant.could_list("kv:list", "")
    assert not grant.could_list("kv:list", "app/secrets/")
    assert not grant.could_list("kv:list", "b")
    assert grant.sight("service:list").could_see("web")
    assert not grant.sight("service:list").could_see("api")


def test_of_services_a_sight_looks_at_the_name() -> None:
    sight = access(("p", [("service", "web", ["list"])])).grant(["p"]).sight("service:list")
    assert sight.sees(b"web web-7")
    assert sight.sees("web")
    assert not sight.sees(b"web-7 web")
    assert not sight.sees_all()
    assert access(("p", [("service", "*", ["read"])])).grant(["p"]).sight("service:list").sees_all()


def test_an_explanation_lists_every_rule_that_matches() -> None:
    grant = access(("dev", DEV), ("zz", [("kv", "app/secrets/x", ["read"])])).grant(["zz", "dev"])
    assert grant.names == ["dev", "zz"]
    assert grant.explain("kv:read", "app/secrets/x") == [
        ("dev", "kv", 0, "app/**", ["read", "list"], "allow", False),
        ("dev", "kv", 1, "app/secrets/**", ["deny"], "deny", True),
        ("zz", "kv", 0, "app/secrets/x", ["read"], "allow", False),
    ]
    assert grant.explain("kv:write", "app/x") == [("dev", "kv", 0, "app/**", ["read", "list"], "none", False)]
    assert grant.explain("kv:read", "nothing") == []


def test_the_same_policies_are_one_grant_and_what_nobody_holds_is_forgotten() -> None:
    made = access(("dev", DEV))
    held = [made.grant(["dev", "ops"]), made.grant(["ops", "dev", "dev"])]
    assert made.stats()[2] == 1
    for at in range(2_000):
        made.grant([f"p{at}"])
    assert made.stats()[2] == 1
    del held
    assert made.stats()[2] == 0


def test_a_swap_is_seen_whole_by_other_threads_and_by_all_once_it_returned() -> None:
    # Odd policies allow a and c, even ones b and c: c is never refused, a and b never both allowed.
    odd: Rules = (("kv", "a", ("read",)), ("kv", "c", ("read",)))
    even: Rules = (("kv", "b", ("read",)), ("kv", "c", ("read",)))
    made = access(("p", odd))
    grant = made.grant(["p"])
    over = threading.Event()

    def ask(grant: Grant) -> int:
        asked = 0
        while not over.is_set():
            assert grant.first_refused("kv:read", ["c"]) == -1
            assert grant.first_refused("kv:read", ["a", "b"]) in (0, 1)
            asked += 1
        return asked

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, one) for one in (grant, made.grant(["p"]), grant)]
        for turn in range(2_000):
            made.set([("p", even if turn % 2 else odd)], False)
            assert grant.decide("kv:read", "b")[0] == turn % 2
        over.set()
        assert all(one.result() for one in asking)
