"""Alert rules and dashboards ask for series that a node has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy import dashboards
from tests.ask import ask
from tests.conftest import LiveServer
from tests.doors.trail import audited_server
from tests.tidy.tree import ROOT
from tests.waiting import until

PROMETHEUS = ROOT / "deploy" / "prometheus"
SERIES = re.compile(r"\b(?:konsul|process)_\w+")
LABELS_OF_A_SCRAPE = {"job", "instance", "le"}
FOUND = re.compile(r"^([a-z_]\w*)(?:\{(.*)\})? ", re.MULTILINE)
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
BY = re.compile(r"\bby \(([^)]*)\)")
TEMPLATE = re.compile(r"\$labels\.(\w+)|\{\{(\w+)\}\}")


def rules() -> Iterator[dict[str, Any]]:
    document = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))
    for group in document["groups"]:
        yield from group["rules"]


def queries(page: dict[str, Any]) -> Iterator[str]:
    for panel in page["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for mark in page["annotations"]["list"]:
        yield mark["expr"]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A node that records what it is asked, which makes series of its own."""
    with audited_server(tmp_path_factory.mktemp("audited")) as running:
        yield running


@pytest.fixture(scope="module")
def series(lone_leader: LiveServer, audited: LiveServer) -> dict[str, set[str]]:
    """The samples of a leader that has done a little of everything, and the labels of each."""
    server = lone_leader
    ask(server.port, "PUT", "/kv/a", {"value": "1"})
    ask(server.port, "PUT", "/register", {"name": "web", "address": "10.0.0.1", "port": 80})
    ask(server.port, "PUT", "/heartbeat/web")
    ask(server.port, "GET", "/lb/service/web")
    ask(server.port, "GET", "/services/query/tags?tags=v1")
    until(lambda: b"konsul_autopilot" in ask(server.port, "GET", "/metrics").body, "autopilot's series")
    text = "".join(ask(one.port, "GET", "/metrics").body.decode() for one in (server, audited))
    found: dict[str, set[str]] = {}
    for name, labels in FOUND.findall(text):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def missing(query: str, series: dict[str, set[str]]) -> list[str]:
    """Series and labels that the query asks for and the node does not have."""
    names = SERIES.findall(query)
    known = {label for name in names for label in series.get(name, ())} | LABELS_OF_A_SCRAPE
    asked = {*MATCHER.findall(query), *(one for by in BY.findall(query) for one in re.split(r",\s*", by))}
    return [name for name in names if name not in series] + sorted(asked - known)


def test_every_rule_asks_for_what_there_is(series: dict[str, set[str]]) -> None:
    sums = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    assert len(sums) >= 4
    for rule in rules():
        query = rule["expr"]
        for name, meant in sums.items():
            query = query.replace(name, f"({meant})")
        assert missing(query, series) == [], rule
        assert "konsul:" not in query, f"no rule records what is asked for here: {rule}"


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) >= 15
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert len(alert["annotations"]["description"]) > 30
        assert alert["annotations"]["summary"]


def test_the_alerts_of_the_operator_s_page_exist() -> None:
    text = (ROOT / "docs" / "operate" / "cluster.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(Konsul[A-Z]\w+)`", text))
    assert named
    assert named - {rule.get("alert") for rule in rules()} == set()


def test_the_rules_tests_name_rules() -> None:
    document = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8"))
    tried = {one["alertname"] for test in document["tests"] for one in test["alert_rule_test"]}
    assert len(tried) >= 8
    assert tried - {rule.get("alert") for rule in rules()} == set()


def test_the_scrape_finds_the_rules_and_the_page() -> None:
    document = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    assert [(PROMETHEUS / name).is_file() for name in document["rule_files"]] == [True]
    (scrape,) = document["scrape_configs"]
    assert (scrape["job_name"], scrape["metrics_path"]) == ("konsul", "/metrics")


@pytest.mark.parametrize("page", [dashboards.RAFT, dashboards.NODES], ids=lambda page: page.uid)
def test_a_dashboard_asks_for_what_there_is(page: dashboards.Dashboard, series: dict[str, set[str]]) -> None:
    document = json.loads((dashboards.FOLDER / f"{page.uid}.json").read_text(encoding="utf-8"))
    found = list(queries(document))
    assert len(found) > 10
    for query in found:
        assert missing(query, series) == [], query
    legends = [target["legendFormat"] for panel in document["panels"] for target in panel.get("targets", ())]
    labels = {label for known in series.values() for label in known} | LABELS_OF_A_SCRAPE
    assert {name for legend in legends for _, name in TEMPLATE.findall(legend)} - labels == set()


@pytest.mark.parametrize("page", [dashboards.RAFT, dashboards.NODES], ids=lambda page: page.uid)
def test_a_dashboard_is_what_its_few_lines_say(page: dashboards.Dashboard) -> None:
    written = (dashboards.FOLDER / f"{page.uid}.json").read_text(encoding="utf-8")
    assert written == dashboards.text(page), "run: uv run python -m deploy.dashboards"


@pytest.mark.parametrize("page", [dashboards.RAFT, dashboards.NODES], ids=lambda page: page.uid)
def test_no_panel_lies_on_another(page: dashboards.Dashboard) -> None:
    places = [panel["gridPos"] for panel in dashboards.document(page)["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < dashboards.COLUMNS
    numbers = [panel["id"] for panel in dashboards.document(page)["panels"]]
    assert len(numbers) == len(set(numbers))
