"""The scalars beyond GraphQL's own: how each is read and written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from konsul.kernel.duration import format_duration_ms, parse_duration_ms
from konsul.kernel.graph import Duration, JsonObject, Long, Time

_U64_MAX: Final = 2**64 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _long(value: object) -> int:
    number = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
    if type(number) is not int or not 0 <= number <= _U64_MAX:
        raise GraphQLError("Long cannot represent this: expected an unsigned 64-bit integer or its digits")
    return number


def _duration(value: object) -> int:
    try:
        return parse_duration_ms(value) if isinstance(value, str) else _refuse_duration()
    except ValueError:
        return _refuse_duration()


def _refuse_duration() -> NoReturn:
    # A GraphQLError is what the library takes for the client's fault.
    raise GraphQLError("Duration cannot represent this: expected a string such as 300ms, 30s or 2h45m")


def _time_text(at_ms: int) -> str:
    return (_EPOCH + timedelta(seconds=at_ms // 1_000)).isoformat(timespec="seconds").replace("+00:00", "Z")


SCALARS: Final[dict[object, ScalarDefinition]] = {
    Time: strawberry.scalar(
        name="Time",
        description="A moment: RFC 3339 in UTC with whole seconds.",
        serialize=_time_text,
    ),
    Duration: strawberry.scalar(
        name="Duration",
        description="A length of time as text: 300ms, 30s, 5m0s, 2h45m.",
        serialize=format_duration_ms,
        parse_value=_duration,
    ),
    Long: strawberry.scalar(
        name="Long",
        description="An unsigned 64-bit integer. Written as a JSON number; read as one, or as text.",
        serialize=_long,
        parse_value=_long,
    ),
    JsonObject: strawberry.scalar(
        name="JSONObject", description="A map of names to values, as one JSON object."
    ),
}
"""For the schema's configuration: what stands for which type of `kernel.graph`."""
