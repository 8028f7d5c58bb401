"""One verb, every door: a command (writes) or query (reads) is declared once and called by `Context.run`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, Literal, ParamSpec, TypeAlias, TypeVar

if TYPE_CHECKING:
    from konsul.kernel.context import Context

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verb(Generic[P, T]):
    """A declared command or query. Run it with `ctx.run(verb, ...)`; calling `call` skips the pipeline."""

    name: str
    kind: Literal["command", "query"]
    needs: str
    """`resource type:capability`, such as `kv:write`."""
    resource: str | None
    """The argument that names what is touched: one text, or several."""
    call: Callable[Concatenate[Context, P], Awaitable[T]]
    doc: str
    local: bool = False
    """True for a command that changes this node only: any node may do it, the leader has no say."""


AnyVerb: TypeAlias = Verb[Any, Any]

VERBS: Final[dict[str, AnyVerb]] = {}
"""Every verb declared so far, by name: what the contract tests walk over."""


def _declare(
    kind: Literal["command", "query"],
    name: str,
    needs: str,
    resource: str | None,
    local: bool = False,
) -> Callable[[Callable[Concatenate[Context, P], Awaitable[T]]], Verb[P, T]]:
    def declare(call: Callable[Concatenate[Context, P], Awaitable[T]]) -> Verb[P, T]:
        verb = Verb(name, kind, needs, resource, call, (call.__doc__ or "").strip(), local)
        known = VERBS.get(name)
        if known is not None and known.call.__module__ != call.__module__:
            raise TypeError(f"verb {name} is declared in {known.call.__module__} and in {call.__module__}")
        VERBS[name] = verb
        return verb

    return declare


def command(
    name: str, *, needs: str, resource: str | None = None, local: bool = False
) -> Callable[[Callable[Concatenate[Context, P], Awaitable[T]]], Verb[P, T]]:
    """Declares a write. Its refusals are errors of `konsul.errors`; NotFound and Conflict count as such."""
    return _declare("command", name, needs, resource, local)


def query(
    name: str, *, needs: str, resource: str | None = None
) -> Callable[[Callable[Concatenate[Context, P], Awaitable[T]]], Verb[P, T]]:
    """Declares a read of the applied state."""
    return _declare("query", name, needs, resource)
