"""Of fresh nodes that form a cluster together, one bootstraps it, however they hear of each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from konsul.features.cluster.promises import InFile, InMemory, Promises

NAMES = ("a", "b", "c", "d", "e")


def node(name: str, expect: int = 3, keep: InMemory | None = None) -> Promises:
    return Promises(name, expect, keep or InMemory())


def test_the_lowest_of_those_seen_forms_the_cluster() -> None:
    a, b, c = (node(name) for name in "abc")
    assert b.stand({"a", "b", "c"}) is None
    assert a.stand({"a", "b"}) is None
    number = a.stand({"a", "b", "c"})
    assert number is not None
    for one in (b, c):
        assert one.asked("a", 3)
        a.granted(one.node_id, number)
    assert a.wins(number)
    assert not a.asked("0", 3), "who is bootstrapping promises nothing"


def test_a_promise_is_for_one() -> None:
    c = node("c")
    assert c.asked("b", 3)
    assert not c.asked("a", 3)
    assert c.asked("b", 3)
    assert not c.asked("b", 4)
    assert not node("b").asked("c", 3), "nobody promises itself to a higher name"


def test_a_candidate_gives_way_to_a_lower_name_and_its_promises_are_void() -> None:
    b, c = node("b"), node("c")
    number = b.stand({"b", "c", "d"})
    assert number is not None
    assert c.asked("b", 3)
    assert b.asked("a", 3)
    b.granted("c", number)
    b.granted("d", number)
    assert not b.wins(number)
    c.released("b", b.given)
    assert c.asked("a", 3)


def test_a_promise_survives_a_restart(tmp_path: Path) -> None:
    first = Promises("c", 3, InFile(tmp_path))
    assert first.asked("b", 3)
    again = Promises("c", 3, InFile(tmp_path))
    assert not again.asked("a", 3)
    again.forget()
    assert Promises("c", 3, InFile(tmp_path)).given == ""
    (tmp_path / "promise").write_text("not a name\n")
    assert InFile(tmp_path).read() == ""


@dataclass
class World:
    """Nodes, and messages that arrive late, twice or never."""

    expect: int
    nodes: dict[str, Promises] = field(default_factory=dict)
    keeps: dict[str, InMemory] = field(default_factory=dict)
    on_their_way: list[tuple[str, ...]] = field(default_factory=list)
    winners: list[str] = field(default_factory=list)
    rounds: dict[str, int] = field(default_factory=dict)
    lives: dict[str, int] = field(default_factory=dict)

    def restart(self, name: str) -> None:
        if name not in self.winners:
            self.keeps.setdefault(name, InMemory())
            self.nodes[name] = node(name, self.expect, self.keeps[name])
            self.lives[name] = self.lives.get(name, 0) + 1

    def stand(self, name: str, seen: set[str]) -> None:
        number = self.nodes[name].stand(seen | {name})
        if number is not None:
            self.rounds[name] = number
            for other in seen - {name}:
                self.on_their_way.append(("ask", name, other, str(number), str(self.lives[name])))

    def greet(self, name: str) -> None:
        holder = self.nodes[name].given
        if holder and holder != name:
            self.on_their_way.append(("tell", name, holder, str(self.lives[name])))

    def deliver(self, at: int) -> None:
        kind, by, to, *rest = self.on_their_way[at]
        if kind == "ask":
            if self.nodes[to].asked(by, self.expect):
                self.on_their_way.append(("granted", to, by, *rest))
        elif kind == "granted":
            # A process that ended since does not read the answer to its question.
            if rest[1] == str(self.lives[to]):
                self.nodes[to].granted(by, int(rest[0]))
        elif kind == "tell":
            self.on_their_way.append(("told", to, by, *rest, self.nodes[to].given))
        elif rest[0] == str(self.lives[to]):
            self.nodes[to].released(by, rest[1])

    def judge(self, name: str) -> None:
        if self.nodes[name].wins(self.rounds.get(name, -1)):
            self.winners.append(name)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("stand"), st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES), min_size=2)),
        st.tuples(st.just("greet"), st.sampled_from(NAMES)),
        st.tuples(st.just("deliver"), st.integers(0, 10_000)),
        st.tuples(st.just("judge"), st.sampled_from(NAMES)),
        st.tuples(st.just("restart"), st.sampled_from(NAMES)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 4), steps)
def test_two_nodes_never_both_bootstrap(expect: int, drawn: list[tuple[object, ...]]) -> None:
    # More than half of those that may be there: any two such groups share a node, which promises once.
    world = World(max(expect, len(NAMES) // 2 + 1))
    for name in NAMES:
        world.restart(name)
    for step, *given_ in drawn:
        match step, given_:
            case "stand", [str() as name, set() as seen]:
                world.stand(name, seen)
            case "greet", [str() as name]:
                world.greet(name)
            case "deliver", [int() as at] if world.on_their_way:
                world.deliver(at % len(world.on_their_way))
            case "judge", [str() as name]:
                world.judge(name)
            case "restart", [str() as name]:
                world.restart(name)
    assert len(set(world.winners)) <= 1
