"""Reading policies, and trying them: what would be decided, and which rule would decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from konsul.errors import Invalid, NotFound, Unsupported
from konsul.features.acl.book import PolicyBook, Source, book_of
from konsul.features.acl.commands import UNKNOWN
from konsul.features.acl.documents import Problem, problems
from konsul.features.acl.explaining import Question, explained
from konsul.features.acl.policy import ATTACHED_MAX, CAPABILITIES, SELECTORS, Policy
from konsul.features.acl.subjects import Subject, subject_of
from konsul.kernel.command import query
from konsul.kernel.context import Context
from konsul.kernel.pipeline import AUTHENTICATED

if TYPE_CHECKING:
    from konsul.engine import Grant

INVALID_RESOURCE = "Invalid resource type"
OFF = "the ACL is off on this node: KONSUL_ACL_ENABLED is false"


@query("acl.policy.list", needs="admin:read")
async def list_(ctx: Context) -> dict[str, Source]:
    """Every policy's name, sorted, with where it comes from."""
    return _book(ctx).names()


@query("acl.policy.read", needs="admin:read", resource="name")
async def read(ctx: Context, *, name: str) -> tuple[Policy, Source]:
    """A policy and where it comes from.

    Raises:
        NotFound: there is none of this name.
    """
    found = _book(ctx).get(name)
    if found is None:
        raise NotFound(UNKNOWN)
    return found


@query("acl.test", needs="admin:read")
async def test(ctx: Context, *, policies: Sequence[str], resource: str, path: str, capability: str) -> bool:
    """What these policies would decide together; unknown ones add nothing, an unknown capability is refused.

    Raises:
        Invalid: there is no such resource type, or there are too many policies.
    """
    if len(policies) > ATTACHED_MAX:
        raise Invalid(f"policies: expected at most {ATTACHED_MAX}")
    question = _question(resource, path, capability)
    return question.is_known and is_allowed(_book(ctx).access.grant(policies), question)


@query("acl.validate", needs="admin:read")
async def validate(ctx: Context, *, document: object) -> list[Problem]:  # noqa: ARG001 - every verb's
    """All that is wrong with a policy document; nothing is stored."""
    return problems(document)


@query("acl.explain", needs="admin:read")
async def explain(
    ctx: Context, *, subject: Mapping[str, Any], resource: str, path: str, capability: str
) -> dict[str, Any]:
    """Which rule of which policy decides for somebody, or for policies nobody has.

    Raises:
        Invalid: the question or the subject makes no sense. NotFound: there is no such user or API key.
    """
    return _explain(ctx, subject_of(ctx, subject), resource, path, capability)


@query("acl.explain_own", needs=AUTHENTICATED)
async def explain_own(ctx: Context, *, resource: str, path: str, capability: str) -> dict[str, Any]:
    """Which rule decides for the caller.

    Raises:
        Invalid: the question makes no sense.
    """
    return _explain(ctx, subject_of(ctx, {}), resource, path, capability)


def is_allowed(grant: Grant, question: Question) -> bool:
    """What a grant decides; a list is allowed if something that begins so may be seen."""
    if question.is_list:
        return grant.could_list(question.needs, question.path)
    return grant.decide(question.needs, question.path)[0] == 1


def _explain(ctx: Context, subject: Subject, resource: str, path: str, capability: str) -> dict[str, Any]:
    question = _question(resource, path, capability)
    if not question.is_known:
        raise Invalid(f"Invalid capability: expected {', '.join(CAPABILITIES[resource][:-1])}")
    return explained(_book(ctx), subject, question)


def _question(resource: str, path: str, capability: str) -> Question:
    if resource not in SELECTORS:
        raise Invalid(INVALID_RESOURCE)
    return Question(resource, path if SELECTORS[resource] else "", capability)


def _book(ctx: Context) -> PolicyBook:
    book = book_of(ctx.engine)
    if book is None:
        raise Unsupported(OFF)
    book.reload_rows()
    return book
