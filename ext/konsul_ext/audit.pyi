"""The audit log: events become lines in memory. This file is the typed contract of `audit.pyx`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

@final
class AuditLog:
    """Formats one JSON line per event into a bounded buffer; a thread of its owner calls `take`.

    `actions`: verb -> (action, resource type, whether it changes something). An unknown verb is an action
    named by the route, of the type before its first dot. `which` all, writes (what changes something or was
    not done) or denied (what was not done). `wake` is called, on any thread, when a quarter is full.
    """

    recorded: int
    """Events that became a line."""
    dropped: int
    """Events lost because the buffer was full."""
    refused: int
    """Times `admits` said no."""

    def __init__(
        self,
        actions: Mapping[str, tuple[str, str, bool]],
        node_id: str,
        *,
        which: Literal["all", "writes", "denied"] | str = "all",
        events_max: int = 16384,
        drop_policy: Literal["drop", "block"] | str = "drop",
        wake: Callable[[], object] | None = None,
    ) -> None:
        """Raises KeyError for an unknown `which` or `drop_policy`, ValueError for an `events_max` below 1."""
    def admits(self) -> bool:
        """False while the buffer is full and the policy is `block`: the door answers 503 with Retry-After.

        Asked before a request is begun, never while it runs: who was let in is recorded, so that nobody
        waits on the thread that would have to make room.
        """
    def record(
        self,
        identity: Any,
        client: str,
        verb: str,
        resources: Sequence[str | bytes] | str | bytes | None = None,
        outcome: str = "",
        reason: str = "",
        *,
        method: str,
        path: bytes,
        status: int,
        took_ns: int,
        request_id: str | bytes,
        body: bytes | None = None,
    ) -> None:
        """Adds one event, when the request is over and its status is final.

        Args:
            identity: `konsul.kernel.pipeline.Identity`, or None for nobody.
            client: the client's address.
            verb: the name of a verb, or an action of a request that reached none (`auth.failed`, `http.get`).
            resources: what was touched; one text, several, or None.
            outcome: of the verb: success, not_found, cas_conflict, denied, error; empty: as the status says.
            reason: why it was allowed or refused; empty: the outcome, unless it is a success.
            path: as sent, without the query.
            took_ns: nanoseconds since the request began; the event's time is that beginning.
            body: never kept; hashed (SHA-256) for verbs that are known, unless the method only reads or the
                action is of `auth`: passwords are guessed from a hash.
        """
    def take(self) -> tuple[bytes, int, int, int] | None:
        """(lines, events, earliest and latest event in nanoseconds of Unix time), which leave the buffer."""
    def waiting(self) -> int:
        """Events in the buffer."""
    def line(
        self,
        event_id: bytes,
        at_ns: int,
        identity: Any,
        client: str,
        verb: str,
        resources: Sequence[str | bytes] | str | bytes | None = None,
        outcome: str = "",
        reason: str = "",
        *,
        method: str,
        path: bytes,
        status: int,
        took_ns: int,
        request_id: str | bytes,
        body: bytes | None = None,
    ) -> bytes:
        """The line that `record` would add, with a given id and time."""
