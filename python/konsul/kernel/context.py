"""What a command or query knows about the request that called it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from konsul.kernel.command import Verb
from konsul.kernel.pipeline import ANONYMOUS, Identity, Pipeline
from konsul.kernel.writing import PLAIN_TERMS, Terms, part_of

if TYPE_CHECKING:
    from konsul.engine import Applied, Engine, Sight
    from konsul.kernel.config import Config
    from konsul.kernel.node import Kernel

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """One request's view of the node; cheap, made per request.

    Commands write through `commit`, `put` and `renew`, which keep to the request's terms. `noted` goes back
    to the door: `index` is what the answer's `X-Konsul-Index` will be.
    """

    engine: Engine
    config: Config
    identity: Identity
    request_id: str
    client_addr: str
    pipeline: Pipeline
    terms: Terms = PLAIN_TERMS
    noted: MutableMapping[str, Any] = field(default_factory=dict)

    async def run(self, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Authorises, calls, counts and audits the verb. Raises what it or a slot of the pipeline raises."""
        return await self.pipeline.run(self, verb, *args, **kwargs)

    def renewed(self) -> Context:
        """This, after a wait: the caller as of now. Raises Unauthenticated if that is nobody any more."""
        renew = self.pipeline.renew
        now = self.identity if renew is None else renew(self.identity)
        return self if now is self.identity else replace(self, identity=now)

    def visible(self, needs: str) -> Sight | None:
        """What of a list the caller may see for `needs`; None: all of it."""
        visible = self.pipeline.visible
        return None if visible is None else visible(self.identity, needs)

    async def commit(self, cases: bytes) -> Applied:
        """As `Engine.commit`, on the request's terms."""
        terms = self.terms
        return self._note(await self.engine.commit(cases, terms.timeout_ms, terms.write_id))

    async def put(self, table: int, key: bytes, cells: bytes, at: int | None = None) -> Applied:
        """As `Engine.put`, on the request's terms."""
        terms = self.terms
        return self._note(await self.engine.put(table, key, cells, at, terms.timeout_ms, terms.write_id))

    async def renew(self, table: int, key: bytes) -> None:
        """As `Engine.renew`, on the request's terms."""
        await self.engine.renew(table, key, self.terms.timeout_ms)

    def part(self, number: int) -> Context:
        """The context of one of several entries: each is applied once by itself. Number them alike."""
        return replace(self, terms=replace(self.terms, write_id=part_of(self.terms.write_id, number)))

    def following(self) -> Context:
        """The context of entries that follow from the request's own and are worked out anew each time: under
        its id they would count as the same write, and not be made."""
        return replace(self, terms=replace(self.terms, write_id=None))

    @classmethod
    def within(cls, kernel: Kernel, about: MutableMapping[str, Any], terms: Terms = PLAIN_TERMS) -> Context:
        """The context of a request or connection, from what the front put into its scope as `konsul`."""
        return cls(
            engine=kernel.engine,
            config=kernel.config,
            identity=about.get("identity", ANONYMOUS),
            request_id=about.get("request_id", ""),
            client_addr=about.get("client", ""),
            pipeline=kernel.pipeline,
            terms=terms,
            noted=about,
        )

    def _note(self, applied: Applied) -> Applied:
        self.noted["index"] = max(applied.index, self.noted.get("index") or 0)
        return applied
