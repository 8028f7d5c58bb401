"""The calls of the GraphQL route."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from konsul import errors
from konsul.client.failure import error_of
from konsul.client.request import JSON, Answer, Call, Request

REFUSED = frozenset({400, 401, 403, 406, 413, 422, 429})
"""Statuses under which a server may still say, in `errors`, what it did not like."""
KINDS = frozenset({"query", "mutation", "subscription"})
OPENING, CLOSING = frozenset("{(["), frozenset("})]")
WORD = re.compile(
    r'"""(?:\\"""|[^"]|"(?!""))*"""|"(?:\\.|[^"\\\n])*"|#[^\n]*|[{}()\[\]]|[_A-Za-z][_0-9A-Za-z]*'
)
"""Strings, comments, brackets and names (GraphQL, section 2.1): enough to see where operations begin."""


@dataclass(frozen=True, slots=True)
class GraphQLAnswer:
    """What an operation came to. `data` is None when nothing was executed; `errors` are the server's, each
    with its `message`."""

    data: Mapping[str, Any] | None
    errors: tuple[Mapping[str, Any], ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict)


def payload(query: str, variables: Mapping[str, Any] | None, operation_name: str | None) -> dict[str, Any]:
    """The body of a request. Raises Invalid for an empty query."""
    if not query.strip():
        raise errors.Invalid("a query is required")
    members = {"query": query, "variables": variables and dict(variables), "operationName": operation_name}
    return {name: value for name, value in members.items() if value}


def execute(
    query: str, variables: Mapping[str, Any] | None = None, operation_name: str | None = None
) -> Call[GraphQLAnswer]:
    """Run a query or mutation. Errors inside the answer are handed out with it; they raise nothing."""
    request = posted(payload(query, variables, operation_name), repeatable=only_reads(query))

    def read(answer: Answer) -> GraphQLAnswer:
        if answer.status >= 300:
            refused = answer_in(answer)
            if refused is None:
                raise error_of(answer, request)
            return refused
        return answer_of(object_of(answer.body))

    return Call(request, read, accepts=REFUSED)


def only_reads(query: str) -> bool:
    """Whether a document has queries and fragments only, so that it may be sent twice."""
    return all(kind == "query" for kind, _ in operations(query))


def kind_of(query: str, operation_name: str | None) -> str:
    """`query`, `mutation` or `subscription`: the one of that name, or the first. The server says what else is
    wrong with a document."""
    found = operations(query)
    named = [kind for kind, name in found if operation_name in (None, name)]
    return named[0] if named else "query"


def operations(query: str) -> list[tuple[str, str]]:
    """Kind and name of every operation of a document; without a name it is empty."""
    found: list[tuple[str, str]] = []
    depth = 0
    begins, may_name = True, False
    for word in WORD.findall(query):
        if word in OPENING:
            if word == "{" and begins and depth == 0:
                found.append(("query", ""))
            depth += 1
            begins = may_name = False
        elif word in CLOSING:
            depth -= 1
            begins = word == "}" and depth <= 0
        elif depth <= 0 and word[0] not in '"#':
            if may_name:
                found[-1] = (found[-1][0], word)
            may_name = begins and word in KINDS
            if may_name:
                found.append((word, ""))
            begins = False
    return found


def answer_in(answer: Answer) -> GraphQLAnswer | None:
    """What a refusal says in GraphQL's own words; None when it has none."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    speaks = isinstance(document, dict) and isinstance(document.get("errors"), list)
    return answer_of(document) if speaks else None


def answer_of(document: Mapping[str, Any]) -> GraphQLAnswer:
    """An answer from its JSON form."""
    return GraphQLAnswer(
        document.get("data"), tuple(document.get("errors") or ()), document.get("extensions") or {}
    )


def posted(body: Mapping[str, Any], *, repeatable: bool) -> Request:
    """The request of an operation."""
    text = json.dumps(body, ensure_ascii=False).encode()
    return Request(
        "POST",
        "/graphql",
        "POST /graphql",
        (),
        {"Content-Type": JSON},
        text,
        repeatable=repeatable,
    )


def object_of(text: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises Internal for anything else."""
    try:
        document = json.loads(text)
    except ValueError as cause:
        raise errors.Internal(f"the server's answer cannot be read: {cause}") from cause
    if not isinstance(document, dict):
        raise errors.Internal("the server's answer is no object")
    return document
