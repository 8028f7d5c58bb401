"""A rolling upgrade of nodes that are played: order, gates, hand-over, restore, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.rolling.nodes import Misused, NodePlan, load
from deploy.rolling.steps import Failed, Limits, Rolling, Stuck
from deploy.rolling.view import Eyes, NodeView, seconds
from konsul.errors import NoLeader

QUICK = Limits(command_s=10.0, node_s=0.5, health_s=0.5)
OLD, NEW, BROKEN = "1.0", "2.0", "broken"


@dataclass
class Stage(Eyes):
    """Nodes whose version is the content of a file, which their commands write."""

    folder: Path
    names: tuple[str, ...] = ("n1", "n2", "n3")
    leader: str = "n1"
    readonly: tuple[str, ...] = ()
    lag: dict[str, int] = field(default_factory=dict)
    hands_over: bool = True
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.names:
            (self.folder / name).write_text(OLD)

    def version(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def look(self, name: str) -> NodeView:
        version = self.version(name)
        if version == BROKEN:
            return NodeView(trouble="cannot connect")
        peers = [{"id": one, "state": "Nonvoter" if one in self.readonly else "Voter"} for one in self.names]
        status = {
            "state": "Leader" if name == self.leader else "Follower",
            "leader_id": self.leader,
            "commit_index": 100,
            "applied_index": 100 - self.lag.get(name, 0),
            "peers": peers,
        }
        return NodeView(status, version, uptime_s=1_000.0 if version == OLD else 0.0, is_ready=True)

    def look_at_all(self) -> dict[str, NodeView]:
        return {name: self.look(name) for name in self.names}

    def hand_over(self, leader: str) -> None:
        if not self.hands_over:
            raise NoLeader("nobody takes it")
        self.said.append(f"{leader} hands over")
        self.leader = next(name for name in self.names if name != leader and name not in self.readonly)

    def close(self) -> None:
        """Nothing is open."""

    def node(self, name: str, upgrade: str = NEW, restore: str = OLD + "b") -> NodePlan:
        write = 'printf "%s" "$1" > "$2"'
        file = str(self.folder / name)
        return NodePlan(
            name,
            f"http://{name}",
            ("sh", "-c", write, "sh", upgrade, file),
            ("sh", "-c", write, "sh", restore, file),
        )

    def rolling(self, *nodes: NodePlan, only: tuple[str, ...] = (), interruption: bool = False) -> Rolling:
        plans = nodes or tuple(self.node(name) for name in self.names)
        return Rolling(plans, only, self, QUICK, version=NEW, interruption=interruption, say=self.said.append)


def upgraded(stage: Stage) -> list[str]:
    """In which order nodes were upgraded, and when leadership was handed over."""
    return [
        line.partition(":")[0] if ": upgrade: " in line else line
        for line in stage.said
        if ": upgrade: " in line or (line.endswith(" hands over") and ":" not in line)
    ]


def test_followers_first_and_the_leader_last_after_it_handed_over(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.rolling().run()
    assert upgraded(stage) == ["n2", "n3", "n1 hands over", "n1"]
    assert [stage.version(name) for name in stage.names] == [NEW] * 3
    assert stage.said[-1] == "done: 3 nodes upgraded"


def test_only_the_named_nodes(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.rolling(only=("n3",)).run()
    assert [stage.version(name) for name in stage.names] == [OLD, OLD, NEW]


def test_a_node_that_does_not_come_back_is_restored_and_nothing_else_is_touched(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    nodes = [stage.node("n1"), stage.node("n2", upgrade=BROKEN), stage.node("n3")]
    with pytest.raises(
        Failed, match=r"n2: it does not answer: cannot connect.*; it was restored and is back"
    ):
        stage.rolling(*nodes).run()
    assert [stage.version(name) for name in stage.names] == [OLD, OLD + "b", OLD]


def test_a_node_of_another_version_than_expected_is_restored(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(Failed, match=r"its version is 1\.5, not 2\.0"):
        stage.rolling(stage.node("n1"), stage.node("n2", upgrade="1.5"), stage.node("n3")).run()


def test_a_command_that_fails_or_does_nothing_counts_as_a_node_that_did_not_come_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    plain = stage.node("n2")
    failing = NodePlan("n2", plain.http, ("sh", "-c", "echo no room; exit 3"), plain.restore)
    with pytest.raises(Failed, match="the command ended with 3: no room"):
        stage.rolling(stage.node("n1"), failing, stage.node("n3")).run()
    stage = Stage(tmp_path)
    with pytest.raises(Failed, match="it was not started again: it has been running for 1000 s"):
        stage.rolling(stage.node("n1"), stage.node("n2", upgrade=OLD), stage.node("n3")).run()
    absent = NodePlan("n2", plain.http, (str(tmp_path / "nothing"),), plain.restore)
    stage = Stage(tmp_path)
    with pytest.raises(Failed, match="the command cannot be run: No such file"):
        stage.rolling(stage.node("n1"), absent, stage.node("n3")).run()


def test_a_node_that_cannot_be_restored_needs_a_person(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(Stuck, match=r"n2: .*; and after its restore: it does not answer"):
        stage.rolling(stage.node("n1"), stage.node("n2", BROKEN, BROKEN), stage.node("n3")).run()
    assert stage.version("n3") == OLD


def unwell_silent(stage: Stage) -> None:
    (stage.folder / "n3").write_text(BROKEN)


def unwell_behind(stage: Stage) -> None:
    stage.lag["n3"] = 5


def unwell_leaderless(stage: Stage) -> None:
    stage.leader = ""


def unwell_led_by_a_stranger(stage: Stage) -> None:
    stage.leader = "n9"


@pytest.mark.parametrize(
    ("make_unwell", "words"),
    [
        (unwell_silent, "n3 does not answer"),
        (unwell_behind, "n3 is 5 entries behind"),
        (unwell_leaderless, "do not agree on one leader"),
        (unwell_led_by_a_stranger, "n9 leads and is not in the node file"),
    ],
)
def test_nothing_is_touched_while_something_is_wrong(
    tmp_path: Path, make_unwell: Callable[[Stage], None], words: str
) -> None:
    stage = Stage(tmp_path)
    make_unwell(stage)
    with pytest.raises(Failed, match=words):
        stage.rolling().run()
    assert upgraded(stage) == []


def test_a_member_that_is_not_in_the_file_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.names = ("n1", "n2", "n3", "n4")
    (tmp_path / "n4").write_text(OLD)
    looked = stage.look_at_all

    def without_n4() -> dict[str, NodeView]:
        return {name: view for name, view in looked().items() if name != "n4"}

    stage.look_at_all = without_n4  # type: ignore[method-assign]
    with pytest.raises(Failed, match="member n4 is not in the node file"):
        stage.rolling(*[stage.node(name) for name in ("n1", "n2", "n3")]).run()


def test_fewer_than_three_voters_only_when_an_interruption_is_meant(tmp_path: Path) -> None:
    stage = Stage(tmp_path, names=("n1", "n2"))
    with pytest.raises(Failed, match="with 2 voters a restart stops writes"):
        stage.rolling().run()
    assert upgraded(stage) == []
    stage.rolling(interruption=True).run()
    assert upgraded(stage) == ["n2", "n1 hands over", "n1"]


def test_a_leader_that_does_not_hand_over_is_not_touched(tmp_path: Path) -> None:
    stage = Stage(tmp_path, hands_over=False)
    with pytest.raises(Failed, match="n1 did not hand over leadership: nobody takes it"):
        stage.rolling().run()
    assert [stage.version(name) for name in stage.names] == [OLD, NEW, NEW]


def test_the_plan_is_printed_and_nothing_is_done(tmp_path: Path) -> None:
    stage = Stage(tmp_path, leader="n2")
    stage.rolling().plan()
    steps = [line for line in stage.said if line[0].isdigit()]
    assert [line.split()[1:4] for line in steps] == [
        ["n1", "http://n1", "Follower"],
        ["n3", "http://n3", "Follower"],
        ["n2", "http://n2", "Leader"],
    ]
    assert sum("transfer leadership" in line for line in stage.said) == 1
    assert [stage.version(name) for name in stage.names] == [OLD] * 3
    unwell_silent(stage)
    with pytest.raises(Failed, match="as it is now this would not begin: n3 does not answer"):
        stage.rolling().plan()


FILE = """
[commands]
upgrade = "ssh {host} 'konsul-install' {version}"
restore = "ssh {host} konsul-install --previous"
[[node]]
id = "n1"
http = "http://10.0.0.1:8888/"
host = "10.0.0.1"
[[node]]
id = "n2"
http = "https://10.0.0.2:8888"
host = "10.0.0.2"
restore = "true"
"""


def test_commands_are_filled_word_by_word(tmp_path: Path) -> None:
    path = tmp_path / "nodes.toml"
    path.write_text(FILE)
    one, two = load(path, ["version=2.0; rm -rf /"])
    assert one == NodePlan(
        "n1",
        "http://10.0.0.1:8888",
        ("ssh", "10.0.0.1", "konsul-install", "2.0; rm -rf /"),
        ("ssh", "10.0.0.1", "konsul-install", "--previous"),
    )
    assert two.restore == ("true",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no"),
        ("[[node", "is not valid TOML"),
        (FILE, "nothing fills {version}; add it to the node, or --set version=VALUE"),
        (FILE.replace("{version}", "'2"), "upgrade: No closing quotation"),
        (FILE.replace("{version}", "2").replace('id = "n2"', 'id = "n1"'), "names a node twice"),
        (FILE.replace("{version}", "2").replace("http://10", "10"), "expected a URL"),
        (FILE.replace("{version}", "2").replace('"true"', '""'), "restore: there is no such command"),
        (FILE.replace("{version}", "2").replace('"true"', "7"), "expected names with texts"),
        (FILE.replace("{version}", "2").replace('id = "n2"', ""), "id is missing"),
    ],
)
def test_a_node_file_that_makes_no_sense(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "nodes.toml"
    path.write_text(text)
    with pytest.raises(Misused) as caught:
        load(path)
    assert words in str(caught.value)
    with pytest.raises(Misused, match="cannot read"):
        load(tmp_path / "absent.toml")
    path.write_text(FILE)
    with pytest.raises(Misused, match="expected NAME=VALUE"):
        load(path, ["nonsense"])


def test_durations_as_health_says_them() -> None:
    assert seconds("1h2m3.5s") == 3723.5
    assert seconds("500ms") == 0.5
    assert seconds("") == 0
