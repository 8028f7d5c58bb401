"""`/ws/updates`: several kinds of changes on one WebSocket, as the user interface asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from konsul.errors import Forbidden, KonsulError, Unauthenticated
from konsul.features.watch import health, sources
from konsul.features.watch.asked import identity_of
from konsul.features.watch.framing import ChannelFraming
from konsul.features.watch.health import HealthTeller
from konsul.features.watch.teller import Teller
from konsul.kernel.cluster_settings import ClusterSettings
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.lines import REFUSED, UNAUTHENTICATED, Line, LineUser
from konsul.kernel.pipeline import ANONYMOUS, Act, Identity, note_act
from konsul.kernel.route_classes import WATCH
from konsul.kernel.watching import Spec

if TYPE_CHECKING:
    from konsul.kernel.context import Context
    from konsul.kernel.node import Kernel

MESSAGE_MAX_BYTES: Final = 16 << 10
"""A message is a token or some words."""
MESSAGES_MAX: Final = 120
"""Messages a client may send in `MESSAGES_WINDOW_S`; one more ends the connection."""
MESSAGES_WINDOW_S: Final = 60.0
AUTH_S: Final = 10.0
"""How long a client may take to say who it is, where it must."""
PATH: Final = b"/ws/updates"
TRANSPORT: Final = "websocket"
_FRAMINGS: Final = {name: ChannelFraming(name) for name in ("kv", "services", "health", "cluster")}
CHANNELS: Final = tuple(_FRAMINGS)


class Updates(LineUser):
    """One connection: who it is, and what it follows."""

    def __init__(self, kernel: Kernel, context: Context) -> None:
        self._kernel = kernel
        # What the request's scope holds must not live as long as the connection.
        self._context = replace(context, noted={})
        self._must_authenticate = kernel.config.of(GuardSettings).requires_auth
        self._deadline: asyncio.TimerHandle | None = None
        self._line: Line | None = None
        self._tellers: dict[str, Teller] = {}
        self._window_s = 0.0
        self._messages = 0
        self._verbs: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "auth": self._auth,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }

    def opened(self, line: Line) -> None:
        """See `LineUser`."""
        self._line = line
        self._kernel.identities.keep(self)
        if self._must_authenticate and self._context.identity.kind == ANONYMOUS.kind:
            self._deadline = asyncio.get_running_loop().call_later(AUTH_S, self._too_late)

    def message(self, data: str | bytes) -> None:
        """See `LineUser`."""
        if self._is_flood():
            self._error(f"more than {MESSAGES_MAX} messages in {MESSAGES_WINDOW_S:.0f} s")
            self._close(REFUSED, "too many messages")
            return
        try:
            asked = orjson.loads(data)
        except orjson.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict):
            self._error("a message is one JSON object")
            return
        verb = self._verbs.get(asked["type"]) if isinstance(asked.get("type"), str) else None
        if verb is None:
            self._error("unknown type: expected " + ", ".join(self._verbs))
            return
        if asked["type"] == "auth" or self._is_known():
            verb(asked)
            self._context.pipeline.record_acts(self._context, PATH)

    def drained(self) -> None:
        """See `LineUser`."""
        for teller in list(self._tellers.values()):
            teller.drained()

    def beat(self) -> None:
        """See `LineUser`."""
        for teller in list(self._tellers.values()):
            teller.beat()

    def closed(self, reason: str) -> None:
        """See `LineUser`."""
        self._line = None
        self._kernel.identities.drop(self)
        if self._deadline is not None:
            self._deadline.cancel()
        tellers, self._tellers = self._tellers, {}
        for teller in tellers.values():
            teller.closed(reason)

    @property
    def identity(self) -> Identity:
        """Who speaks."""
        return self._context.identity

    @identity.setter
    def identity(self, identity: Identity) -> None:
        self._context = replace(self._context, identity=identity)

    def refuse(self, error: KonsulError) -> None:
        """See `konsul.kernel.identities.Holder`."""
        self._error(str(error))
        self._close(UNAUTHENTICATED, str(error))

    def _is_flood(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._window_s >= MESSAGES_WINDOW_S:
            self._window_s, self._messages = now_s, 0
        self._messages += 1
        return self._messages > MESSAGES_MAX

    def _too_late(self) -> None:
        if self._context.identity.kind == ANONYMOUS.kind:
            self._close(UNAUTHENTICATED, "authentication timeout")

    def _is_known(self) -> bool:
        """Whether who asks has said who it is, if it must, and still is that."""
        identity, renew = self._context.identity, self._context.pipeline.renew
        if self._must_authenticate and identity.kind == ANONYMOUS.kind:
            self._error("unauthorized: send an auth message first")
            return False
        try:
            if renew is not None:
                self.identity = renew(identity)
        except Unauthenticated as error:
            self.refuse(error)
            return False
        return True

    def _auth(self, asked: dict[str, Any]) -> None:
        token = asked.get("token")
        if not isinstance(token, str) or not token:
            self._error("auth needs a token, a text")
            return
        try:
            identity = identity_of(self._kernel, token)
        except KonsulError as error:
            note_act(self._context.noted, Act("auth.failed", (), "denied", str(error)))
            self._error(str(error))
            self._close(UNAUTHENTICATED, str(error))
            return
        self.identity = identity
        self._kernel.identities.keep(self)
        # What is followed already was allowed to somebody else.
        followed = tuple(self._tellers)
        self._drop(followed)
        self._say("system", {"type": "authenticated"})
        for name in followed:
            self._follow(name)

    def _subscribe(self, asked: dict[str, Any]) -> None:
        names = self._names(asked)
        if names is None:
            return
        context = self._context
        try:
            if context.pipeline.limit is not None:
                context.pipeline.limit(context.identity, context.client_addr, WATCH, len(names))
        except KonsulError as error:
            self._error(str(error))
            return
        followed = [name for name in names if name in self._tellers or self._follow(name)]
        self._say("system", {"type": "subscribed", "channels": followed})
        for name in followed:
            self._first(name)

    def _unsubscribe(self, asked: dict[str, Any]) -> None:
        names = self._names(asked)
        if names is not None:
            self._drop(names)
            self._say("system", {"type": "unsubscribed", "channels": list(names)})

    def _names(self, asked: dict[str, Any]) -> tuple[str, ...] | None:
        """The channels a message names, each once; None, and said so, if one is not known."""
        names = asked.get("channels")
        if not isinstance(names, list) or not 1 <= len(names) <= 16 or not all(n in CHANNELS for n in names):
            self._error("channels is a list of some of: " + ", ".join(CHANNELS))
            return None
        return tuple(dict.fromkeys(names))

    def _follow(self, name: str) -> bool:
        line = self._line
        if line is None:
            return False
        kernel, framing = self._kernel, _FRAMINGS[name]
        if name == "cluster" and not kernel.config.of(ClusterSettings).enabled:
            self._error("clustering not enabled", name)
            return False
        teller = HealthTeller(kernel, framing) if name == "health" else Teller(kernel.lines, framing)
        try:
            watch = kernel.watching.open(self._context, _SPECS[name](), teller, transport=TRANSPORT)
        except Forbidden:
            self._error("insufficient permissions", name)
            return False
        except Unauthenticated as error:
            self._error(str(error), name)
            self._close(UNAUTHENTICATED, str(error))
            return False
        except KonsulError as error:
            self._error(str(error), name)
            return False
        self._tellers[name] = teller
        teller.opened(line)
        teller.begin(watch)
        return True

    def _first(self, name: str) -> None:
        """How things are now, where there is no list that the client has read before."""
        teller = self._tellers.get(name)
        if isinstance(teller, HealthTeller):
            teller.now()
        elif teller is not None and name == "cluster":
            for text in sources.cluster_now(self._context):
                teller.event(0, b"", text)

    def _drop(self, names: tuple[str, ...]) -> None:
        for name in names:
            teller = self._tellers.pop(name, None)
            if teller is not None:
                teller.closed("unsubscribed")

    def _error(self, message: str, channel: str | None = None) -> None:
        told = {"message": message} if channel is None else {"message": message, "channel": channel}
        self._say("error", told)

    def _say(self, channel: str, data: dict[str, Any]) -> None:
        if self._line is not None:
            self._line.send(orjson.dumps({"channel": channel, "data": data}))

    def _close(self, code: int, reason: str) -> None:
        if self._line is not None:
            self._line.close(code, reason)


def _services() -> Spec:
    # Renewals are many: of those that wait the newest of each instance is enough.
    return replace(sources.services(heartbeats=True, coalesce=True), opens="service:list")


def _keys() -> Spec:
    # Nobody can choose less than everything here: whoever may see some of it is told of that.
    return replace(sources.keys(sources.EVERYTHING), opens="kv:list")


_SPECS: Final[Mapping[str, Callable[[], Spec]]] = {
    "kv": _keys,
    "services": _services,
    "health": health.spec,
    "cluster": sources.cluster,
}
