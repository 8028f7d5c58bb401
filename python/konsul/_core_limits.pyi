"""Rates, as the Rust core counts them: the part of `_core.pyi` that has nothing to do with the rest."""

from collections.abc import Sequence
from typing import TypeAlias, final

__all__ = ["Limiter", "RateLimits"]

_Now: TypeAlias = tuple[int, int] | None
_Rate: TypeAlias = tuple[int, int]
_Listed: TypeAlias = tuple[int, str, int | None]
_Client: TypeAlias = tuple[int, str, float, int, int, int, int, int, int, int]

@final
class Limiter:
    """A token bucket per client, for any thread. A client starts with a whole period's tokens."""

    def __new__(cls, count: int, period_ms: int, clients_max: int) -> Limiter:
        """`count` tokens come back in each period. Clients past `clients_max` share one bucket. CoreError 3
        for a zero."""
    def take(self, client: str, count: int, now_ms: int) -> int | None:
        """Takes `count` tokens or none. 0: taken, else the milliseconds until they are there; None: never.
        `now_ms`: any monotonic clock."""
    def give(self, client: str, count: int, now_ms: int) -> None:
        """Gives back what was taken, as far as there is room."""
    def clients(self) -> int:
        """How many clients have a bucket of their own now."""

@final
class RateLimits:
    """The rate limits of a node, for any thread. Kinds of clients: 0 address, 1 API key, 2 user.

    `_Rate`: millionths of a token per second, burst. `_Now`: ms of a monotonic clock and of Unix, for tests.
    `_Client`: kind, id, tokens, burst, millionths per second, last and first request in Unix ms, allowed,
    denied, Unix ms until which its rate is its own or 0. CoreError 3 for a rate of nothing and for what is no
    address.
    """

    def __new__(
        cls,
        rate: _Rate,
        classes: Sequence[tuple[str, int, int] | None],
        *,
        clients_max: int,
        history_max: int,
        with_headers: bool,
    ) -> RateLimits:
        """`classes`: of each route class its name, rate and burst if it has them apart. Clients of a kind
        past `clients_max` share one bucket."""
    def take(
        self,
        scope: int,
        id: str,
        address: str,
        class_id: int,
        cost: int,
        now: _Now = None,
        spent: int = 0,
    ) -> tuple[int, list[tuple[bytes, bytes]], int, int]:
        """Spends `cost`, cut at the burst, of the kind `scope` (3: of nobody); `spent`: what the same request
        took before, given back if it is refused. Answers verdict, headers, ms to wait or -1, Unix second of
        the next token. Verdicts: 0 unlimited, 1 whitelisted, 2 allowed, 3 refused, 4, 5, 6 blacklisted by
        address, API key, user."""
    def set_rate(self, rate: _Rate, now: _Now = None) -> None:
        """Changes the rate of all that have none of their own, at once."""
    def set_customs(self, customs: Sequence[tuple[int, str, _Rate, int]], now: _Now = None) -> None:
        """Replaces all rates of clients' own: kind, id, rate, Unix ms until which it holds."""
    def set_lists(self, white: Sequence[_Listed], black: Sequence[_Listed]) -> None:
        """Replaces both lists: kind, id or network, Unix ms until which it holds."""
    def clients(self, kind: int, count: int, now: _Now = None) -> list[_Client]:
        """Up to `count`, by id."""
    def top(self, by_denied: bool, count: int, now: _Now = None) -> list[_Client]:
        """Those with the most refusals, or the most requests."""
    def client(self, kind: int, id: str, now: _Now = None) -> _Client | None: ...
    def forget(self, kind: int, id: str) -> bool:
        """Forgets a client, which starts full when it comes again. False: there was none."""
    def forget_all(self, kind: int) -> None: ...
    def sweep(self, idle_ms: int, count: int, now: _Now = None) -> int:
        """Looks at the next `count` buckets of each table and drops those unused for `idle_ms`; how many."""
    def stats(self) -> list[tuple[int, int, int, int, int]]:
        """By kind: clients, allowed, over their rate, whitelisted, blacklisted."""
    def history(self, after: int, count: int) -> list[tuple[int, int, int, str, int, int, float]]:
        """Refusals above a number, oldest first: number, Unix ms, kind, id, class, cost, tokens there."""
    @staticmethod
    def client_of(address: str) -> str | None:
        """For whom an address's bucket is kept: IPv4, or a /64. None: it is no address."""
    @staticmethod
    def network_of(text: str) -> str | None:
        """An address or network as it is kept. None: it is neither."""
