"""What an operation costs: 1 for each field, and what is inside a list once per item it may answer.

A list has as many items as its `limit` says, as many as `representations` has entries, and else a fixed
number (`KONSUL_GRAPHQL_LIST_SIZE`). Introspection answers what the schema fixes, and has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from konsul.doors.graphql.limits import INTROSPECTION
from konsul.doors.graphql.refusals import Refused, over
from konsul.kernel.graphql_settings import GraphqlSettings

_PAGES: Final = ("limit", "first", "last")
_EACH: Final = "representations"
_ITEMS: Final = frozenset(("items", "edges", "nodes"))
_INTROSPECTED: Final = {
    "fields": 8,
    "inputFields": 4,
    "args": 2,
    "enumValues": 3,
    "possibleTypes": 2,
    "directives": 8,
}
_INTROSPECTION_MAX: Final = 100_000
"""The usual introspection query is far below it; what nests types in types in types is above."""
_OF_SCHEMA: Final = -1
_TOO_MUCH: Final = 10**12
"""Larger costs are all the same, and are refused before they become long numbers."""


class Costing:
    """Counts one operation of a validated document with the variables of one request."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        settings: GraphqlSettings,
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._settings = settings
        self._variables: Mapping[str, Any] = {}
        self._defaults: dict[str, ValueNode] = {}
        self._known: dict[tuple[str, int | None], int] = {}
        self._introspected = 0

    def of(self, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
        """The cost. Raises Refused when it, or a page, is larger than it may be."""
        self._variables = variables
        self._defaults = {
            one.variable.name.value: one.default_value
            for one in operation.variable_definitions or ()
            if one.default_value is not None
        }
        self._known = {}
        self._introspected = 0
        root = self._schema.get_root_type(operation.operation)
        cost = self._of_set(operation.selection_set, root, None) if root is not None else 0
        limit = self._settings.max_complexity
        if cost > limit:
            found = f"the operation costs {cost}" if cost < _TOO_MUCH else "the operation costs far too much"
            raise over("COMPLEXITY_LIMIT_EXCEEDED", found, limit, "KONSUL_GRAPHQL_MAX_COMPLEXITY")
        return cost

    def _of_set(self, selections: SelectionSetNode | None, parent: object, page: int | None) -> int:
        cost = 0
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                cost += self._of_field(one, parent, page)
            elif isinstance(one, FragmentSpreadNode):
                cost += self._of_fragment(one.name.value, page)
            elif isinstance(one, InlineFragmentNode):
                named = one.type_condition
                inside = self._schema.get_type(named.name.value) if named is not None else parent
                cost += self._of_set(one.selection_set, inside, page)
        return min(cost, _TOO_MUCH)

    def _of_fragment(self, name: str, page: int | None) -> int:
        known = self._known.get((name, page))
        if known is None:
            found = self._fragments[name]
            inside = self._schema.get_type(found.type_condition.name.value)
            known = self._known[name, page] = self._of_set(found.selection_set, inside, page)
        return known

    def _of_field(self, node: FieldNode, parent: object, page: int | None) -> int:
        name = node.name.value
        if name in INTROSPECTION:
            self._introspected += self._of_introspection(node.selection_set)
            if self._introspected > _INTROSPECTION_MAX:
                text = f"introspection answers more than some {_INTROSPECTION_MAX} fields"
                raise Refused("COMPLEXITY_LIMIT_EXCEEDED", text, limit=_INTROSPECTION_MAX)
            return 1
        # Fields of a union are `__typename` and such: they count as one.
        fields = parent.fields if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else {}
        field: GraphQLField | None = fields.get(name)
        if field is None:
            return 1
        kind: Any = field.type
        is_list = False
        while isinstance(kind, GraphQLNonNull | GraphQLList):
            is_list = is_list or isinstance(kind, GraphQLList)
            kind = kind.of_type
        asked = self._page(node, field)
        inside_page = None if is_list else asked
        inside = self._of_set(node.selection_set, kind, inside_page)
        if not is_list:
            return min(1 + inside, _TOO_MUCH)
        size = asked if asked is not None else page if page is not None and name in _ITEMS else None
        return min(1 + inside * (self._settings.list_size if size is None else size), _TOO_MUCH)

    def _of_introspection(self, selections: SelectionSetNode | None) -> int:
        """About how many fields it answers: the schema's own lists, of the sizes they usually have."""
        count = 0
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                name = one.name.value
                size = len(self._schema.type_map) if name == "types" else _INTROSPECTED.get(name, 1)
                count += 1 + size * self._of_introspection(one.selection_set)
            elif isinstance(one, FragmentSpreadNode):
                name = one.name.value
                known = self._known.get((name, _OF_SCHEMA))
                if known is None:
                    known = self._of_introspection(self._fragments[name].selection_set)
                    self._known[name, _OF_SCHEMA] = known
                count += known
            elif isinstance(one, InlineFragmentNode):
                count += self._of_introspection(one.selection_set)
        return min(count, _TOO_MUCH)

    def _page(self, node: FieldNode, field: GraphQLField) -> int | None:
        """How many items the field was asked for. Raises Refused for more than a page."""
        given = {one.name.value: one.value for one in node.arguments or ()}
        for name in _PAGES:
            if name not in field.args:
                continue
            size = self._int(given.get(name))
            if size is None:
                size = _default(field.args[name])
            if size is not None:
                limit = self._settings.max_page_size
                if size > limit:
                    found = f"{node.name.value} is asked for {size} items"
                    raise over("PAGE_LIMIT_EXCEEDED", found, limit, "KONSUL_GRAPHQL_MAX_PAGE_SIZE")
                return max(size, 0)
        return self._length(given[_EACH]) if _EACH in given else None

    def _value(self, value: ValueNode | None) -> Any:
        """A variable's value, or the node that stands in the document."""
        if not isinstance(value, VariableNode):
            return value
        name = value.name.value
        return self._variables[name] if name in self._variables else self._defaults.get(name)

    def _int(self, value: ValueNode | None) -> int | None:
        found = self._value(value)
        if isinstance(found, IntValueNode):
            # A number of any length: longer than this is over every limit.
            return int(found.value[:12])
        return found if type(found) is int else None

    def _length(self, value: ValueNode) -> int | None:
        found = self._value(value)
        if isinstance(found, ListValueNode):
            return len(found.values)
        return len(found) if isinstance(found, list) else None


def _default(argument: GraphQLArgument) -> int | None:
    """What counts when an argument is not given: of a schema in Python a value, of one in text a node."""
    found = argument.default_value
    if argument.default is not None:
        found = argument.default.literal or argument.default.value
    if isinstance(found, IntValueNode):
        return int(found.value)
    return found if type(found) is int else None
