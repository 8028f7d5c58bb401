"""Prepared queries by themselves: templates, documents of any shape, what a name can and cannot change."""

from __future__ import annotations

import contextlib
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konsul.errors import Invalid
from konsul.features.catalog.search_fields import INSTANCES
from konsul.features.queries.documents import NAME, checked, prepared_of
from konsul.features.queries.templates import Parts, Template, fill, fill_tree, parts_of
from konsul.kernel.filters.parser import parse
from konsul.kernel.filters.tree import Match, write

_WORDS = (
    "name session template service dns limit strategy type regexp tags meta near failover targets nearest_n "
    "filter ttl only_passing ignore_check_ids id"
)
_MEMBERS = st.sampled_from(_WORDS.split())
_plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${x", "10s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_MEMBERS, inner, max_size=4),
    max_leaves=12,
)
_names = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=40).filter(NAME.fullmatch)


@given(
    st.one_of(
        _values, st.fixed_dictionaries({"service": _values | st.fixed_dictionaries({"service": _values})})
    )
)
def test_any_document_is_a_query_or_refused(document: Any) -> None:
    with contextlib.suppress(Invalid):
        found = checked(document)
        assert checked(found) == found
        prepared_of(found)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${name.full}", "geo-web-eu"),
        ("${ name.prefix }", "geo-"),
        ("x${name.suffix}y", "xweb-euy"),
        ("${match(0)}|${match(1)}|${match( 2 )}|${match(3)}|${match(9)}", "geo-web-eu|web|eu||"),
        ("$${name.full}", "${name.full}"),
        ("$name {} }", "$name {} }"),
        ("", ""),
    ],
)
def test_words_are_filled_in(text: str, filled: str) -> None:
    parts = parts_of(Template("^geo-([a-z]+)-([a-z]+)(-[a-z]+)?$"), "geo-", "geo-web-eu")
    assert fill(text, parts) == filled


def test_a_name_that_the_expression_does_not_fit_has_no_groups() -> None:
    assert fill("${match(0)}${match(1)}.", parts_of(Template("^nothing$"), "geo-", "geo-web")) == "."


@pytest.mark.parametrize(
    "text", ["${", "${}", "${name}", "${match(1)", "${match(x)}", "${agent.segment}", "a${name.full"]
)
def test_a_word_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        fill(text, Parts("a", ""))


@given(_names)
def test_a_name_is_a_value_in_a_filter_and_never_more(name: str) -> None:
    tree = fill_tree(
        parse("Meta.owner == `${name.full}` and Port != 80"), lambda text: fill(text, Parts(name, ""))
    )
    again = parse(write(tree))
    assert again == tree
    assert [type(term) for term in again.terms] == [Match, Match]  # type: ignore[union-attr]
    assert again.terms[0].value == name  # type: ignore[union-attr]


def test_what_a_document_says_is_what_is_asked() -> None:
    document = {
        "name": "Shop",
        "service": {"service": "web", "tags": ["a", "!b"], "meta": {"env": ""}, "only_passing": True},
        "dns": {"ttl": "1m"},
        "limit": 2,
        "strategy": "ring-hash",
    }
    prepared = prepared_of(checked(document | {"template": None, "session": "", "id": "x"}))
    assert (prepared.name, prepared.ttl_s, prepared.limit, prepared.template) == ("Shop", 60, 2, None)
    assert (prepared.sought.tags, prepared.sought.meta) == (("a", "!b"), {"env": ""})
    assert (prepared.sought.only_passing, prepared.strategy) == (True, "ring-hash")


def test_every_selector_reads_a_row_that_says_nothing() -> None:
    from konsul.features.catalog.candidates import Candidate
    from konsul.features.catalog.tables import Instance
    from konsul.kernel import entry

    row = Instance(key="web web", name="web", zone="", ttl_ms=None)
    one = Candidate(b"web web", bytes(16) + b"".join(entry.cells(cell)[1:] for cell in row.cells()))
    for selector in INSTANCES.selectors.all:
        assert selector.read(one) is not None
    for by in INSTANCES.orders.values():
        assert isinstance(by(one), str | int)
