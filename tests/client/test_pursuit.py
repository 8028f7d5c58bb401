"""The course of a watch, walked through without a socket: what is told when servers come and go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from konsul import errors
from konsul.client import changes, watch_calls
from konsul.client.course import Course
from konsul.client.exchange import Lost, Policy, Unsent
from konsul.client.pursuit import Ask, Close, Listen, Listing, Open, Opened, Pause, Tell, Tracker, Wishes
from konsul.client.request import Answer
from konsul.client.settings import Settings
from konsul.client.sse import Heard

A, B = "http://a.test:1", "http://b.test:2"
CUT = Lost("cut")


def said(key: str, index: int, *, last: bool | None = None, **more: Any) -> Heard:
    """A change as a server says it; `last` adds the id of an event stream."""
    document = {"type": "set", "key": key, "value": "v", "timestamp": 5, "modify_index": index, **more}
    event_id = "" if last is None else str(index if last else index - 1)
    return Heard(json.dumps(document), "kv-change", event_id)


def notice(**members: Any) -> Heard:
    return Heard(json.dumps(members))


COMPACTED = notice(type="compacted", modify_index=50, message="list again")


class Walk:
    """Carries out the effects of a watch with what a script says, and keeps what was told."""

    def __init__(
        self, script: list[Any], wishes: Wishes, listings: list[Any] | None = None, *, renews: bool = False
    ) -> None:
        settings = Settings(f"{A},{B}")
        self.course = Course(settings)
        plan = watch_calls.kv_plan("app/**", False, 1000)
        self.tracker = Tracker(plan, wishes, self.course, Policy(), lambda: 1.0, renews=renews)
        self.script = iter(script)
        self.listings = iter(listings or [Listing(10)])
        self.opened: list[tuple[str, str]] = []
        self.asked: list[Any] = []
        self.pauses_s: list[float] = []
        self.told = list(self._walk())

    def _walk(self) -> Iterator[Any]:
        """Ends when the script does."""
        steps = self.tracker.steps()
        reply: Any = None
        while True:
            effect = steps.send(reply)
            reply = None
            if isinstance(effect, Tell):
                yield effect.event
            elif isinstance(effect, Ask):
                self.asked.append(next(effect.flow).request)
                reply = next(self.listings)
            elif isinstance(effect, Pause):
                self.pauses_s.append(effect.pause_s)
            elif isinstance(effect, (Open, Listen)):
                if isinstance(effect, Open):
                    since = dict(effect.request.params)["since"]
                    self.opened.append((effect.url.removesuffix("/kv/watch/app/**"), since))
                reply = next(self.script, None)
                if reply is None:
                    return
            else:
                assert isinstance(effect, Close)

    @property
    def keys(self) -> list[tuple[str, int]]:
        return [(one.key, one.modify_index) for one in self.told if isinstance(one, changes.KvChange)]


def test_it_begins_at_the_index_of_an_answer_and_tells_what_comes() -> None:
    walk = Walk([Opened(), (said("app/a", 11), said("app/b", 12))], Wishes())
    assert walk.opened == [(A, "10")]
    assert walk.told == [
        changes.KvChange("set", "app/a", b"v", None, 11, 5),
        changes.KvChange("set", "app/b", b"v", None, 12, 5),
    ]
    assert walk.course.last_index == 12, "a later read of this client is as new as what it was told"


def test_since_asks_nobody_for_an_index() -> None:
    walk = Walk([Opened(), (said("app/a", 4),)], Wishes(since=3))
    assert (walk.asked, walk.opened, walk.keys) == ([], [(A, "3")], [("app/a", 4)])


def test_initial_lists_first_and_what_the_listing_shows_does_not_come_again() -> None:
    listing = Listing(10, ("row a", "row b"), {"app/b": 12})
    heard = (said("app/b", 11), said("app/c", 11), said("app/b", 12), said("app/b", 13))
    walk = Walk([Opened(), heard], Wishes(initial=True), [listing])
    assert walk.told[0] == changes.Relisted("initial", 10, ("row a", "row b"))
    assert walk.keys == [("app/c", 11), ("app/b", 13)]


@pytest.mark.parametrize("ids", [True, False])
def test_a_cut_between_the_changes_of_one_entry_loses_none_and_doubles_none(ids: bool) -> None:
    entry = [
        said(key, 12, last=(key == "app/c") if ids else None) for key in ("app/a", "app/b", "app/b", "app/c")
    ]
    for cut in range(1, 5):
        through = ids and cut == 4
        before = (said("app/z", 11, last=True if ids else None), *entry[:cut])
        # The server tells everything after `since`: all of the entry, unless all of it is through.
        after = (*(() if through else entry), said("app/d", 13))
        walk = Walk([Opened(), before, CUT, Opened(), after], Wishes())
        assert walk.opened[1] == (B, "12" if through else "11")
        expected = [("app/z", 11), ("app/a", 12), ("app/b", 12), ("app/b", 12), ("app/c", 12), ("app/d", 13)]
        assert walk.keys == expected, f"cut after {cut}"


@pytest.mark.parametrize(
    "bookmark",
    [
        Heard("", id="40"),
        notice(type="progress", modify_index=40),
        said("app/a", 40, complete=True),
        said("app/a", 40, last=True),
    ],
)
def test_a_bookmark_moves_the_index_on(bookmark: Heard) -> None:
    walk = Walk([Opened(), (said("app/a", 11), bookmark), CUT, Opened(), (said("app/b", 41),)], Wishes())
    assert walk.opened[1] == (B, "40")
    assert walk.keys[-1] == ("app/b", 41)


def test_the_index_never_names_what_the_user_has_not_seen() -> None:
    tracker = Tracker(
        watch_calls.kv_plan("**", False, 10), Wishes(since=10), Course(Settings(A)), Policy(), lambda: 0.0
    )
    steps = tracker.steps()
    steps.send(None)
    steps.send(Opened())
    steps.send((said("a", 12, last=True), said("b", 13, last=True)))
    assert tracker.index <= 11, "a is in the user's hands, but he is not done with it"
    steps.send(None)
    assert tracker.index == 12


def test_compacted_lists_again_and_goes_on_from_the_listing() -> None:
    listing = Listing(60, ("row",), {"app/b": 62})
    heard = (said("app/a", 11), COMPACTED, said("app/a", 55), said("app/b", 61), said("app/a", 61))
    walk = Walk([Opened(), heard], Wishes(notices=True), [Listing(10), listing])
    assert walk.told[1:] == [
        changes.KvChange("set", "app/a", b"v", None, 11, 5),
        changes.Compacted(50),
        changes.Relisted("compacted", 60, ("row",)),
        changes.KvChange("set", "app/a", b"v", None, 61, 5),
    ]
    assert walk.asked[1].headers == {"X-Konsul-Min-Index": "50"}


def test_a_listing_that_nobody_can_give_now_is_waited_for() -> None:
    listings = [Listing(10), errors.NoLeader("no leader"), errors.Busy("busy"), Listing(60, ("row",))]
    walk = Walk([Opened(), (COMPACTED, said("app/a", 61))], Wishes(), listings)
    assert walk.told[0] == changes.Relisted("compacted", 60, ("row",))
    assert walk.keys == [("app/a", 61)]
    assert len(walk.pauses_s) == 2


def test_compacted_as_a_notice_only() -> None:
    walk = Walk(
        [Opened(), (COMPACTED, said("app/a", 50), said("app/a", 51))],
        Wishes(on_compacted="notice", notices=True),
    )
    assert walk.told[1:] == [changes.Compacted(50), changes.KvChange("set", "app/a", b"v", None, 51, 5)]
    assert len(walk.asked) == 1


def test_notices_say_what_happens() -> None:
    behind = notice(type="behind", resume_index=11)
    walk = Walk(
        [Opened(), (said("app/a", 11), behind), CUT, Unsent("refused"), Opened()], Wishes(notices=True)
    )
    assert walk.told == [
        changes.Connected(A, 10),
        changes.KvChange("set", "app/a", b"v", None, 11, 5),
        changes.Behind(11),
        changes.Disconnected(A, walk.told[3].reason, 0.05),
        changes.Disconnected(B, f"cannot connect to {B}: refused", 0.1),
        changes.Connected(A, 10),
    ]
    assert walk.pauses_s == [0.05, 0.1]


def test_the_pause_grows_with_failures_and_a_message_makes_it_short_again() -> None:
    failing = [CUT, *[Unsent("refused")] * 8]
    walk = Walk([Opened(), (said("app/a", 11),), *failing, Opened(), (said("app/a", 12),), CUT], Wishes())
    assert walk.pauses_s == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 0.05]


def refusal(status: int, error: str, message: str = "no", **headers: str) -> Answer:
    return Answer(status, headers, json.dumps({"error": error, "message": message}).encode())


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(400, "Bad Request"), errors.Invalid),
        (refusal(401, "unauthorized"), errors.Unauthenticated),
        (refusal(403, "forbidden"), errors.Forbidden),
        (refusal(404, "Not Found", "Cannot GET /kv/watch/a"), errors.Unsupported),
        (refusal(405, "Method Not Allowed"), errors.Unsupported),
    ],
)
@pytest.mark.parametrize("before", [[], [Opened(), (said("app/a", 11),), CUT]])
def test_a_refusal_that_stays_ends_it(reply: Answer, error: type[Exception], before: list[Any]) -> None:
    with pytest.raises(error):
        Walk([*before, reply], Wishes())


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_refusal_for_now_is_tried_elsewhere(status: int) -> None:
    walk = Walk([refusal(status, "later"), Opened(), (said("app/a", 11),)], Wishes())
    assert [address for address, _ in walk.opened] == [A, B]
    assert walk.keys == [("app/a", 11)]


def test_the_server_decides_the_pause_when_it_names_one() -> None:
    later = refusal(503, "later", **{"retry-after": "3"})
    walk = Walk([later, Unsent("refused"), Opened(), (said("app/a", 11),)], Wishes())
    assert walk.pauses_s == [3.0, 0.1]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"error": "forbidden", "message": "insufficient permissions"}, errors.Forbidden),
        ({"error": "unauthorized", "message": "no"}, errors.Unauthenticated),
    ],
)
def test_a_refusal_inside_the_stream_ends_it(document: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        Walk([Opened(), (notice(**document),)], Wishes())


OVER = notice(error="unauthorized", message="token expired")
UNAUTHORIZED = Answer(401, {}, b'{"error":"token revoked"}')


def test_a_token_that_is_over_is_no_end_for_who_has_another() -> None:
    script = [Opened(), (said("app/a", 11),), (OVER,), Opened(), (said("app/b", 12),), (OVER,), Opened()]
    walk = Walk([*script, (said("app/c", 13),)], Wishes(), renews=True)
    assert walk.keys == [("app/a", 11), ("app/b", 12), ("app/c", 13)]
    assert [since for _, since in walk.opened] == ["10", "10", "11"]
    with pytest.raises(errors.Unauthenticated, match="token expired"):
        Walk(script, Wishes())


@pytest.mark.parametrize("end", [(OVER,), UNAUTHORIZED])
def test_who_is_refused_with_another_token_too_is_refused(end: Any) -> None:
    begun = [Opened(), (said("app/a", 11),), (OVER,)]
    second = [Opened(), end] if isinstance(end, tuple) else [end]
    with pytest.raises(errors.Unauthenticated):
        Walk([*begun, *second, Opened()], Wishes(), renews=True)
    with pytest.raises(errors.Unauthenticated):
        Walk([UNAUTHORIZED, Opened()], Wishes(), renews=True)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "closed", "reason": "the node is stopping"},
        {"error": "failed to add watcher", "message": "too many watchers for this client"},
        {"error": "internal", "message": "x"},
    ],
)
def test_a_server_that_lets_go_is_left(document: dict[str, str]) -> None:
    walk = Walk([Opened(), (notice(**document),), Opened(), (said("app/a", 11),)], Wishes())
    assert [address for address, _ in walk.opened] == [A, B]
    assert walk.keys == [("app/a", 11)]


def test_nobody_from_the_begin_is_an_error_after_all_were_asked_some_times() -> None:
    with pytest.raises(errors.Unreachable, match="cannot connect"):
        Walk([Unsent("refused")] * 100, Wishes(since=1))
    with pytest.raises(errors.NoLeader):
        Walk([], Wishes(), [errors.NoLeader("no leader")])
    assert len(Walk([Unsent("refused")] * 100, Wishes()).opened) == 101, (
        "the listing was answered: it was there"
    )


def test_a_limit_that_is_told_inside_the_stream_from_the_begin_is_an_error_too() -> None:
    full = notice(error="failed to add watcher", message="too many watchers for this client")
    with pytest.raises(errors.RateLimited):
        Walk([Opened(), (full,)] * 100, Wishes(since=1))


@pytest.mark.parametrize("script", [[Opened(), CUT], [Unsent("refused")], [refusal(503, "later")]])
def test_without_reconnect_the_first_end_is_the_end(script: list[Any]) -> None:
    with pytest.raises((errors.Unreachable, errors.Busy)):
        Walk([*script, Opened()], Wishes(reconnect=False))


@pytest.mark.parametrize("data", ["no json", "[1]", "7"])
def test_a_message_of_another_shape_is_an_error_of_ours(data: str) -> None:
    with pytest.raises(errors.Internal):
        Walk([Opened(), (Heard(data),)], Wishes())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Wishes(transport="pigeon"),  # type: ignore[arg-type]
        lambda: Wishes(on_compacted="shrug"),  # type: ignore[arg-type]
        lambda: Wishes(since=3, initial=True),
        lambda: Wishes(since=-1),
        lambda: watch_calls.kv_plan("", False, 10),
    ],
)
def test_wishes_that_cannot_be(make: Callable[[], object]) -> None:
    with pytest.raises(errors.Invalid):
        make()


def test_a_full_server_is_not_asked_for_ever_by_a_watch_that_never_began() -> None:
    full = notice(error="failed to add watcher", message="too many", reason="KONSUL_WATCH_MAX_TOTAL is 1")
    with pytest.raises(errors.RateLimited, match="too many: KONSUL_WATCH_MAX_TOTAL is 1"):
        Walk([one for _ in range(50) for one in (Opened(), (full,))], Wishes(initial=True))
