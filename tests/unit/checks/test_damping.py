"""From results to a status: Consul's thresholds, and the hold on what flaps."""

from __future__ import annotations

from konsul.features.checks.damping import Damper, Thresholds

P, W, C = "passing", "warning", "critical"


PLAIN = Thresholds()


def damper(thresholds: Thresholds = PLAIN, status: str = C, changes_max: int = 6) -> Damper:
    return Damper(thresholds, status, window_s=100, changes_max=changes_max)


def statuses(one: Damper, results: list[str], every_s: float = 10, start_s: float = 0) -> list[str]:
    return [one.take(result, start_s + number * every_s) for number, result in enumerate(results)]


def test_without_thresholds_each_result_is_the_status() -> None:
    assert statuses(damper(), [P, C, W, P]) == [P, C, W, P]


def test_so_many_successes_are_needed_before_it_passes() -> None:
    assert statuses(damper(Thresholds(successes=3)), [P, P, P, P]) == [C, C, P, P]


def test_a_failure_in_between_counts_from_the_beginning() -> None:
    assert statuses(damper(Thresholds(successes=2)), [P, C, P, P]) == [C, C, C, P]


def test_so_many_failures_are_needed_before_it_is_critical() -> None:
    one = damper(Thresholds(before_critical=3), status=P)
    assert statuses(one, [C, C, C]) == [P, P, C]


def test_failures_may_warn_before_they_are_critical() -> None:
    one = damper(Thresholds(before_critical=4, before_warning=2), status=P)
    assert statuses(one, [C, C, C, C]) == [P, W, W, C]


def test_a_warning_counts_as_a_success_as_in_consul() -> None:
    assert statuses(damper(Thresholds(successes=2)), [W, W]) == [C, W]


def test_what_flaps_is_held_at_its_worst_until_it_was_quiet_for_half_a_window() -> None:
    one = damper(status=P)
    found = statuses(one, [P, C, P, C, P, C, P, C, P])
    assert found[:7] == [P, C, P, C, P, C, P]
    assert found[7:] == [C, C]
    assert one.is_flapping
    # The last change was at 80 s: quiet from there on.
    assert statuses(one, [P, P, P, P, P], start_s=90) == [C, C, C, C, P]
    assert not one.is_flapping


def test_flapping_between_passing_and_warning_is_held_at_warning() -> None:
    one = damper(status=P)
    assert statuses(one, [P, W, P, W, P, W, P, W, P])[-1] == W


def test_a_slow_change_is_no_flapping() -> None:
    one = damper(status=P)
    assert statuses(one, [P, C] * 10, every_s=20) == [P, C] * 10
    assert not one.is_flapping


def test_each_further_change_prolongs_the_hold() -> None:
    one = damper(status=P)
    statuses(one, [P, C, P, C, P, C, P, C, P])
    assert statuses(one, [P, P, C, P, P, P], start_s=90) == [C] * 6
    assert one.is_flapping


def test_it_can_be_switched_off() -> None:
    one = damper(status=P, changes_max=0)
    assert statuses(one, [P, C] * 10) == [P, C] * 10
