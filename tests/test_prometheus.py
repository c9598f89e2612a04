"""What an operator imports: alert rules, runbook and dashboard, held against a real gateway and a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.figures import ROW_BYTES, ROW_FILL
from tests.stack.gateway import ROOT, Gateway
from tests.stack.mosquitto import Mosquitto
from tests.stack.prometheus import Prometheus
from tests.stack.publisher import Publisher
from tests.stack.software import fetched
from tests.stack.wait import wait_for
from tests.test_continuity import FORWARD, WATCHED
from tests.test_end_to_end import Topics, mixed, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
}
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {"$__rate_interval": "10s", "$job": "gateway", "$instance": ".*"}
EMPTY_WHILE_WELL = {"Dropped readings"}  # nothing was given up


class Watched(NamedTuple):
    """A gateway at work, and the Prometheus that watches it."""

    gateway: Gateway
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(kafka: Kafka, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Start both, send readings and dead letters through, and wait until Prometheus knows."""
    topics = Topics(kafka, tmp_path_factory.mktemp("contract"))
    topics.contract.write_text(topics.contract.read_text().replace(FORWARD, FORWARD + WATCHED))
    schema = topics.contract.with_name("schemas") / "widget_reading.avsc"
    schema.write_text(schema.read_text().replace('"doc": "Weight."', '"x-counter": {"tolerance": 1e9}'))
    with (
        Mosquitto() as broker,
        Gateway(servers(broker, kafka, registry), topics.contract) as gateway,
        Prometheus({"gateway": [f"127.0.0.1:{gateway.start().port}"]}, [ALERTS]) as prometheus,
    ):
        wait_for(lambda: prometheus.query("gateway_received_total"), 60, "a first scrape")
        gateway.wait_subscribed()
        with Publisher(broker.port) as publisher:
            publisher.publish((topic, payload) for topic, payload, _ in mixed(2_000, seed=7))
        gateway.wait_settled(2_000)
        settled = "sum(gateway_delivered_total) + sum(gateway_dead_lettered_total) >= 2000"
        wait_for(lambda: prometheus.query(settled), 60, "the readings in Prometheus")
        wait_for(lambda: prometheus.query("count_over_time(gateway_ready[1m]) > 3"), 60, "some more scrapes")
        yield Watched(gateway, prometheus)


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_follow_the_conventions_of_prometheus(watched: Watched) -> None:
    """`promtool check metrics` has nothing to say about a page of a working gateway."""
    tool = [str(fetched("prometheus") / "promtool"), "check", "metrics"]
    page = watched.gateway.metrics()
    told = subprocess.run(tool, input=page, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_alerts_and_dashboard_name_only_metrics_that_are_there(watched: Watched) -> None:
    """A misspelt name is no error to Prometheus: it would stay silent for ever."""
    families = text_string_to_metric_families(watched.gateway.metrics())
    there = {sample.name for family in families for sample in family.samples}
    asked = re.findall(r"\b(?:gateway|process)_[a-z_]+", ALERTS.read_text() + json.dumps(DASHBOARD))
    assert set(asked) - there - {"gateway_dropped_total"} == set()


def test_every_metric_is_documented(watched: Watched) -> None:
    """Name, and labels, in docs/reference.md."""
    table = (ROOT / "docs" / "reference.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    documented = {
        name: frozenset(re.findall(r"`(\w+)`", labels))
        for names, labels in re.findall(r"^\| (`gateway.+?) \|(.*?)\|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    samples = [each for family in text_string_to_metric_families(watched.gateway.metrics()) for each in family.samples]
    there = {each.name: frozenset(each.labels) for each in samples if each.name.startswith("gateway_")}
    assert there.items() <= documented.items()
    # Nothing was dropped, and no transaction made.
    others = {"gateway_dropped_total", "gateway_transactions_total", "gateway_last_commit_timestamp_seconds"}
    assert documented.keys() - there.keys() <= others


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_every_alert_has_its_place_in_the_runbook_and_nothing_else_has() -> None:
    headings = re.findall(r"^## (\w+)$", (DEPLOY / "runbook.md").read_text(), re.MULTILINE)
    assert headings == list(RULES)
    for name, rule in RULES.items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}, name


def test_every_alert_is_evaluated_without_error_and_only_what_is_true_fires(watched: Watched) -> None:
    """The gateway is well; the readings of this test leave numbers out, and that is told."""
    wait_for(lambda: all(rule["health"] != "unknown" for rule in watched.prometheus.rules()), 60, "the rules")
    rules = {rule["name"]: rule for rule in watched.prometheus.rules()}
    assert rules.keys() == RULES.keys()
    assert {name: rule.get("lastError") for name, rule in rules.items() if rule["health"] != "ok"} == {}
    assert [name for name, rule in rules.items() if rule["state"] == "firing"] == ["GatewayNumbersMissing"]


STREAM = '{job="gateway",instance="a",stream="doors"}'
SERVER = '{job="gateway",instance="a",server="factoryBroker"}'
PLAIN = '{job="gateway",instance="a"}'
WELL = {  # a gateway that takes in one reading a second, a sample a minute for two hours
    f"up{PLAIN}": "1x120",
    f"gateway_ready{PLAIN}": "1x120",
    f"gateway_mqtt_connected{SERVER}": "1x120",
    f"gateway_mqtt_connects_total{SERVER}": "1x120",
    f"gateway_mqtt_sessions_lost_total{SERVER}": "0x120",
    f"gateway_received_total{STREAM}": "0+60x120",
    f"gateway_delivered_total{STREAM}": "0+60x120",
    f"gateway_in_flight{STREAM}": "0x120",
    f"gateway_spooled{STREAM}": "0x120",
    f"gateway_lag_seconds{STREAM}": "0x120",
    f"gateway_silent_keys{STREAM}": "0x120",
    f"gateway_sequence_missing_total{STREAM}": "0x120",
    f"gateway_sequence_out_of_order_total{STREAM}": "0x120",
    f"gateway_last_reading_timestamp_seconds{STREAM}": "0+60x120",
    f"gateway_received_bytes_total{PLAIN}": "0+6000x120",
    f"gateway_spool_room_bytes{PLAIN}": "1000000000x120",
    f"process_start_time_seconds{PLAIN}": "1000x120",
}
LETTERS = STREAM.replace("}", ',reason="not_json"}')
FELL = STREAM.replace("}", ',rule="fell"}')
DROPPED = STREAM.replace("}", ',reason="spool_full"}')
TROUBLES: dict[str, dict[str, str]] = {  # what differs from the above when this alert fires, and it alone
    "GatewayDown": {f"up{PLAIN}": "0x120"},
    "GatewayNotReady": {f"gateway_ready{PLAIN}": "0x120"},
    "GatewayBrokerUnreachable": {f"gateway_mqtt_connected{SERVER}": "0x120"},
    "GatewayStalled": {f"gateway_lag_seconds{STREAM}": "0+60x120"},
    "GatewayHearsNothing": {
        f"gateway_received_total{STREAM}": "0+60x90 5400x30",
        f"gateway_delivered_total{STREAM}": "0+60x90 5400x30",
    },
    "GatewayKeysSilent": {f"gateway_silent_keys{STREAM}": "2x120"},
    "GatewayNumbersMissing": {
        f"gateway_sequence_missing_total{STREAM}": "0x80 9x40",
        f"gateway_sequence_out_of_order_total{STREAM}": "0x80 2x40",
    },
    "GatewayQuarantined": {f"gateway_quarantined_total{FELL}": "0x80 4x40"},
    "GatewayBooksDoNotBalance": {f"gateway_delivered_total{STREAM}": "1+60x120"},
    "GatewayReadingsLost": {
        f"gateway_dropped_total{DROPPED}": "_x114 7x10",
        f"gateway_delivered_total{STREAM}": "0+60x114 6833+60x10",
    },
    "GatewayDeadLetters": {
        f"gateway_dead_lettered_total{LETTERS}": "0+3x120",
        f"gateway_delivered_total{STREAM}": "0+57x120",
    },
    "GatewaySpoolFilling": {
        f"gateway_spooled{STREAM}": "0+60x120",
        f"gateway_delivered_total{STREAM}": "0x120",
        f"gateway_spool_room_bytes{PLAIN}": "20000000x120",  # at 265 bytes a second: 21 hours
    },
    "GatewaySessionLost": {f"gateway_mqtt_sessions_lost_total{SERVER}": "0x80 1x40"},
    "GatewayReconnects": {f"gateway_mqtt_connects_total{SERVER}": "1+1x120"},
    "GatewayRestarts": {f"process_start_time_seconds{PLAIN}": "1000x100 2000x3 3000x3 4000x20"},
    "GatewayClockWrong": {f"gateway_last_reading_timestamp_seconds{STREAM}": "600+60x120"},
}


def test_every_alert_has_a_trouble_that_it_is_tried_with() -> None:
    assert TROUBLES.keys() == RULES.keys()


def test_an_alert_fires_at_its_trouble_and_at_no_other(tmp_path: Path) -> None:
    """And none while all is well. The rules are evaluated by Prometheus's own `promtool test rules`."""
    tests = [_rule_test("all is well", {}, [])] + [_rule_test(name, TROUBLES[name], [name]) for name in TROUBLES]
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    tool = [str(fetched("prometheus") / "promtool"), "test", "rules", str(file)]
    told = subprocess.run(tool, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def _rule_test(name: str, differing: dict[str, str], firing: list[str]) -> dict[str, Any]:
    expected = [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in firing]
    asked = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in (WELL | differing).items()],
        "promql_expr_test": [{"expr": asked, "eval_time": "119m", "exp_samples": expected}],
    }


def test_hours_that_the_spool_lasts_are_those_of_the_status_page() -> None:
    """The alert rule and the dashboard compute the hours from the same number of bytes per reading as the gateway."""
    (hours,) = [panel for panel in PANELS if panel["title"] == "Hours the spool lasts"]
    for expression in (RULES["GatewaySpoolFilling"]["expr"], hours["targets"][0]["expr"]):
        assert f"({ROW_BYTES} * " in expression
        assert f"{ROW_FILL} * " in expression


# --- dashboard --------------------------------------------------------------------------------------------------------


def test_every_panel_is_complete_and_has_a_place_of_its_own() -> None:
    """A title, a sentence, a unit, the data source of the variable; and no two panels overlap."""
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}, panel["title"]
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("panel", [pytest.param(panel, id=panel["title"]) for panel in PANELS])
def test_every_query_of_a_panel_has_an_answer(watched: Watched, panel: dict[str, Any]) -> None:
    """Run on a real Prometheus: no error, and data where there must be some."""
    for target in panel["targets"]:
        found = watched.prometheus.query(_filled(target["expr"]))
        is_empty = panel["title"] in EMPTY_WHILE_WELL or target["legendFormat"] == "dropped"
        assert found or is_empty, target["expr"]
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert all(labels <= sample["metric"].keys() for sample in found), target["legendFormat"]


def test_the_panel_of_the_books_shows_nothing_unexplained(watched: Watched) -> None:
    (books,) = [panel for panel in PANELS if panel["title"] == "Unaccounted readings"]
    (sample,) = watched.prometheus.query(_filled(books["targets"][0]["expr"]))
    assert float(sample["value"][1]) == 0


def test_variables_and_annotations_have_an_answer(watched: Watched) -> None:
    for variable in DASHBOARD["templating"]["list"][1:]:
        told = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        assert told, variable
        assert all(told[2] in sample["metric"] for sample in watched.prometheus.query(_filled(told[1])))
    for annotation in DASHBOARD["annotations"]["list"]:
        watched.prometheus.query(_filled(annotation["expr"]))


def test_the_example_of_a_configuration_is_one() -> None:
    """`promtool check config` reads it with the rules it names."""
    tool = [str(fetched("prometheus") / "promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")]
    told = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def _filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
