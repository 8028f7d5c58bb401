"""What a prepared query is: its document checked strictly, member by member, and read into a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from konsul.errors import Invalid
from konsul.features.catalog.search_fields import INSTANCES
from konsul.features.lb.strategies import Strategy
from konsul.features.queries.templates import EXPECTED, PREFIX_MATCH, Parts, Template, fill, fill_tree
from konsul.kernel.duration import parse_duration_ms
from konsul.kernel.filters.compiler import compile_tree
from konsul.kernel.filters.parser import parse
from konsul.kernel.filters.patterns import compile_pattern
from konsul.kernel.filters.problem import FilterError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
NAME_EXPECTED: Final = "expected 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit"
ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
DOCUMENT_MAX_BYTES: Final = 16 << 10
TEXT_MAX_BYTES: Final = 512
TAGS_MAX: Final = 16
PAIRS_MAX: Final = 12
"""Of metadata: with the tags no more than one scan of the core takes."""
IGNORED_MAX: Final = 64
TARGETS_MAX: Final = 16
LIMIT_MAX: Final = 10_000
TTL_MAX_MS: Final = 86_400_000
NEAR_AGENT: Final = "_agent"
NEAR_CALLER: Final = "_ip"
STATED: Final = frozenset(("id", "create_index", "modify_index"))
"""Members that answers have and that a body may send back: they change nothing."""
_MEMBERS: Final = ("name", "session", "template", "service", "dns", "limit", "strategy")
_TEMPLATE: Final = ("type", "regexp", "remove_empty_tags")
_SERVICE: Final = (
    "service",
    "tags",
    "meta",
    "node_meta",
    "only_passing",
    "near",
    "failover",
    "ignore_check_ids",
    "filter",
)
_MAPS: Final = ("meta", "node_meta")
"""Whose empty values say something."""
_SAMPLE: Final = Parts("name", "", ("0",) * 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which instances a query finds."""

    service: str
    tags: tuple[str, ...] = ()
    """Those with `!` in front are the ones that it must not have."""
    meta: Mapping[str, str] = field(default_factory=dict)
    node_meta: Mapping[str, str] = field(default_factory=dict)
    only_passing: bool = False
    near: str = ""
    failover: Mapping[str, Any] = field(default_factory=dict)
    ignore_check_ids: tuple[str, ...] = ()
    filter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A prepared query. `ttl_s`: of its answers in DNS, None: as the server says."""

    sought: Sought
    name: str = ""
    session: str = ""
    template: Template | None = None
    ttl_s: int | None = None
    limit: int | None = None
    strategy: Strategy | None = None


def checked(document: object) -> dict[str, Any]:
    """The document without what says nothing.

    Raises:
        Invalid: it is none; names the place and what was expected there.
    """
    try:
        size = len(orjson.dumps(document))
    except orjson.JSONEncodeError:
        size = DOCUMENT_MAX_BYTES + 1
    if size > DOCUMENT_MAX_BYTES:
        raise Invalid(f"Invalid query: expected at most {DOCUMENT_MAX_BYTES} bytes")
    for at, expected in _problems(document):
        raise Invalid(f"Invalid query: {at}: {expected}" if at else f"Invalid query: {expected}")
    assert isinstance(document, dict)  # noqa: S101 - the check above found an object
    return {name: _said(document[name]) for name in _MEMBERS if _says(document.get(name), name)}


def prepared_of(document: Mapping[str, Any]) -> Prepared:
    """The query that a checked document describes."""
    service, template, dns = document["service"], document.get("template"), document.get("dns", {})
    strategy = document.get("strategy")
    return Prepared(
        sought=Sought(
            service=service["service"],
            tags=tuple(service.get("tags", ())),
            meta=service.get("meta", {}),
            node_meta=service.get("node_meta", {}),
            only_passing=service.get("only_passing", False),
            near=service.get("near", ""),
            failover=service.get("failover", {}),
            ignore_check_ids=tuple(service.get("ignore_check_ids", ())),
            filter=service.get("filter", ""),
        ),
        name=document.get("name", ""),
        session=document.get("session", ""),
        template=None
        if template is None
        else Template(template.get("regexp", ""), template.get("remove_empty_tags", False)),
        ttl_s=parse_duration_ms(dns["ttl"]) // 1_000 if "ttl" in dns else None,
        limit=document.get("limit"),
        strategy=None if strategy is None else Strategy(strategy),
    )


def _said(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: one if name in _MAPS else _said(one)
        for name, one in value.items()
        if one is not None and one is not False and one not in ("", [], {})
    }


def _says(value: object, name: str) -> bool:
    return value not in (None, "") and (value != {} or name == "template")


def _problems(document: object) -> Iterator[tuple[str, str]]:
    if not isinstance(document, dict):
        yield "", "expected a JSON object"
        return
    yield from _unknown("", document, (*_MEMBERS, *STATED))
    name, template = document.get("name"), document.get("template")
    if name not in (None, "") and (not isinstance(name, str) or not NAME.fullmatch(name)):
        yield "name", NAME_EXPECTED
    elif isinstance(name, str) and ID.fullmatch(name.lower()):
        yield "name", "expected a name that is no id"
    session = document.get("session")
    if session not in (None, "") and (not isinstance(session, str) or not ID.fullmatch(session)):
        yield "session", "expected a session's id"
    yield from _of_template(template)
    yield from _of_service(document.get("service"), is_template=template is not None)
    yield from _of_dns(document.get("dns"))
    limit = document.get("limit")
    if limit is not None and (type(limit) is not int or not 1 <= limit <= LIMIT_MAX):
        yield "limit", f"expected a whole number from 1 to {LIMIT_MAX}"
    strategy = document.get("strategy")
    if strategy not in (None, "") and strategy not in tuple(Strategy):
        yield "strategy", f"expected one of {', '.join(Strategy)}"


def _of_template(template: object) -> Iterator[tuple[str, str]]:
    if template is None:
        return
    if not isinstance(template, dict):
        yield "template", "expected an object"
        return
    yield from _unknown("template.", template, _TEMPLATE)
    if template.get("type") != PREFIX_MATCH:
        yield "template.type", f"expected {PREFIX_MATCH}"
    yield from _text("template.regexp", template.get("regexp"))
    regexp = template.get("regexp")
    if isinstance(regexp, str):
        try:
            compile_pattern(regexp)
        except ValueError as error:
            yield "template.regexp", str(error)
    yield from _switch("template.remove_empty_tags", template.get("remove_empty_tags"))


def _of_service(service: object, *, is_template: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(service, dict):
        yield "service", "expected an object with a service's name in service"
        return
    yield from _unknown("service.", service, _SERVICE)
    if not service.get("service"):
        yield "service.service", "expected a service's name"
    for name in ("service", "near", "filter"):
        yield from _text(
            f"service.{name}", service.get(name), most=2_048 if name == "filter" else TEXT_MAX_BYTES
        )
    yield from _texts("service.tags", service.get("tags"), TAGS_MAX)
    yield from _texts("service.ignore_check_ids", service.get("ignore_check_ids"), IGNORED_MAX)
    for name in ("meta", "node_meta"):
        yield from _pairs(f"service.{name}", service.get(name))
    yield from _switch("service.only_passing", service.get("only_passing"))
    yield from _of_failover(service.get("failover"))
    if "!" in (service.get("tags") or ()):
        yield "service.tags", "expected a tag behind !"
    if is_template:
        yield from _of_words(service)
    yield from _of_filter(service.get("filter"), is_template=is_template)


def _of_words(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The words of a template, wherever texts stand."""
    for name in ("service", "near", "filter"):
        yield from _word(f"service.{name}", service.get(name))
    for name in ("tags", "ignore_check_ids"):
        for number, one in enumerate(service.get(name) or ()):
            yield from _word(f"service.{name}[{number}]", one)
    for name in ("meta", "node_meta"):
        for key, one in (service.get(name) or {}).items():
            yield from _word(f"service.{name}.{key}", one)


def _word(at: str, text: object) -> Iterator[tuple[str, str]]:
    try:
        fill(text if isinstance(text, str) else "", _SAMPLE)
    except ValueError:
        yield at, EXPECTED


def _of_filter(text: object, *, is_template: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(text, str) or not text:
        return
    try:
        tree = parse(text)
        if is_template:
            tree = fill_tree(tree, lambda value: fill(value, _SAMPLE))
        compile_tree(text, tree, INSTANCES.selectors)
    except FilterError as error:
        yield "service.filter", f"line {error.line}, column {error.column}: {error.problem}"
    except ValueError as error:
        yield "service.filter", str(error)


def _of_failover(failover: object) -> Iterator[tuple[str, str]]:
    if failover is None:
        return
    if not isinstance(failover, dict):
        yield "service.failover", "expected an object"
        return
    yield from _unknown("service.failover.", failover, ("nearest_n", "targets"))
    nearest = failover.get("nearest_n")
    if nearest is not None and (type(nearest) is not int or not 0 <= nearest <= TARGETS_MAX):
        yield "service.failover.nearest_n", f"expected a whole number from 0 to {TARGETS_MAX}"
    targets = failover.get("targets")
    if targets is None:
        return
    if not isinstance(targets, list) or len(targets) > TARGETS_MAX:
        yield "service.failover.targets", f"expected a list of at most {TARGETS_MAX}"
        return
    for number, target in enumerate(targets):
        at = f"service.failover.targets[{number}]"
        if not isinstance(target, dict) or not target.get("datacenter"):
            yield at, "expected an object with a datacenter"
            continue
        yield from _unknown(f"{at}.", target, ("datacenter",))
        yield from _text(f"{at}.datacenter", target["datacenter"])


def _of_dns(dns: object) -> Iterator[tuple[str, str]]:
    if dns is None:
        return
    if not isinstance(dns, dict):
        yield "dns", "expected an object"
        return
    yield from _unknown("dns.", dns, ("ttl",))
    ttl = dns.get("ttl")
    if ttl in (None, ""):
        return
    try:
        ttl_ms = parse_duration_ms(ttl) if isinstance(ttl, str) else -1
    except ValueError:
        ttl_ms = -1
    if not 0 <= ttl_ms <= TTL_MAX_MS:
        yield "dns.ttl", "expected a duration from 0s to 24h"


def _unknown(at: str, document: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in document:
        if name not in known:
            expected = ", ".join(one for one in known if one not in STATED)
            yield f"{at}{name[:64]}", f"no such member: expected {expected}"


def _text(at: str, value: object, *, most: int = TEXT_MAX_BYTES) -> Iterator[tuple[str, str]]:
    if value is not None and (not isinstance(value, str) or len(value.encode()) > most or "\0" in value):
        yield at, f"expected a text of at most {most} bytes"


def _texts(at: str, value: object, most: int) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > most:
        yield at, f"expected a list of at most {most} texts"
        return
    for number, one in enumerate(value):
        if not isinstance(one, str) or not one:
            yield f"{at}[{number}]", "expected a text"
        else:
            yield from _text(f"{at}[{number}]", one)


def _pairs(at: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if not isinstance(value, dict) or len(value) > PAIRS_MAX:
        yield at, f"expected an object of at most {PAIRS_MAX} texts"
        return
    for name, one in value.items():
        if not isinstance(one, str):
            yield f"{at}.{name[:64]}", "expected a text"
        else:
            yield from _text(f"{at}.{name[:64]}", one)
        yield from _text(f"{at}.{name[:64]}", name)


def _switch(at: str, value: object) -> Iterator[tuple[str, str]]:
    if value is not None and type(value) is not bool:
        yield at, "expected true or false"
