"""Why something is allowed or refused: the rule that decides, and every other one that matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from konsul.engine import Access, Grant
from konsul.features.acl.book import PolicyBook
from konsul.features.acl.guard import BY_DEFAULT, LISTS
from konsul.features.acl.policy import CAPABILITIES, DENY
from konsul.features.acl.subjects import Subject

ADMINISTRATOR: Final = "the role admin may do everything"
NOBODY: Final = "nobody: no identity, so no policies"
NO_POLICIES: Final = "no policies: none is attached that exists"
DISABLED: Final = "it is disabled: every request of it is refused before any policy is asked"
SOME: Final = "a list is allowed if any of it may be seen, and shows only that"


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to do to what. `path`: the key or name, "" where there is none."""

    resource: str
    path: str
    capability: str

    @property
    def needs(self) -> str:
        """As the pipeline asks."""
        return f"{self.resource}:{self.capability}"

    @property
    def is_known(self) -> bool:
        """False for a capability that the resource does not have."""
        return self.capability != DENY and self.capability in CAPABILITIES[self.resource]

    @property
    def is_list(self) -> bool:
        """True for what is decided by what can be seen."""
        return self.needs in LISTS


def explained(book: PolicyBook, subject: Subject, question: Question) -> dict[str, Any]:
    """The decision as a document: `allowed`, `reason`, `decided_by`, and every rule that matches."""
    access = book.access
    if subject.document is not None:
        access = Access()
        access.set([subject.document.native()], book.default_allow)
    grant = access.grant(subject.policies)
    matching = [_rule(book, subject, *found) for found in grant.explain(question.needs, question.path)]
    allowed, reason, decided_by = _decision(book, subject, question, grant)
    if decided_by in ("admin", "disabled"):
        # What the policies say is shown, but it is not what decides.
        matching = [rule | {"decides": False} for rule in matching]
    sources = book.names()
    known = [subject.document.name] if subject.document is not None else sources
    return {
        "allowed": allowed,
        "reason": reason,
        "decided_by": decided_by,
        "rule": next((rule for rule in matching if rule["decides"]), None),
        "matching": matching,
        "resource": question.resource,
        "path": question.path,
        "capability": question.capability,
        "default_policy": "allow" if book.default_allow else "deny",
        "subject": _subject(subject),
        "unknown_policies": [name for name in subject.policies if name not in known],
    }


def _decision(book: PolicyBook, subject: Subject, question: Question, grant: Grant) -> tuple[bool, str, str]:
    """Allowed or not, in words, and what decided: admin, disabled, rule, list, default or no_policies."""
    if not subject.enabled:
        return False, DISABLED, "disabled"
    if subject.is_admin:
        return True, ADMINISTRATOR, "admin"
    verdict, reason = grant.decide(question.needs, question.path)
    by_default = book.default_allow and question.resource != "admin"
    if verdict == 2:
        words = NOBODY if subject.kind == "anonymous" else NO_POLICIES
        return by_default, BY_DEFAULT if by_default else words, "default" if by_default else "no_policies"
    if question.is_list:
        allowed = grant.could_list(question.needs, question.path)
        if allowed != (verdict == 1):
            return allowed, SOME if allowed else reason or BY_DEFAULT, "list"
    is_rule = any(found[-1] for found in grant.explain(question.needs, question.path))
    return verdict == 1, reason or BY_DEFAULT, "rule" if is_rule else "default"


def _rule(
    book: PolicyBook,
    subject: Subject,
    policy: str,
    resource: str,
    number: int,
    pattern: str,
    capabilities: list[str],
    effect: str,
    decides: bool,
) -> dict[str, Any]:
    found = None if subject.document is not None else book.get(policy)
    return {
        "policy": policy,
        "source": "document" if subject.document is not None else found[1] if found else "",
        "rule": f"{resource}[{number}]",
        "pattern": pattern,
        "capabilities": list(capabilities),
        "effect": effect,
        "decides": decides,
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "kind": subject.kind,
        "id": subject.id,
        "name": subject.name,
        "roles": list(subject.roles),
        "policies": list(subject.policies),
    }
