"""Telegrams through a running gateway: whole ones, and lines as Tasmota publishes them, with kill -9 between two."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import fastavro

from gateway.core.codec.telegram import checksum_of
from tests.stack.gateway import ROOT, Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import StoredRecord, records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

STEP = ROOT / "docs" / "steps" / "24"
HOUSES = ("p1/linden-4", "p1/linden-6")
METER = b"4530303438303030303331363637303137"


def telegram(number: int, meter: bytes = METER) -> bytes:
    text = (
        b"/Ene5\\XS210 ESMR 5.0\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(26010508%02d%02dW)\r\n0-0:96.1.1(%b)\r\n"
        b"1-0:1.8.1(%010.3f*kWh)\r\n1-0:1.8.2(004612.007*kWh)\r\n0-0:96.14.0(0002)\r\n1-0:1.7.0(00.493*kW)\r\n!"
    ) % (*divmod(number, 60), meter, 5_000 + number / 1_000)
    return text + b"%04X\r\n" % checksum_of(text)


def lines(payload: bytes, house: str) -> list[tuple[str, bytes]]:
    """Give the messages of a bridge that publishes each line in JSON."""
    texts = payload.removesuffix(b"\r\n").split(b"\n")
    return [(house, json.dumps({"SerialReceived": text.decode()}).encode()) for text in texts]


def energies(stored: list[StoredRecord]) -> list[Any]:
    definition = fastavro.parse_schema(json.loads((STEP / "meter.avsc").read_text()))
    read: list[Any] = [
        fastavro.schemaless_reader(io.BytesIO((one.value or b"")[5:]), definition, None) for one in stored
    ]
    return [one["energy_low_wh"] for one in read]


def contract_with(topics: dict[str, str], folder: Path, content_type: str) -> Path:
    shutil.copytree(STEP, folder, dirs_exist_ok=True)
    path = folder / "asyncapi.yaml"
    text = path.read_text().replace("text/vnd.dsmr.p1", content_type)
    for name, made in topics.items():
        text = text.replace(f"address: {name}\n", f"address: {made}\n")
    path.write_text(text)
    return path


def test_run_joins_lines_and_loses_none_when_it_is_killed(
    kafka: Kafka, topic: NewTopic, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """A telegram of which half was received is complete after the next start; a damaged one is one dead letter."""
    topics = {name: topic(partitions=1) for name in ("meters", "meter-dead-letters")}
    path = contract_with(topics, tmp_path, "text/vnd.dsmr.p1; lines=SerialReceived")
    broker = mosquitto()
    servers = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    first, second = (lines(telegram(number), HOUSES[0]) for number in (1, 2))
    others = lines(telegram(3, b"41"), HOUSES[1])
    damaged = lines(telegram(4).replace(b"004612", b"004613"), HOUSES[0])
    with Gateway(servers, path) as gateway, Publisher(broker.port) as publisher:
        gateway.start()
        publisher.publish([*first, *second[:6], *others[:3]])
        gateway.wait_settled(1)
        gateway.kill()
        gateway.start()
        publisher.publish([*others[3:], *second[6:], *damaged])
        stored = records(kafka.bootstrap, topics["meters"], 3)
        (dead,) = records(kafka.bootstrap, topics["meter-dead-letters"], 1)
        ledger = gateway.stop_and_read_ledger()
    assert sorted(energies(stored)) == [5_000_001, 5_000_002, 5_000_003]
    assert dead.value == telegram(4).replace(b"004612", b"004613")
    assert dict(dead.headers)["error.reason"] == b"bad_telegram"
    assert ledger["balanced"]
    assert (ledger["delivered"], ledger["dead_lettered"]) == (2, 1)  # since the start after the kill


def test_run_reads_whole_telegrams(
    kafka: Kafka, topic: NewTopic, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """Damaged ones are dead letters with all their bytes, which replay refuses as well, and explain explains."""
    topics = {name: topic(partitions=1) for name in ("meters", "meter-dead-letters")}
    path = contract_with(topics, tmp_path, "text/vnd.dsmr.p1")
    broker = mosquitto()
    servers = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    good = [telegram(number) for number in range(50)]
    bad = [good[0][:200], good[1].replace(b"(00.493", b"(00.494"), b"x" * 900_000, b"\0\xff" * 300, good[2] * 2]
    with Gateway(servers, path) as gateway, Publisher(broker.port) as publisher:
        gateway.start()
        publisher.publish([(HOUSES[0], payload) for payload in [*good, *bad]])
        gateway.wait_settled(len(good) + len(bad))
        ledger = gateway.stop_and_read_ledger()
        explained = gateway.command("dlq", "explain", "0:1", "-c", str(gateway.settings_file)).stdout
    assert (ledger["delivered"], ledger["dead_lettered"], ledger["balanced"]) == (50, 5, True)
    assert energies(records(kafka.bootstrap, topics["meters"], 50)) == [5_000_000 + number for number in range(50)]
    dead = records(kafka.bootstrap, topics["meter-dead-letters"], 5)
    assert [one.value for one in dead] == bad
    assert {dict(one.headers)["error.reason"] for one in dead} == {b"bad_telegram"}
    assert "what would fit: a telegram as the meter sends it" in explained
