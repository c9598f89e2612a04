"""`gateway shadow` with recordings, spools, dead letters and real servers: what it says, and what it leaves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from msgspec import structs

from gateway.core.dead_letter import dead_letter_record
from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.errors import ConfigurationError
from gateway.installation import open_installation, subscriptions
from gateway.operate.listener import Terminal
from gateway.operate.recording import STREAM, Recording
from gateway.operate.shadow.report import report
from gateway.operate.shadow.shadow import Shadow
from gateway.operate.shadow.tally import HIDDEN, MAX_GROUPS, OTHERS
from tests.operate.shadow.planted import PLANTED, PLUGS, edit
from tests.operate.shadow.rig import NOW, Bakery, message, messages
from tests.stack.gateway import ROOT, Gateway
from tests.stack.mosquitto import OPEN_AND_PERSISTENT
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_cli import command
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.operate.shadow.report import Report
    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

SYMBOL = PLANTED["a symbol removed"].edits
KEY = PLANTED["another key"].edits


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Bakery:
    return Bakery(tmp_path_factory.mktemp("bakery"))


def recorded(folder: Path, count: int) -> Path:
    path = folder / "traffic.db"
    with Recording(path) as recording:
        for one in messages(count):
            recording.add(one.reading)
    return path


def shadow(bakery: Bakery, contract: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return command("shadow", str(contract), "-c", str(bakery.settings), *map(str, arguments), folder=bakery.folder)


def kinds(report: Report) -> dict[tuple[str, str], int]:
    return {(one.kind, one.where): one.readings for one in report.groups}


def test_shadow_reports_a_recording_as_text_json_and_markdown(bakery: Bakery, tmp_path: Path) -> None:
    """The exit code is that of the differences; the same rows everywhere."""
    contract, path = bakery.changed(*KEY), recorded(tmp_path, 200)
    text, machine, page = (
        shadow(bakery, contract, "--from", path, "--format", form) for form in ("text", "json", "markdown")
    )
    assert {one.returncode for one in (text, machine, page)} == {1}, text.stderr
    told = json.loads(machine.stdout)
    (found,) = told["differences"]
    assert (found["stream"], found["kind"], found["readings"], told["same"]) == ("receiveOvens", "key", 60, 140)
    assert 0 < found["moved"] < 60
    assert (found["samples"][0]["before"], found["samples"][0]["after"]) == ("bread-0", "ovens/bread-0")
    assert "receiveOvens  other key   oven-readings, " in text.stdout
    assert "140 are the same, 60 differ." in text.stdout
    assert "| `receiveOvens` | `other key` | `oven-readings, " in page.stdout


def test_what_is_expected_is_waved_through(bakery: Bakery, tmp_path: Path) -> None:
    """By kind, stream or place; an expectation that names nothing is reported, and an unknown kind refused."""
    contract, path = bakery.changed(*KEY), recorded(tmp_path, 50)
    for one in ("key", "key:receiveOvens", "key:oven-readings", "key:receiveOvens:oven-readings"):
        assert shadow(bakery, contract, "--from", path, "--expect", one).returncode == 0
    done = shadow(bakery, contract, "--from", path, "--expect", "key:receiveDoors")
    assert done.returncode == 1
    assert "--expect key:receiveDoors names no difference." in done.stdout
    assert shadow(bakery, contract, "--from", path, "--expect", "keys").returncode == 2


def test_values_are_hidden_and_escaped(bakery: Bakery) -> None:
    """Control characters and markup of a device reach neither a terminal nor a page."""
    hostile = Reading(STREAM, b"doors/hall/state", b"\x1b[31m|<b>", NOW)
    contract = bakery.changed(*PLANTED["a stream ignored"].edits, *PLANTED["another encoding"].edits)
    sent = [hostile, message(2).reading]
    shown = bakery.shadow_of(sent, contract)
    assert kinds(shown) == {
        ("dead", "not_json"): 1, ("reason", "not_json"): 1, ("subscription", "plugs/+/power"): 0,
    }  # fmt: skip
    for text in (shown.as_text(), shown.as_markdown()):
        assert "\\u001b[31m" in text
        assert "\x1b" not in text
    hidden = bakery.shadow_of(sent, contract, shows_values=False)
    samples = {one.kind: one.samples for one in hidden.groups}
    assert samples["dead"] == [("doors/hall/state", HIDDEN, HIDDEN, HIDDEN)]
    assert samples["reason"] == [("doors/hall/state", "bad_format", "not_json", HIDDEN)]


def test_groups_are_bounded(bakery: Bakery) -> None:
    """Devices that choose names of members make no more groups than a stream and kind may have."""
    contract = bakery.changed(*PLANTED["a member that no field reads"].edits)
    at = NOW // 1000
    sent = [
        Reading(STREAM, b"ovens/a", json.dumps({"probe": {"dC": 1}, "at": at, f"m{n}": n}).encode(), NOW)
        for n in range(2 * MAX_GROUPS)
    ]
    groups = bakery.shadow_of(sent, contract).groups
    assert len(groups) == MAX_GROUPS + 1
    assert max(groups, key=lambda one: one.readings).where == OTHERS
    assert sum(one.readings for one in groups) == 2 * MAX_GROUPS


def test_a_contract_that_is_wrong_or_does_not_fit_the_settings_is_refused(bakery: Bakery) -> None:
    broken = bakery.changed(*edit("address: ovens/{oven}", "address: ovens/{oven"))
    done = shadow(bakery, broken, "--from", "absent.db")
    assert done.returncode == 78
    assert "asyncapi.yaml:" in done.stderr
    settings = {"contract": str(bakery.present / "asyncapi.yaml"), "streams": {"receivePlugs": {"enabled": True}}}
    (bakery.folder / "other.yaml").write_text(json.dumps(settings))
    without = bakery.changed(*edit(PLUGS, ""))
    done = command("shadow", str(without), "-c", "other.yaml", "--from", "absent.db", folder=bakery.folder)
    assert done.returncode == 78
    assert "receivePlugs" in done.stderr


def test_a_source_that_cannot_be_read_is_refused(bakery: Bakery, tmp_path: Path) -> None:
    contract = bakery.changed()
    (tmp_path / "text").write_text("no database, but a text that is long enough to be read as one" * 20)
    for arguments, code in ((("--from", tmp_path / "text"), 1), (("--from", tmp_path / "absent"), 1), ((), 2)):
        done = shadow(bakery, contract, *arguments)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_readings_of_a_spool_belong_to_the_servers_of_their_stream(bakery: Bakery) -> None:
    """What the spool has as unmapped was received; the same topic in a recording was only heard."""
    lamp = message(6).reading
    contract = bakery.changed()
    in_spool = structs.replace(lamp, stream="unmapped")
    assert kinds(bakery.shadow_of([lamp, in_spool], contract)) == {}
    with pytest.raises(ConfigurationError):
        bakery.shadow_of([], bakery.folder / "absent.yaml")


@pytest.fixture(scope="module")
def meters(tmp_path_factory: pytest.TempPathFactory) -> Bakery:
    return Bakery(tmp_path_factory.mktemp("meters"), ROOT / "docs" / "steps" / "22")


def meter(number: int, drawn: int) -> Reading:
    at = NOW + 10_000 * number
    told = {"number": "90296857", "at": at, "drawn": drawn, "fed": 0, "power": 1}
    return Reading(STREAM, b"meters/house", json.dumps(told).encode(), at)


def test_counters_are_compared_by_both_contracts_in_the_order_of_arrival(meters: Bakery) -> None:
    """A fall is quarantined by the rule of one, and passes without the rule."""
    rule = '"x-counter": {"most": 36000, "per": "1h", "tolerance": 1, "of": "$message.payload#/number"}'
    sent = [meter(number, drawn) for number, drawn in enumerate([1000, 1001, 0, 1002, 1003])]
    assert kinds(meters.shadow_of(sent, meters.changed())) == {}
    contract = meters.changed(("meter.avsc", f",\n     {rule}", ""))
    assert kinds(meters.shadow_of(sent, contract)) == {("accepted", "fell /drawn"): 1}


def test_lines_are_joined_by_both_contracts(tmp_path: Path) -> None:
    """A telegram is one reading of both, at its last line; the lines before it differ in nothing."""
    here = Bakery(tmp_path, ROOT / "docs" / "steps" / "24")
    contract = here.present / "asyncapi.yaml"
    text = contract.read_text()
    telegram = text.partition("          payload: |\n")[2].partition("    meterAvro:")[0]
    lines = [line.strip() for line in telegram.splitlines()] * 2
    sent = [Reading(STREAM, b"p1/linden-4", line.encode(), NOW + n) for n, line in enumerate(lines)]
    edits = (
        ("asyncapi.yaml", "text/vnd.dsmr.p1", "text/vnd.dsmr.p1; lines=text"),
        ("meter.avsc", '"name": "power_w", "type": "int"', '"name": "power_w", "type": "long"'),
    )
    assert kinds(here.shadow_of(sent, here.changed(*edits)))[("accepted", "bad_telegram")] == 2
    contract.write_text(text.replace("text/vnd.dsmr.p1", "text/vnd.dsmr.p1; lines=text"))
    (tmp_path / "joined").mkdir()
    joined = Bakery(tmp_path / "joined", shutil.copytree(tmp_path / "present", tmp_path / "lines"))
    assert kinds(joined.shadow_of(sent, joined.changed())) == {}
    result = joined.shadow_of(sent, joined.changed(("meter.avsc", '"tariff", "type": "int"', '"rate", "type": "int"'),
                                                   ("asyncapi.yaml", "tariff: 2", "rate: 2")))  # fmt: skip
    assert kinds(result) == {("value", "/tariff"): 2, ("field", "/rate"): 2, ("schema", "meters-value"): 0}
    assert (result.as_json()["readings"], result.as_json()["same"]) == (len(sent), len(sent) - 2)


def test_dead_letters_are_taken_by_both_contracts(kafka: Kafka, topic: NewTopic, tmp_path: Path) -> None:
    """A fix is seen before it runs; nothing is produced, and no group of consumers is left."""
    name, producer = topic("dead"), Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(6):
        reading = Reading("receiveDoors", b"doors/hall/state", (b"ajar", b"jammed")[number % 2], NOW)
        record = dead_letter_record(reading, DeadLetter(Reason.BAD_FORMAT, "", ""), name, 1_000_000)
        producer.produce(record.topic, record.value, record.key, headers=record.headers)
    assert producer.flush(30) == 0
    here = Bakery(tmp_path)
    here.settings.write_text(
        json.dumps({"contract": str(here.present / "asyncapi.yaml"), "servers": {"kafka": {"host": kafka.bootstrap}}})
    )
    text = (here.present / "asyncapi.yaml").read_text()
    (here.present / "asyncapi.yaml").write_text(text.replace("address: oven-dead-letters", f"address: {name}"))
    done = shadow(here, here.changed(*PLANTED["a symbol added"].edits), "--dead-letters", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["readings"], told["same"]) == (6, 3)
    assert {"receiveDoors"} == {one["stream"] for one in told["streams"]}


def state_of(broker: Mosquitto, topics: Topics, registry: Registry) -> tuple[Any, ...]:
    """What a shadow run must leave as it was: clients and subscriptions of the broker, records, subjects."""
    asked = ["mosquitto_sub", "-p", str(broker.port), "-C", "1", "-W", "20", "-t"]
    names = ("clients/disconnected", "subscriptions/count")
    figures = [
        subprocess.run([*asked, f"$SYS/broker/{name}"], capture_output=True, check=True, text=True).stdout
        for name in names
    ]
    with urllib.request.urlopen(f"{registry.url}/subjects", timeout=30) as answer:
        subjects = sorted(one for one in json.loads(answer.read()) if one.startswith(topics("")))
    return *figures, topics.count("door-sensors"), topics.count("widget-readings"), subjects


def test_a_live_run_leaves_broker_kafka_and_registry_as_they_were(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """It hears what both contracts subscribe to, and says how many messages may be missing."""
    broker, topics, stop = mosquitto(f"{OPEN_AND_PERSISTENT}\nsys_interval 1\n"), Topics(kafka, tmp_path), Event()
    new = shutil.copytree(tmp_path / "schemas", tmp_path / "new" / "schemas").parent / "asyncapi.yaml"
    new.write_text(
        topics.contract.read_text()
        .replace("address: widgets/{line}", "address: lines/{line}")
        .replace(": widgets/w01}", ": lines/w01}")
    )
    sent = [(f"doors/d{n % 3}", b'{"state": "open"}') for n in range(20)]
    sent += [(f"{kind}/w1", b'{"value": 1}') for kind in ("widgets", "lines") for _ in range(10)]
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway, Publisher(broker.port) as publisher:
        gateway.start()
        gateway.wait_subscribed()
        publisher.publish(sent)
        gateway.wait_settled(30)
        own = open_installation(gateway.settings_file, {})
        filters = [subscriptions(own.contract, own.settings.is_enabled, each.name) for each in own.contract.brokers]
        count = f"{sum(map(len, filters))}\n"  # Mosquitto writes its figures once a second
        wait_for(lambda: state_of(broker, topics, registry)[1] == count, 30, "the broker to count the subscriptions")
        before = ("0\n", count, *state_of(broker, topics, registry)[2:])
        run, lines = Shadow(own, new), list[str]()

        def say(line: str) -> None:
            lines.append(line)
            publisher.publish(sent)  # it has subscribed

        def progress(line: str) -> None:
            if line.startswith("40 readings"):
                stop.set()

        note = run.listen(600, Terminal(say, progress, lambda: stop))
        gateway.wait_settled(60)
        assert [line.partition(";")[0] for line in lines] == ["Listening for 600 s"]
        assert re.match(r"The running gateway received \d+ readings meanwhile, and this run 30: at most 0 are", note)
        assert gateway.metric("gateway_mqtt_connects_total") == 2
        wait_for(lambda: state_of(broker, topics, registry)[:2] == before[:2], 30, "the broker to forget the run")
        after = state_of(broker, topics, registry)
        assert after[2:] == (before[2] + 20, before[3], before[4])
    found = report(run, "live", note, [])
    assert kinds(found) == {
        ("lost", "not_subscribed"): 10,
        ("subscription", "widgets/+"): 10,
        ("dead", "extra_field /value"): 10,
        ("subscribed", "lines/+"): 10,
    }
