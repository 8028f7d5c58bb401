"""Which node runs which check."""

from __future__ import annotations

from collections import Counter

from konsul.features.checks.assignment import is_owner, owner_of

CHECKS = [b"check-%d" % number for number in range(3_000)]


def test_every_check_has_exactly_one_node() -> None:
    nodes = [b"n1", b"n2", b"n3"]
    for check in CHECKS[:300]:
        assert sum(is_owner(check, node, nodes) for node in nodes) == 1


def test_the_order_in_which_nodes_are_seen_does_not_matter() -> None:
    assert all(
        owner_of(check, [b"n1", b"n2", b"n3"]) == owner_of(check, [b"n3", b"n1", b"n2"]) for check in CHECKS
    )


def test_nodes_share_evenly() -> None:
    shares = Counter(owner_of(check, [b"n1", b"n2", b"n3"]) for check in CHECKS)
    assert all(850 < share < 1_150 for share in shares.values()), shares


def test_when_a_node_goes_only_its_own_checks_move() -> None:
    before = {check: owner_of(check, [b"n1", b"n2", b"n3"]) for check in CHECKS}
    after = {check: owner_of(check, [b"n1", b"n3"]) for check in CHECKS}
    moved = {check for check in CHECKS if before[check] != after[check]}
    assert moved == {check for check in CHECKS if before[check] == b"n2"}


def test_without_nodes_nobody_runs_it() -> None:
    assert owner_of(b"check", []) is None


def test_nodes_and_checks_cannot_be_confused() -> None:
    """`a` with check `bc` is not `ab` with check `c`: else two names could always score alike."""
    wins = {owner_of(b"c%d" % number, [b"a", b"ac"]) for number in range(50)}
    assert wins == {b"a", b"ac"}
