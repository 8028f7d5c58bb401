"""Every verb has a name in the audit log; a new one without fails here."""

from __future__ import annotations

import re

import pytest

from konsul.features import FEATURES
from konsul.features.audit.actions import ACTIONS, WATCHES, actions
from konsul.kernel.command import AnyVerb
from konsul.kernel.feature import load_all

DECLARED = [verb for feature in load_all(FEATURES) for verb in (*feature.commands, *feature.queries)]
TYPES = {
    "kv",
    "service",
    "health",
    "cluster",
    "auth",
    "acl",
    "admin",
    "audit",
    "backup",
    "query",
    "session",
    "node",
}


@pytest.mark.parametrize("verb", DECLARED, ids=lambda verb: verb.name)
def test_a_verb_has_an_action_and_a_resource_type(verb: AnyVerb) -> None:
    assert verb.name in ACTIONS, "add it to konsul.features.audit.actions"
    action, kind = ACTIONS[verb.name]
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)+", action)
    assert kind in TYPES
    assert actions()[verb.name] == (action, kind, verb.kind == "command")


def test_nothing_is_named_that_is_no_verb() -> None:
    assert set(ACTIONS) == {verb.name for verb in DECLARED}
    assert not set(ACTIONS) & set(WATCHES)
