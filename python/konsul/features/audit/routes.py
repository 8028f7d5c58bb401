"""`/audit`: reading what was recorded on the node that answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import orjson
from fastapi import Query, Response

from konsul.errors import Invalid, Unsupported
from konsul.features.audit import queries
from konsul.features.audit.config import AuditSettings
from konsul.features.audit.search import LIMIT_DEFAULT, LIMIT_MAX, RESULTS, Question, position
from konsul.kernel.context import Context
from konsul.kernel.parameters import u64
from konsul.kernel.routing import Ctx, Refused, Router, json_response

NOT_ENABLED: Final = {
    "error": "audit not enabled",
    "message": "nothing is recorded on this node: KONSUL_AUDIT_ENABLED turns auditing on",
}
NO_STORE: Final = {
    "error": "audit store not enabled",
    "message": "this node keeps no events for searching: that takes a data directory and "
    "KONSUL_AUDIT_STORE_ENABLED",
}
ACTOR_TYPES: Final = ("anonymous", "user", "api_key", "service")
FILTER_MAX: Final = 1_024
INVALID_LIMIT: Final = f"limit: expected 1 to {LIMIT_MAX}"
_YEAR_9999_S: Final = 253_402_300_800

router = Router(tags=["audit"])

Actor = Annotated[str | None, Query(description="Id or name of who acted.")]
ActorType = Annotated[str | None, Query(description="One of " + ", ".join(ACTOR_TYPES) + ".")]
Action = Annotated[str | None, Query(description="Such as `kv.set`; a last `*` stands for any ending.")]
Resource = Annotated[
    str | None, Query(description="Key, name or id that was touched; a last `*` stands for any ending.")
]
Result = Annotated[str | None, Query(description="One of " + ", ".join(RESULTS) + ".")]
SourceIp = Annotated[str | None, Query(description="Address of the client.")]
RequestId = Annotated[str | None, Query(description="As in the answer's `X-Request-Id`.")]
From = Annotated[str | None, Query(alias="from", description="Earliest time of an event, RFC 3339.")]
To = Annotated[str | None, Query(description="Time before which events began, RFC 3339.")]
Order = Annotated[str | None, Query(description="`newest` (default) or `oldest` first.")]
Limit = Annotated[
    str | None, Query(description=f"At most so many events, 1 to {LIMIT_MAX}; {LIMIT_DEFAULT}.")
]
After = Annotated[str | None, Query(description="Go on where the answer with this `after` ended.")]


@router.get("/audit/events", needs="admin:read")
async def events_route(
    ctx: Ctx,
    actor: Actor = None,
    actor_type: ActorType = None,
    action: Action = None,
    resource: Resource = None,
    result: Result = None,
    source_ip: SourceIp = None,
    request_id: RequestId = None,
    from_: From = None,
    to: To = None,
    order: Order = None,
    limit: Limit = None,
    after: After = None,
) -> Response:
    """Events of this node, in the order of recording. `more` says whether to ask on with `after`;
    one answer looks through a bounded part of the log, so it may hold fewer than `limit` or none. `order`
    oldest, with the `head` of an answer that began with the newest as `after`, follows what came since."""
    texts = {
        "actor": actor,
        "actor_type": _one_of("actor_type", actor_type, ACTOR_TYPES),
        "action": action,
        "resource": resource,
        "result": _one_of("result", result, RESULTS),
        "source_ip": source_ip,
        "request_id": request_id,
    }
    for name, text in texts.items():
        if text is not None and len(text) > FILTER_MAX:
            raise Invalid(f"{name}: at most {FILTER_MAX} characters")
    question = Question(
        **{name: text or None for name, text in texts.items()},
        from_ns=moment_ns("from", from_),
        to_ns=moment_ns("to", to),
        oldest_first=_one_of("order", order, ("newest", "oldest")) == "oldest",
    )
    most = u64(limit, INVALID_LIMIT)
    if most is not None and not 1 <= most <= LIMIT_MAX:
        raise Invalid(INVALID_LIMIT)
    begun = position(after)
    _check_enabled(ctx)
    try:
        page = await ctx.run(queries.events, question, most or LIMIT_DEFAULT, begun)
    except Unsupported:
        raise Refused(json_response(NO_STORE, 404)) from None
    about = orjson.dumps(
        {
            "count": len(page.lines),
            "after": page.after or None,
            "more": page.more,
            "head": page.head or None,
        }
    )
    # The lines are JSON already: nothing is decoded and written again.
    return json_response(about[:-1] + b',"events":[' + b",".join(page.lines) + b"]}")


@router.get("/audit/stats", needs="admin:read")
async def stats_route(ctx: Ctx) -> Response:
    """What this node recorded, wrote and lost since it started, and what its store holds."""
    _check_enabled(ctx)
    stats = await ctx.run(queries.stats)
    return json_response(stats)


def moment_ns(name: str, text: str | None) -> int | None:
    """An RFC 3339 time in nanoseconds, None when absent or empty. Raises Invalid(name and what was expected)
    for anything else; a time without an offset is UTC."""
    if not text:
        return None
    try:
        # A `+` of an offset arrives as a space from whoever did not encode it.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Invalid(f"{name}: expected a time such as 2026-01-02T03:04:05Z") from None
    if not 0 <= at_s < _YEAR_9999_S:
        raise Invalid(f"{name}: expected a time such as 2026-01-02T03:04:05Z")
    fraction = _fraction_ns(text)
    return int(at_s // 1) * 10**9 + (int(at_s % 1 * 10**6) * 1_000 if fraction is None else fraction)


def _fraction_ns(text: str) -> int | None:
    """The part of a second as written, to the nanosecond: events have it, Python's times do not."""
    digits = text.partition(".")[2]
    count = next((at for at, each in enumerate(digits) if not ("0" <= each <= "9")), len(digits))
    return int(digits[:count][:9].ljust(9, "0")) if count else None


def _one_of(name: str, text: str | None, words: tuple[str, ...]) -> str | None:
    if text and text not in words:
        raise Invalid(f"{name}: expected one of {', '.join(words)}")
    return text or None


def _check_enabled(ctx: Context) -> None:
    if not ctx.config.of(AuditSettings).enabled:
        raise Refused(json_response(NOT_ENABLED, 404))
