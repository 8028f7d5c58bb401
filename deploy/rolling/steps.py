"""The steps of a rolling upgrade: gate, hand over, upgrade, wait, restore what does not come back."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy.rolling.nodes import NodePlan, Nodes
from deploy.rolling.view import Eyes, NodeView
from konsul.errors import KonsulError

POLL_S = 0.2
KEPT_OUTPUT_BYTES = 2_000
AGE_SLACK_S = 2.0
"""What a node says of its own age is rounded; so much older than the command it may look."""
SAFE_VOTERS = 3
Views = Mapping[str, NodeView]


class Failed(Exception):
    """The upgrade stopped, and no node was left half upgraded."""


class Stuck(Exception):
    """The upgrade stopped, and a node is neither upgraded nor restored."""


@dataclass(frozen=True)
class Limits:
    """How long each wait may last, in seconds."""

    command_s: float = 600.0
    node_s: float = 180.0
    health_s: float = 60.0


class Rolling:
    """One upgrade: of the nodes in `chosen`, while all `nodes` are watched. `say` is told every step."""

    def __init__(
        self,
        nodes: Nodes,
        chosen: Sequence[str],
        eyes: Eyes,
        limits: Limits,
        *,
        version: str | None = None,
        interruption: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._chosen = [node.id for node in nodes if not chosen or node.id in chosen]
        self._eyes, self._limits, self._version, self._say = eyes, limits, version, say
        self._interruption = interruption

    def plan(self) -> None:
        """Prints what `run` would do now. Raises Failed when it would not begin."""
        views = self._eyes.look_at_all()
        leader = leader_of(views)
        order = sorted(self._chosen, key=lambda name: name == leader)
        for number, name in enumerate(order, 1):
            node, view = self._nodes[name], views[name]
            self._say(
                f"{number}. {name}  {node.http}  {view.role or 'no answer'}  version {view.version or '?'}"
            )
            self._say(
                f"   gate     every node ready, one leader, no lag; at most {self._limits.health_s:g} s"
            )
            if name == leader and len(views[name].voters) > 1:
                self._say("   transfer leadership to the most up to date voter")
            self._say(f"   upgrade  {shlex.join(node.upgrade)}")
            self._say(f"   wait     back, following, no lag; at most {self._limits.node_s:g} s")
            self._say(f"   if not   {shlex.join(node.restore)}")
        problem = self._problem(views)
        if problem:
            raise Failed(f"as it is now this would not begin: {problem}")

    def run(self) -> None:
        """Upgrades every chosen node. Raises Failed or Stuck when it has to stop."""
        pending = list(self._chosen)
        while pending:
            views = self._until_well(self._limits.health_s, "before the next node")
            leader = leader_of(views)
            # Asked anew each time: leadership may have moved on its own since the last step.
            name = next((one for one in pending if one != leader), pending[0])
            if name == leader and len(views[name].voters) > 1:
                self._hand_over(name)
            self._upgrade(self._nodes[name])
            pending.remove(name)
        self._until_well(self._limits.health_s, "at the end")
        self._say(f"done: {len(self._chosen)} nodes upgraded")

    def _hand_over(self, leader: str) -> None:
        self._say(f"{leader}: leads, hands over")
        try:
            self._eyes.hand_over(leader)
        except KonsulError as error:
            raise Failed(f"{leader} did not hand over leadership: {error}") from error
        views = self._until_well(self._limits.health_s, f"after {leader} handed over")
        if leader_of(views) == leader:
            raise Failed(f"{leader} leads again after it handed over")
        self._say(f"{leader}: {leader_of(views)} leads now")

    def _upgrade(self, node: NodePlan) -> None:
        began_s = time.monotonic()
        self._say(f"{node.id}: upgrade: {shlex.join(node.upgrade)}")
        trouble = self._command(node.upgrade) or self._return_of(node, began_s, self._version)
        if trouble is None:
            self._say(f"{node.id}: back, version {self._eyes.look(node.id).version}, no lag")
            return
        self._say(f"{node.id}: {trouble}")
        self._say(f"{node.id}: restore: {shlex.join(node.restore)}")
        began_s = time.monotonic()
        worse = self._command(node.restore) or self._return_of(node, began_s, None)
        if worse is not None:
            raise Stuck(f"{node.id}: {trouble}; and after its restore: {worse}")
        raise Failed(f"{node.id}: {trouble}; it was restored and is back")

    def _command(self, words: Sequence[str]) -> str | None:
        """What went wrong with a command, None if nothing."""
        # A file, not a pipe: what a command leaves running would hold a pipe open, and us with it.
        with tempfile.TemporaryFile() as kept:
            try:
                done = subprocess.run(  # noqa: S603 - the operator's own command, no shell
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=kept,
                    stderr=subprocess.STDOUT,
                    timeout=self._limits.command_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"the command did not end in {self._limits.command_s:g} s"
            except OSError as cause:
                return f"the command cannot be run: {cause.strerror}"
            kept.seek(max(0, kept.tell() - KEPT_OUTPUT_BYTES))
            output = kept.read().decode("utf-8", "replace").strip()
        if done.returncode:
            return f"the command ended with {done.returncode}" + (f": {output}" if output else "")
        return None

    def _return_of(self, node: NodePlan, began_s: float, version: str | None) -> str | None:
        """Why the node is not back; None when it is: started since `began_s`, the cluster well with it."""

        def problem(views: Views) -> str | None:
            view = views[node.id]
            if view.trouble:
                return f"it does not answer: {view.trouble}"
            if view.uptime_s > time.monotonic() - began_s + AGE_SLACK_S:
                return f"it was not started again: it has been running for {view.uptime_s:g} s"
            if version is not None and view.version != version:
                return f"its version is {view.version}, not {version}"
            return self._problem(views)

        try:
            self._until(problem, self._limits.node_s)
        except Failed as failed:
            return str(failed)
        return None

    def _until_well(self, limit_s: float, when: str) -> Views:
        try:
            return self._until(self._problem, limit_s)
        except Failed as failed:
            raise Failed(f"{when}: {failed}") from failed

    def _until(self, problem: Callable[[Views], str | None], limit_s: float) -> Views:
        """Looks until nothing is wrong, and every node holds what was committed when first nothing was."""
        end_s = time.monotonic() + limit_s
        target: int | None = None
        while True:
            views = self._eyes.look_at_all()
            found = problem(views)
            if found is None:
                if target is None:
                    target = views[leader_of(views)].committed
                behind = {
                    name: target - view.applied for name, view in views.items() if view.applied < target
                }
                if not behind:
                    return views
                found = ", ".join(f"{name} is {lag} entries behind" for name, lag in behind.items())
            if time.monotonic() > end_s:
                raise Failed(f"{found} (waited {limit_s:g} s)")
            time.sleep(POLL_S)

    def _problem(self, views: Views) -> str | None:
        """Why no node may be touched now, None if one may."""
        for name, view in views.items():
            if view.trouble:
                return f"{name} does not answer: {view.trouble}"
            if not view.is_ready:
                return f"{name} is not ready"
        leader = leader_of(views)
        if not leader:
            return "the nodes do not agree on one leader"
        if leader not in views:
            return f"{leader} leads and is not in the node file"
        unseen = sorted(views[leader].members - views.keys())
        if unseen:
            return f"member {unseen[0]} is not in the node file"
        strangers = sorted(views.keys() - views[leader].members)
        if strangers:
            return f"{strangers[0]} is not a member of the cluster"
        voters = len(views[leader].voters)
        if voters < SAFE_VOTERS and not self._interruption:
            return f"with {voters} voters a restart stops writes; --allow-interruption goes on all the same"
        return None


def leader_of(views: Views) -> str:
    """The leader on whom every node that answers agrees, and which itself says so; empty without one."""
    named = {view.leader for view in views.values() if not view.trouble}
    if len(named) != 1:
        return ""
    (name,) = named
    return name if name not in views or views[name].role == "Leader" else ""
