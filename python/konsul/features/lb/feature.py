"""The load balancing feature, declared."""

from __future__ import annotations

from konsul.features.lb import commands, queries, routes, rule_commands, rule_queries, spreading, tables
from konsul.features.lb.config import LbSettings
from konsul.features.lb.metrics import METRICS
from konsul.kernel.feature import Feature
from konsul.kernel.graph import Graph

feature = Feature(
    name="lb",
    tables=(tables.RuleRow,),
    commands=(
        commands.set_strategy,
        commands.report,
        commands.report_many,
        rule_commands.set_rules,
        rule_commands.delete_rules,
        rule_commands.activate,
        rule_commands.set_split,
        rule_commands.delete_split,
    ),
    queries=(
        queries.select,
        queries.current_strategy,
        queries.loads,
        rule_queries.rules,
        rule_queries.list_rules,
    ),
    router=routes.router,
    services=(spreading.Spreading,),
    config=LbSettings,
    metrics=METRICS,
    graphql=Graph("konsul.features.lb.graphql"),
    install=spreading.install,
)
