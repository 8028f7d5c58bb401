"""What a command or query knows about the request that called it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from konsul.kernel.command import Verb
from konsul.kernel.pipeline import Identity, Pipeline

if TYPE_CHECKING:
    from konsul.engine import Engine
    from konsul.kernel.config import Config

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """One request's view of the node; cheap, made per request."""

    engine: Engine
    config: Config
    identity: Identity
    request_id: str
    client_addr: str
    pipeline: Pipeline

    async def run(self, verb: Verb[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Authorises, calls, counts and audits the verb. Raises what it or a slot of the pipeline raises."""
        return await self.pipeline.run(self, verb, *args, **kwargs)
