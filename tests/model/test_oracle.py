"""Same entries, same tables: the core against the model, through snapshots and migrations too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konsul._core import CoreError, Replica
from tests.model import model as m
from tests.model import stream
from tests.model import world as w


def outcome(answer: m.Answer) -> tuple[int, ...] | tuple[int, int, bytes]:
    """What of an answer is promised: messages and the unused fields of a refusal are not."""
    status, index, number, text = answer
    if status == m.APPLIED:
        return status, index, number
    if status == m.CONFLICT:
        return status, number, text
    return (status,)


def answer(engine: Replica | m.Model, step: stream.Step) -> m.Answer:
    assert step.cases is not None
    if step.is_lapse:
        return engine.lapse(step.now_ms, step.cases)
    if step.request_id is None:
        return engine.apply(step.now_ms, step.cases)
    return engine.apply_once(step.now_ms, step.request_id, step.cases)


def feed(core: Replica, oracle: m.Model, history: list[stream.Step]) -> None:
    for step in history:
        if step.cases is None:
            assert core.pulse(step.now_ms, step.limit) == oracle.pulse(step.now_ms, step.limit), step
        else:
            theirs, ours = answer(core, step), answer(oracle, step)
            assert outcome(theirs) == outcome(ours), (step, theirs, ours)
        assert core.index() == oracle.index(), step
        assert_same_changes(core, oracle, step)


def assert_same_tables(core: Replica, oracle: m.Model) -> None:
    for number, table in oracle.tables.items():
        theirs = [(key, *m.unpack_row(packed)) for key, packed in core.rows(number)]
        ours = [(key, *m.unpack_row(packed)) for key, packed in oracle.rows(number)]
        defaults = [column.default for column in table.columns]
        assert filled(theirs, defaults) == filled(ours, defaults), table.name


def assert_same_changes(core: Replica, oracle: m.Model, step: stream.Step) -> None:
    theirs, ours = core.changes(), oracle.changes()
    assert [change[:5] for change in theirs] == [change[:5] for change in ours], step
    for their, our in zip(theirs, ours, strict=True):
        defaults = [column.default for column in oracle.tables[their[2]].columns]
        for packed, model in ((their[5], our[5]), (their[6], our[6])):
            assert unpacked(packed, defaults) == unpacked(model, defaults), step


def unpacked(packed: bytes | None, defaults: m.Cells) -> list[tuple[bytes, int, int, m.Cells]]:
    return [] if packed is None else filled([(b"", *m.unpack_row(packed))], defaults)


def filled(
    rows: list[tuple[bytes, int, int, m.Cells]], defaults: m.Cells
) -> list[tuple[bytes, int, int, m.Cells]]:
    """Rows older than a column may leave it out; either way of packing them is right."""
    return [(key, create, modify, cells + defaults[len(cells) :]) for key, create, modify, cells in rows]


def pair() -> tuple[Replica, m.Model]:
    return Replica(w.schema()), m.Model(w.schema())


@given(stream.HISTORIES)
def test_the_core_and_the_model_agree_on_every_entry(history: list[stream.Step]) -> None:
    core, oracle = pair()
    feed(core, oracle, history)
    assert_same_tables(core, oracle)


@given(stream.HISTORIES, stream.HISTORIES)
def test_a_snapshot_midway_changes_nothing(before: list[stream.Step], after: list[stream.Step]) -> None:
    core, oracle = pair()
    feed(core, oracle, before)
    restored = Replica.restore(core.snapshot())
    assert restored.digest() == core.digest()
    feed(restored, oracle, after)
    assert_same_tables(restored, oracle)
    for step in after:
        if step.cases is None:
            core.pulse(step.now_ms, step.limit)
        else:
            answer(core, step)
    assert restored.digest() == core.digest()


@given(stream.HISTORIES, stream.HISTORIES, st.booleans())
def test_a_migration_midway_keeps_rows_and_rules(
    before: list[stream.Step], after: list[stream.Step], through_snapshot: bool
) -> None:
    core, oracle = pair()
    feed(core, oracle, before)
    core.define(w.migrated())
    oracle.define(w.migrated())
    assert_same_tables(core, oracle)
    if through_snapshot:
        core = Replica.restore(core.snapshot())
    feed(core, oracle, after)
    assert_same_tables(core, oracle)


def test_the_window_of_requests_forgets_the_oldest() -> None:
    core, oracle = pair()
    nothing = w.entry(([], []))
    for number in (*range(m.REQUESTS_MAX + 2), 2, 1, 2, 3):
        step = stream.Step(0, nothing, request_id=number.to_bytes(16))
        assert answer(core, step) == answer(oracle, step), number
    assert core.index() == m.REQUESTS_MAX + 5
    restored = Replica.restore(core.snapshot())
    again = stream.Step(0, nothing, request_id=(3).to_bytes(16))
    assert answer(restored, again) == answer(core, again) == answer(oracle, again)


def test_a_schema_that_is_no_addition_is_refused_and_nothing_changes() -> None:
    wanted = w.tables()
    wanted[w.LOCKS - 1]["columns"][0]["kind"] = "text"
    shrunk = [table for table in w.tables() if table["id"] != w.TREE]
    core, oracle = pair()
    for schema in (w.schema(wanted), w.schema(shrunk)):
        for engine in (core, oracle):
            try:
                engine.define(schema)
            except (CoreError, m.Refused):
                continue
            raise AssertionError("a schema that drops or changes what is there was accepted")
    feed(core, oracle, [stream.Step(0, w.always(w.put(w.LOCKS, "k", b"v"), w.put(w.TREE, "t")))])
    assert_same_tables(core, oracle)
