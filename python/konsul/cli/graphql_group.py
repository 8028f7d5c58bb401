"""`konsulctl graphql`: run a query, a mutation or a subscription."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import live, values
from konsul.cli.command import Single, doing
from konsul.cli.options import Form
from konsul.errors import Invalid

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import GraphQLAnswer


def graphql(
    ctx: typer.Context,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="The document; - is standard input, @FILE a file.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Read the document from FILE.")
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option("--variables", metavar="JSON|@FILE", help="Values of its variables, a JSON object."),
    ] = None,
    operation: Annotated[
        str | None, typer.Option("--operation", metavar="NAME", help="Which one, of several in the document.")
    ] = None,
    transport: Annotated[
        live.Transport,
        typer.Option("--transport", metavar="websocket|sse", help="How a subscription travels; websocket."),
    ] = live.Transport.WEBSOCKET,
) -> None:
    """Run a GraphQL query or mutation, or show a subscription's answers, a line each, until Ctrl-C.

    Prints what `data` holds, with --output json the whole answer. Errors in an answer go to standard error,
    and the exit code is 1.
    """
    with doing(ctx, "running GraphQL") as session:
        from konsul.client import graphql_calls

        text = _document(query, file)
        given = _variables(variables)
        kind = graphql_calls.kind_of(text, operation)
        if kind == "subscription":
            failed = _subscribe(session, text, given, operation, transport)
        else:
            answer = session.client.graphql(text, given, operation_name=operation)
            session.out.show(
                _shown(session, answer), text=json.dumps(answer.data, ensure_ascii=False, indent=2)
            )
            failed = _complain(session, answer)
        if failed:
            raise typer.Exit(1)


def _subscribe(
    session: Session, text: str, given: Mapping[str, Any], operation: str | None, transport: live.Transport
) -> bool:
    failed = False
    answers = session.client.graphql_subscribe(
        text, given, operation_name=operation, transport=transport.wire
    )
    try:
        with answers:
            for answer in answers:
                if answer.data is not None:
                    live.emit(session, json.dumps(answer.data, ensure_ascii=False), _shown(session, answer))
                failed = _complain(session, answer) or failed
    except KeyboardInterrupt:
        session.out.note("Stopping...")
    return failed


def _shown(session: Session, answer: GraphQLAnswer) -> dict[str, Any]:
    """For JSON the whole answer, for a script that looks at its errors; elsewhere the data."""
    data = None if answer.data is None else dict(answer.data)
    if session.out.form is not Form.JSON:
        return data or {}
    errors = {"errors": [dict(one) for one in answer.errors]} if answer.errors else {}
    return {"data": data, **errors, **({"extensions": answer.extensions} if answer.extensions else {})}


def _complain(session: Session, answer: GraphQLAnswer) -> bool:
    """Says what the answer's errors are; whether there are any."""
    sys.stdout.flush()
    for one in answer.errors:
        path = ".".join(map(str, one.get("path") or ()))
        code = (one.get("extensions") or {}).get("code", "")
        where = ", ".join(filter(None, (f"at {path}" if path else "", str(code))))
        session.out.error(
            "Error:", live.on_one_line(f"{one.get('message', 'unknown')}{where and f' ({where})'}")
        )
    return bool(answer.errors)


def _document(query: str | None, file: str | None) -> str:
    if (query is None) == (file is None):
        raise Invalid("give the document as an argument, or with --file FILE (- is standard input)")
    try:
        text = values.value(query, file).decode()
    except UnicodeDecodeError as cause:
        raise Invalid(f"the document is not UTF-8: {cause}") from cause
    if not text.strip():
        raise Invalid("the document is empty")
    return text


def _variables(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    try:
        document = json.loads(values.value(given, None))
    except ValueError as cause:
        raise Invalid(f"the variables are not JSON: {cause}") from cause
    if not isinstance(document, dict):
        raise Invalid("the variables are not a JSON object")
    return document


COMMANDS = (Single("graphql", graphql),)
