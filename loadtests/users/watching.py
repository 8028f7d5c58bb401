"""Users who watch what they write: each change must come back once, in order, with its value."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Literal

from locust import between, task

from konsul.client import KvChange
from konsul.errors import KonsulError
from loadtests.users.sdk_user import MS_PER_S, SdkUser

KEYS = 20
VALUE_BYTES = 75
LATE_MAX_S = 10.0
SUBSCRIPTION = """
subscription Changes($pattern: String, $since: Long) {
  kvChanged(pattern: $pattern, since: $since) { type key value }
}
"""

Change = tuple[str, str, str | None]
"""`set` or `delete`, key, value."""


class WatchingUser(SdkUser):
    """Writes below its prefix, and is told what it wrote; how is up to `told`."""

    abstract = True
    wait_time = between(0.001, 0.02)
    way: str
    """The name of its events in locust's statistics."""

    def on_start(self) -> None:
        """Begins to watch behind its first write, so that nothing can be missed."""
        super().on_start()
        self.due: deque[tuple[Change, float]] = deque()
        self.alive: set[str] = set()
        self.cut_off: Change | None = None
        self.ending = False
        self.since = self.client.kv.set(f"{self.prefix}begin", b"now").modify_index
        # locust has made threads into greenlets.
        self.watching = threading.Thread(target=self.follow)
        self.watching.start()

    def on_stop(self) -> None:
        """Waits for what was written last, and leaves nothing behind."""
        end_s = time.monotonic() + LATE_MAX_S
        while self.missed() and time.monotonic() < end_s:
            time.sleep(0.01)
        self.verify(f"{self.way}: changes never told", self.missed(), [])
        # The watch ends itself, at the next change: greenlets do not bear that another closes a socket.
        self.ending = True
        self.client.kv.set(f"{self.prefix}watched/end", b"now")
        self.watching.join(LATE_MAX_S)
        self.client.kv.delete_prefix(self.prefix)
        super().on_stop()

    def missed(self) -> list[Change]:
        """What was written and not told. locust ends a user within a request, which then has reached
        the server or not: that one is not counted."""
        return [change for change, _ in self.due if change != self.cut_off]

    def told(self) -> Iterator[Change]:
        """Every change that reaches it, until its client is closed."""
        raise NotImplementedError

    def follow(self) -> None:
        """Compares what it is told with what it wrote."""
        try:
            for change in self.told():
                if self.ending:
                    return
                expected, sent_s = self.due.popleft() if self.due else (None, time.monotonic())
                self.verify(f"{self.way}: a change", change, expected)
                self.arrived(sent_s)
        except KonsulError as error:
            self.verify(f"{self.way}: the watch ended", str(error), "" if not self.ending else str(error))

    def write(self, change: Change, send: Callable[[], object]) -> None:
        """One write, expected to be told from before it is sent."""
        self.due.append((change, time.monotonic()))
        self.cut_off = change
        send()
        self.cut_off = None

    def arrived(self, sent_s: float) -> None:
        """Reports one event: the time since its write was sent."""
        self.environment.events.request.fire(
            request_type="EVENT",
            name=self.way,
            response_time=(time.monotonic() - sent_s) * MS_PER_S,
            response_length=0,
            exception=None,
            context={},
        )

    @task(10)
    def set(self) -> None:
        key, value = self.key(), random.randbytes(VALUE_BYTES).hex()
        self.alive.add(key)
        self.write(("set", key, value), lambda: self.client.kv.set(key, value.encode()))

    @task(2)
    def delete(self) -> None:
        key = self.key()
        if key in self.alive:
            self.alive.discard(key)
            self.write(("delete", key, None), lambda: self.client.kv.delete(key))

    @task(1)
    def write_elsewhere(self) -> None:
        self.client.kv.set(f"{self.prefix}elsewhere", b"not watched")

    def key(self) -> str:
        """One of the keys it watches."""
        return f"{self.prefix}watched/{random.randrange(KEYS)}"


class SdkWatcher(WatchingUser):
    """Watches as programs do: through the SDK's iterator."""

    abstract = True
    transport: Literal["sse", "websocket"]

    def told(self) -> Iterator[Change]:
        pattern = f"{self.prefix}watched/*"
        with closing(self.client.kv.watch(pattern, since=self.since, transport=self.transport)) as changes:
            for one in changes:
                if isinstance(one, KvChange):
                    yield one.type, one.key, None if one.value is None else one.text
                else:
                    self.verify(f"{self.way}: nothing but changes", one, None)


class SseUser(SdkWatcher):
    """By server-sent events."""

    transport = "sse"
    way = "kv watch, SSE"


class WebSocketUser(SdkWatcher):
    """By WebSocket."""

    transport = "websocket"
    way = "kv watch, WebSocket"


class GraphqlUser(WatchingUser):
    """By a GraphQL subscription."""

    way = "kvChanged, GraphQL"

    def told(self) -> Iterator[Change]:
        variables = {"pattern": f"{self.prefix}watched/*", "since": self.since}
        with closing(self.client.graphql_subscribe(SUBSCRIPTION, variables)) as answers:
            for answer in answers:
                self.verify(f"{self.way}: errors", list(answer.errors), [])
                one = (answer.data or {})["kvChanged"]
                yield one["type"].lower(), one["key"], one["value"]
