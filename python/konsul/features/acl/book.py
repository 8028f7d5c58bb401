"""Every policy of this node: those of the API, which all nodes share, and those of its own directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

from konsul.engine import Access, Engine, unpack_row
from konsul.errors import Invalid, KonsulError
from konsul.features.acl.directory import DirectoryUnreadable, Found, Marks, PolicyDirectory
from konsul.features.acl.documents import parsed
from konsul.features.acl.policy import (
    ALL_RULES_MAX,
    DENY,
    EVERYTHING,
    POLICIES_MAX,
    SELECTORS,
    NativePolicy,
    Policy,
    Rule,
)
from konsul.features.acl.tables import PolicyRow
from konsul.kernel.logging import logger

Source: TypeAlias = Literal["api", "directory"]
Looked: TypeAlias = "tuple[Marks, Found] | DirectoryUnreadable | None"
API: Final[Source] = "api"
DIRECTORY: Final[Source] = "directory"
_DOCUMENT: Final = PolicyRow.column("document")
_INDEX: Final = slice(8, 16)
"""Where a packed row has its `modify_index`."""
_ROWS_MAX: Final = 10_000
"""More than `POLICIES_MAX`, which two that create at once may pass."""


class PolicyBook:
    """The policies in force. Whatever changes them ends in one `Access.set`, which swaps them as a whole."""

    def __init__(
        self, engine: Engine, access: Access, directory: str, *, default_allow: bool, expected: bool = True
    ) -> None:
        """`expected`: the directory was asked for by name, so that its absence is worth a warning."""
        self.access = access
        self.default_allow = default_allow
        self.load_errors = 0
        """Files and rows that could not be used, each time they were read."""
        self.wrong: Mapping[str, str] = {}
        """File name -> why it is not in force; under "" what is wrong with the directory."""
        self._engine = engine
        self._directory = PolicyDirectory(directory)
        self._is_expected = expected
        self._marks: Marks | str | None = None
        """Of what was read last, or the words about why nothing was."""
        self._was_read = False
        self._rows: Mapping[bytes, tuple[bytes, Policy]] = {}
        """Of the API: name -> `modify_index` as stored, and what that row says."""
        self._api: Mapping[str, Policy] = {}
        self._found = Found()
        self._shadowed: frozenset[str] = frozenset()
        self._natives: Mapping[str, tuple[Policy, NativePolicy]] = {}
        self._put_in_force()

    @property
    def directory(self) -> str:
        """Where the node's own policies are."""
        return self._directory.path

    def names(self) -> dict[str, Source]:
        """Every policy's name, sorted, with where it comes from."""
        every = dict.fromkeys(self._found.policies, DIRECTORY) | dict.fromkeys(self._api, API)
        return dict(sorted(every.items()))

    def get(self, name: str) -> tuple[Policy, Source] | None:
        """A policy and where it comes from; None if there is none."""
        policy = self._api.get(name)
        if policy is not None:
            return policy, API
        policy = self._found.policies.get(name)
        return None if policy is None else (policy, DIRECTORY)

    def has_room_for(self, policy: Policy) -> bool:
        """Whether this one may be stored besides all others."""
        others = [*self._api.values(), *self._found.policies.values()]
        kept = {one.name: len(one.rules) for one in others if one.name != policy.name}
        return len(kept) < POLICIES_MAX and sum(kept.values()) + len(policy.rules) <= ALL_RULES_MAX

    def is_of_directory(self, name: str) -> bool:
        """True for one that only a file defines."""
        return name in self._found.policies and name not in self._api

    def reload_rows(self) -> bool:
        """Takes over what the API's policies are by now; False while the tables cannot be read: the node has
        not joined its cluster yet, or takes in a snapshot."""
        try:
            packed, _ = self._engine.scan_packed(PolicyRow.table_id, limit=_ROWS_MAX)
        except KonsulError:
            return False
        found: dict[bytes, tuple[bytes, Policy]] = {}
        for key, row in packed:
            index = row[_INDEX]
            known = self._rows.get(key)
            found[key] = known if known is not None and known[0] == index else (index, self._stored(key, row))
        if {key: index for key, (index, _) in found.items()} != {
            key: index for key, (index, _) in self._rows.items()
        }:
            self._rows = found
            self._api = {policy.name: policy for _, policy in found.values()}
            self._put_in_force()
        return True

    def reload_directory(self) -> bool:
        """Reads the directory if it changed; True if it was taken over."""
        return self.take(self.look())

    def look(self) -> Looked:
        """What is in the directory now, None if what was there before. For any thread; changes nothing."""
        try:
            marks = self._directory.marks()
            return None if marks == self._marks else (marks, self._directory.read())
        except DirectoryUnreadable as error:
            return error

    def take(self, looked: Looked) -> bool:
        """Puts in force what `look` found; True if it is in force now.

        While a file of it cannot be used, what was in force stays; at the first reading the others are taken,
        and the policy it was to be denies everything: an identity may have it for its denials.
        """
        if looked is None:
            return False
        if isinstance(looked, DirectoryUnreadable):
            self._without_directory(looked)
            return False
        self._marks, found = looked
        self.wrong = found.wrong
        for file, why in found.wrong.items():
            self.load_errors += 1
            logger().warning("policy file not used", directory=self.directory, file=file, why=why)
        if found.wrong and self._was_read:
            logger().warning("policy directory not taken over: the policies in force stay")
            return False
        self._was_read = True
        self._found = _with_closed(found)
        self._put_in_force()
        logger().info("policy directory read", directory=self.directory, policies=len(found.policies))
        return True

    def _stored(self, key: bytes, row: bytes) -> Policy:
        try:
            return parsed(unpack_row(row).cells[_DOCUMENT] or b"")
        except Invalid as error:
            name = key.decode()
            self.load_errors += 1
            logger().warning("policy not understood, it denies everything", policy=name, why=str(error))
            return _closed(name)

    def _without_directory(self, error: DirectoryUnreadable) -> None:
        why = str(error)
        is_quiet = error.missing and not self._is_expected and not self._was_read
        if self._marks == why or is_quiet:
            return
        self._marks = why
        self.load_errors += 1
        self.wrong = {"": why}
        logger().warning("policy directory not readable", directory=self.directory, why=why)

    def _put_in_force(self) -> None:
        shadowed = frozenset(self._found.policies.keys() & self._api.keys())
        for name in sorted(shadowed - self._shadowed):
            file = self._found.files[name]
            logger().warning("policy file not used: the API has this policy", policy=name, file=file)
        self._shadowed = shadowed
        own = {name: one for name, one in self._found.policies.items() if name not in shadowed}
        used: list[Policy] = []
        left_out: list[str] = []
        rules = 0
        for policy in (*self._api.values(), *own.values()):
            rules += len(policy.rules)
            if len(used) < POLICIES_MAX and rules <= ALL_RULES_MAX:
                used.append(policy)
            else:
                left_out.append(policy.name)
        if left_out:
            self.load_errors += 1
            logger().error("too many policies or rules: some are not in force", left_out=left_out)
        self._natives = {policy.name: self._native(policy) for policy in used}
        try:
            self.access.set([native for _, native in self._natives.values()], self.default_allow)
        except ValueError as error:
            self.load_errors += 1
            logger().error("policies not put in force: those before stay", why=str(error))

    def _native(self, policy: Policy) -> tuple[Policy, NativePolicy]:
        known = self._natives.get(policy.name)
        return known if known is not None and known[0] is policy else (policy, policy.native())


def _closed(name: str) -> Policy:
    """What stands for a stored policy of a newer version, or a file that cannot be used at the start: leaving
    it out would lose its denials."""
    deny = (DENY,)
    rules = [Rule(resource, EVERYTHING if member else "", deny) for resource, member in SELECTORS.items()]
    return Policy(name, "", tuple(rules))


def _with_closed(found: Found) -> Found:
    if not found.meant:
        return found
    for name, file in found.meant.items():
        logger().warning("policy denies everything until its file can be used", policy=name, file=file)
    policies = {**found.policies, **{name: _closed(name) for name in found.meant}}
    return replace(found, policies=policies, files={**found.files, **found.meant})


_BOOKS: Final[WeakKeyDictionary[Engine, PolicyBook]] = WeakKeyDictionary()


def keep(engine: Engine, book: PolicyBook) -> None:
    """Makes it the node's."""
    _BOOKS[engine] = book


def book_of(engine: Engine) -> PolicyBook | None:
    """The node's policies; None while the ACL is off."""
    return _BOOKS.get(engine)
