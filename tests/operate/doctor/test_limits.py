"""The limits of cloud services against what an installation asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.installation import Installation, open_installation
from gateway.operate.doctor import limits
from tests.contract_values import contract, stream
from tests.stack.gateway import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.model import MqttServer, Stream
    from gateway.errors import Severity

AWS, GRID = "abc-ats.iot.eu-central-1.amazonaws.com:8883", "plant.westeurope-1.ts.eventgrid.azure.net:443"
RECORD = {"type": "record", "name": "Reading", "fields": [{"name": "t", "type": "double"}]}
WITHIN = ("ok", "nothing exceeds them")


def reading_of(address: str, **changes: Any) -> Stream:
    return replace(stream("rooms", RECORD, address=address, keys=("/t",)), **changes)


def found(folder: Path, host: str, streams: list[Stream], **changes: Any) -> list[tuple[str, str]]:
    """Make an installation, and give what exceeds the limits."""
    made = contract(*streams)
    server: MqttServer = replace(made.mqtt_servers["broker"], host=host, **changes)
    (folder / "gateway.yaml").write_text(json.dumps({"contract": str(ROOT / "asyncapi.yaml")}))
    settings = open_installation(folder / "gateway.yaml", {}).settings
    return [(row.severity, row.message) for row in limits.check_broker(Installation(settings, made), server)]


@pytest.mark.parametrize("host", ["broker.local:1883", "iot.example.com:8883", "amazonaws.com.example:8883"])
def test_a_broker_of_ones_own_has_no_such_limits(host: str, tmp_path: Path) -> None:
    assert found(tmp_path, host, [reading_of("a/{id}", qos=2)]) == []


@pytest.mark.parametrize("host", [AWS, GRID, AWS.replace(".com:", ".com.cn:")])
def test_what_a_service_accepts_is_within_its_limits(host: str, tmp_path: Path) -> None:
    assert found(tmp_path, host, [reading_of("a/b/c/d/e/f/g/{id}")], maximum_packet_size=131_072) == [WITHIN]


@pytest.mark.parametrize(
    ("address", "changes", "server", "severity", "text"),
    [
        ("a/{id}", {"qos": 2}, {}, "error", "the service has no QoS 2, which the stream rooms needs"),
        ("a/b/c/d/e/f/g/h/{id}", {}, {}, "error", "a/b/c/d/e/f/g/h/+ has 9 levels; the service allows 8"),
        ("a/{id}", {}, {"client_id": "x" * 129}, "error", "the client id is too long: the service allows 128 bytes"),
        ("a/{id}", {}, {"maximum_packet_size": 600_000}, "warning", "the service disconnects a client"),
    ],
)
def test_what_a_service_refuses_is_named(  # noqa: PLR0917 - columns
    address: str,
    changes: dict[str, Any],
    server: dict[str, Any],
    severity: Severity,
    text: str,
    tmp_path: Path,
) -> None:
    for host in (AWS, GRID):
        ((found_severity, message),) = found(tmp_path, host, [reading_of(address, **changes)], **server)
        assert found_severity == severity
        assert text in message


def test_more_subscriptions_than_a_client_may_have_are_named(tmp_path: Path) -> None:
    streams = [replace(reading_of(f"site/{number}/{{id}}"), name=f"rooms{number}") for number in range(51)]
    assert found(tmp_path, AWS, streams) == [("warning", "51 subscriptions; the service allows a client 50")]


def test_sequences_need_the_dup_flag_which_aws_does_not_set(tmp_path: Path) -> None:
    counted = [reading_of("a/{id}", sequence="/n")]
    ((severity, message),) = found(tmp_path, AWS, counted)
    text = "the service does not set DUP: repeats may count as out of order in x-sequence of rooms"
    assert (severity, message) == ("warning", text)
    assert found(tmp_path, GRID, counted) == [WITHIN]


EVENT_HUBS = "plant.servicebus.windows.net:9093"


@pytest.mark.parametrize(
    ("host", "properties", "severity"),
    [
        ("kafka.example:9092", {}, "ok"),
        (EVENT_HUBS, {}, "error"),
        ("plant.servicebus.chinacloudapi.cn:9093", {"compression.codec": "zstd"}, "error"),
        (EVENT_HUBS, {"compression.type": "gzip"}, "ok"),
        (EVENT_HUBS, {"compression.type": "none"}, "ok"),
    ],
)
def test_compression_is_checked_where_the_cluster_is_known_to_refuse_some(
    host: str, properties: dict[str, str], severity: Severity
) -> None:
    (row,) = limits.check_kafka("kafka", {"bootstrap.servers": host} | properties, delivers_once=False)
    assert row.severity == severity
    assert ("{compression.type: gzip}" in row.fix) == (severity == "error")


@pytest.mark.parametrize(("host", "count"), [(EVENT_HUBS, 3), ("kafka.example:9092", 1)])
def test_transactions_and_large_records_are_checked_likewise(host: str, count: int) -> None:
    properties = {"bootstrap.servers": host, "message.max.bytes": 2_000_000, "compression.type": "none"}
    rows = list(limits.check_kafka("kafka", properties, delivers_once=True))
    severities = ["ok", "warning", "error"]
    assert [row.severity for row in rows] == severities[:count]
    assert all(row.fix for row in rows if row.severity != "ok")
