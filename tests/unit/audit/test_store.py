"""Events kept for searching: found by what is asked, page by page, until they are too old or too many."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from konsul.errors import Invalid, Unsupported
from konsul.features.audit.search import Page, Position, Question, find, position, stamp
from konsul.features.audit.store import BLOCK_BYTES, EventStore, blocks_of, moment_ns
from konsul.kernel.pipeline import ANONYMOUS
from tests.unit.audit.lines import SECOND_NS, event

YEAR_MS = 365 * 86_400_000
MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    made = EventStore(tmp_path / "audit", retention_ms=YEAR_MS, max_bytes=1 << 30)
    yield made
    made.close()


def ids(page: Page) -> list[str]:
    return [json.loads(line)["resource"].get("id", "several") for line in page.lines]


def found(store: EventStore, **asked: object) -> list[str]:
    return ids(find(store, Question(**asked), limit=1_000))  # type: ignore[arg-type]


def keep(store: EventStore, *numbers: int, **more: object) -> None:
    now_ns = time.time_ns()
    store.append(b"".join(event(number, now_ns + number, **more) for number in numbers))


def test_the_newest_come_first_and_the_oldest_when_asked(store: EventStore) -> None:
    keep(store, 1, 2, 3)
    keep(store, 4)
    assert found(store) == ["app/4", "app/3", "app/2", "app/1"]
    assert found(store, oldest_first=True) == ["app/1", "app/2", "app/3", "app/4"]


def test_every_filter_finds_its_own(store: EventStore) -> None:
    keep(store, 1)
    keep(store, 2, verb="kv.set", method="PUT", request_id="other")
    keep(store, 3, identity=ANONYMOUS, status=401, client="::1", verb="auth.failed")
    keep(store, 4, resources=["app/x", "lib/4"], outcome="error", status=200)
    assert found(store, action="kv.set") == ["app/2"]
    assert found(store, action="kv.*", resource="app/*") == ["several", "app/2", "app/1"]
    assert found(store, action="auth.*") == ["app/3"]
    assert found(store, actor="alice", actor_type="user", result="success") == ["app/2", "app/1"]
    assert found(store, actor="u1", request_id="r1") == ["app/1"]
    assert found(store, actor_type="anonymous") == ["app/3"]
    assert found(store, source_ip="::1") == ["app/3"]
    assert found(store, result="denied") == ["app/3"]
    assert found(store, request_id="other") == ["app/2"]
    assert found(store, resource="app/1") == ["app/1"]
    assert found(store, resource="app/") == []
    assert found(store, resource="lib/*") == found(store, result="error") == ["several"]
    assert found(store, actor="mallory") == []


def test_a_filter_is_a_text_and_never_a_pattern_of_the_line(store: EventStore) -> None:
    keep(store, 1, resources='a"b\\c\n\u2028')
    assert found(store, resource='a"b\\c\n\u2028') == ['a"b\\c\n\u2028']
    assert found(store, actor='alice","type":"user') == []


def test_times_bound_the_answer_to_the_nanosecond(store: EventStore) -> None:
    now_ns = time.time_ns() - SECOND_NS
    store.append(b"".join(event(number, now_ns + number) for number in range(5)))
    assert found(store, from_ns=now_ns + 3) == ["app/4", "app/3"]
    assert found(store, to_ns=now_ns + 2) == ["app/1", "app/0"]
    assert found(store, from_ns=now_ns + 1, to_ns=now_ns + 3, oldest_first=True) == ["app/1", "app/2"]


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_neither_repeat_nor_miss_while_new_events_come(store: EventStore, oldest_first: bool) -> None:
    keep(store, *range(100))
    asked = Question(oldest_first=oldest_first)
    seen: list[str] = []
    after: Position | None = None
    for number in range(1_000, 1_050):
        page = find(store, asked, limit=7, after=after)
        seen += ids(page)
        if not page.more:
            break
        after = position(page.after)
        keep(store, number)
    old = [each for each in seen if int(each[4:]) < 1_000]
    expected = [f"app/{number}" for number in range(100)]
    assert old == (expected if oldest_first else expected[::-1])
    assert len(seen) == len(set(seen))
    assert (len(seen) > 100) == oldest_first


def test_the_end_of_the_oldest_first_can_be_gone_on_from(store: EventStore) -> None:
    keep(store, 1, 2)
    page = find(store, Question(oldest_first=True), limit=10)
    assert not page.more
    keep(store, 3)
    again = find(store, Question(oldest_first=True), limit=10, after=position(page.after))
    assert ids(again) == ["app/3"]


def test_one_question_looks_through_so_much_and_gives_a_cursor(store: EventStore) -> None:
    for first in range(0, 50, 10):
        keep(store, *range(first, first + 10))
    asked = Question(resource="app/0")
    page = find(store, asked, limit=10, looked_bytes_max=1)
    assert (page.lines, page.more) == ((), True)
    for _ in range(10):
        page = find(store, asked, limit=10, after=position(page.after), looked_bytes_max=1)
        if page.lines:
            break
    assert ids(page) == ["app/0"]
    ticks = iter(range(1_000))
    slow = find(store, asked, limit=10, clock=lambda: float(next(ticks)))
    assert slow.more


@pytest.mark.parametrize("cursor", ["x", "1", "1.", "-1.0", "1.2.3", f"{2**64}.0", "1.9999999999"])
def test_a_cursor_that_nobody_gave_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="after"):
        position(cursor)


def test_what_is_past_its_retention_is_neither_found_nor_kept(tmp_path: Path) -> None:
    kept = EventStore(tmp_path / "audit", retention_ms=YEAR_MS, max_bytes=1 << 30)
    keep(kept, 1, 2)
    kept.close()
    short = EventStore(tmp_path / "audit", retention_ms=1, max_bytes=1 << 30)
    assert found(short) == []
    assert found(short, oldest_first=True) == []
    short.trim()
    short.close()
    again = EventStore(tmp_path / "audit", retention_ms=YEAR_MS, max_bytes=1 << 30)
    assert found(again) == []
    assert again.oldest_ns() is None
    again.close()


def test_the_oldest_leave_when_there_is_too_much(tmp_path: Path) -> None:
    kept = EventStore(tmp_path / "audit", retention_ms=YEAR_MS, max_bytes=MIB)
    draw = random.Random(7)
    number = 0
    for _ in range(40):
        # Ids that do not compress, so that size means something.
        for each in range(number, number + 500, 50):
            reason = draw.randbytes(200).hex()
            kept.append(
                b"".join(
                    event(one, time.time_ns(), request_id=draw.randbytes(40).hex(), reason=reason)
                    for one in range(each, each + 50)
                )
            )
        number += 500
        kept.trim()
        assert kept.size_bytes() <= MIB * 5 // 4
    left = found(kept, oldest_first=True)
    assert 0 < int(left[0][4:]) < number
    assert ids(find(kept, Question(), limit=1)) == [f"app/{number - 1}"]
    kept.close()


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from konsul.features.audit.store import EventStore\n"
        "kept = EventStore(Path(sys.argv[1]), retention_ms=10**9, max_bytes=1 << 30)\n"
        "kept.append(sys.stdin.buffer.read()); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    lines = b"".join(event(number, time.time_ns()) for number in range(300))
    path = tmp_path / "audit"
    ended = subprocess.run([sys.executable, "-c", script, path], input=lines, check=False)
    assert ended.returncode == -9
    kept = EventStore(path, retention_ms=YEAR_MS, max_bytes=1 << 30)
    assert (
        b"".join(line + b"\n" for line in find(kept, Question(oldest_first=True), limit=1_000).lines) == lines
    )
    assert path.stat().st_mode & 0o777 == 0o700
    kept.close()


def test_a_clock_that_was_ahead_and_was_set_back_hides_nothing(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, 1)
    honest = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: honest() + 3_600 * 24 * SECOND_NS)
        keep(store, 2)
    keep(store, 3)
    assert found(store) == ["app/3", "app/2", "app/1"]
    soon_ns = time.time_ns() + SECOND_NS
    assert found(store, to_ns=soon_ns) == ["app/3", "app/1"]
    assert found(store, to_ns=soon_ns, oldest_first=True) == ["app/1", "app/3"]


def test_a_store_that_cannot_be_opened_says_so_and_is_opened_later(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    path.write_text("in the way")
    kept = EventStore(path, retention_ms=YEAR_MS, max_bytes=1 << 30)
    with pytest.raises(OSError, match="File exists"):
        kept.append(event(1, time.time_ns()))
    os.unlink(path)
    keep(kept, 2)
    assert found(kept) == ["app/2"]
    kept.close()
    with pytest.raises(Unsupported):
        found(kept)


def test_blocks_are_whole_lines_and_together_the_text() -> None:
    lines = b"".join(event(number, resources="k" * (number % 1_000)) for number in range(2_000))
    blocks = list(blocks_of(lines))
    assert b"".join(blocks) == lines
    assert all(block.endswith(b"\n") and len(block) <= BLOCK_BYTES for block in blocks)
    one = event(1, reason="x" * 500, resources=[str(uuid4()) for _ in range(100)])
    assert list(blocks_of(one * 3)) == [one * 3]


def test_a_time_and_its_text_are_the_same() -> None:
    for at_ns in (0, 1, 1_700_000_000_123_456_789, 4 * 10**18):
        assert moment_ns(stamp(at_ns)) == at_ns
        assert stamp(at_ns) == event(1, at_ns)[64:94]
