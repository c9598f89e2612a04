"""`gateway learn` at a real broker, and from recordings: what it proposes, writes and says, and when it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka import Producer

from gateway.core.dead_letter import dead_letter_record
from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.mqtt.broker import Broker
from gateway.operate.learn import findings
from gateway.operate.learn import learn as learning
from gateway.operate.learn.evidence import Traffic
from gateway.operate.learn.learn import FILE
from gateway.operate.listener import Terminal
from gateway.operate.recording import STREAM, Recording, readings
from tests.stack.browser import Browser
from tests.stack.gateway import ROOT
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_cli import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka

NOW = 1_796_000_000_000
Messages = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def learn(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return command("learn", "--into", "proposal", *map(str, arguments), folder=folder)


def recorded(folder: Path, messages: Iterable[tuple[str, Any]], *, retain: bool = False) -> Path:
    """Record messages a second apart; payloads are bytes, or values that become JSON."""
    (folder / "recorded").mkdir(parents=True, exist_ok=True)
    with Recording(folder / "recorded" / FILE) as recording:
        for number, (topic, payload) in enumerate(messages):
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            recording.add(Reading(STREAM, topic.encode(), data, NOW + 1000 * number, retain=retain))
    return folder / "recorded" / FILE


def contract(folder: Path) -> Any:
    return yaml.safe_load((folder / "proposal" / "asyncapi.yaml").read_text())


def fields(folder: Path, name: str) -> dict[str, Any]:
    """The fields of a proposed record by their names."""
    return {one["name"]: one for one in json.loads((folder / "proposal" / f"{name}.avsc").read_text())["fields"]}


def test_learn_proposes_a_contract_from_what_a_broker_publishes(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """It passes the check, and each message that was received fits it."""
    broker, ended = mosquitto(), threading.Event()

    def publish() -> None:
        with Publisher(broker.port) as publisher:
            while not ended.wait(0.02):
                publisher.publish([
                    (f"factory/m{machine}/temperature", b'{"machine": "m%d", "value": 21.5}' % machine)
                    for machine in range(3)
                ])  # fmt: skip

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        done = learn(tmp_path, "--broker", broker.address, "--for", "1s")
    finally:
        ended.set()
        thread.join()
    assert done.returncode == 0, done.stderr
    assert "receiveFactoryTemperature factory/{machine}/temperature: " in done.stdout
    assert " on 3 topics." in done.stdout
    assert " of these fit (100.0 %)." in done.stdout
    channel = contract(tmp_path)["channels"]["factoryTemperature"]
    assert channel["parameters"]["machine"]["location"] == "$message.payload#/machine"
    assert channel["tags"] == [{"name": "learned"}]
    assert fields(tmp_path, "factory_temperature").keys() == {"machine", "value"}
    assert command("check", "-c", "proposal/gateway.yaml", folder=tmp_path).returncode == 0


def test_learn_writes_nothing_when_nothing_was_heard(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    done = learn(tmp_path, "--broker", mosquitto().address, "--for", "0.2s")
    assert done.returncode == 1
    assert done.stderr.startswith("No message was received, so nothing was written.")
    assert not list(tmp_path.iterdir())


def test_the_page_opens_on_a_phone_and_asks_for_nothing(tmp_path: Path, browser: Browser) -> None:
    """It has the streams, their evidence, and what was not understood; names from topics are escaped."""
    sent = [("rooms/a/<b>", {"t": 1.5}), ("camera/1", b"\xff\xd8")]
    assert learn(tmp_path, "--from", recorded(tmp_path, sent * 3)).returncode == 0
    page = tmp_path / "proposal" / "report.html"
    for width in (360, 1280):
        loaded = browser.load(page.as_uri(), width=width)
        assert (loaded.requests, loaded.complaints) == ([page.as_uri()], [])
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    text = browser.ask("document.body.innerText")
    parts = ("receiveRoomsAB", "3 of 3 samples, always 1.5.", "binary (3 messages)", "<b>  3")
    assert all(part in text for part in parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name one source"),
        (("--broker", "http://x"), "This is not the address of a broker."),
        (("--broker", "x", "--topics", "a/#/b"), "'a/#/b' is no topic filter: + is a whole level, and # the last one."),
        (("--broker", "x", "--for", "soon"), "Write a duration such as 30s, 10m or 1h."),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = learn(tmp_path, *arguments)
    assert done.returncode in {2, 78}
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    path = recorded(tmp_path, [("a", 1)])
    (tmp_path / "proposal").mkdir()
    (tmp_path / "proposal" / "mine").touch()
    done = learn(tmp_path, "--from", path)
    assert done.returncode == 78
    assert "The folder is not empty: it has mine. Name another folder with --into." in done.stderr


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    """All files of the proposal; the recording that learning made of the messages is left out of the comparison."""
    messages = [(f"rooms/{room}", {"room": room, "t": 20 + number / 10}) for number in range(30) for room in "abc"]
    path, texts = recorded(tmp_path, messages), []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert learn(tmp_path / folder, "--from", path).returncode == 0
        written = tmp_path / folder / "proposal"
        texts.append({one.name: one.read_text() for one in written.iterdir() if not one.name.startswith(FILE)})
    assert texts[0] == texts[1]
    assert texts[0].keys() == {"asyncapi.yaml", "gateway.yaml", "report.html", "rooms.avsc"}


def test_extend_writes_the_next_version_of_a_contract(tmp_path: Path) -> None:
    """Topics without a stream become streams, members that no field reads become fields that may be null."""
    ovens = {"oven": "bread-1", "probe": {"dC": 2315}, "at": NOW // 1000, "door": {"open": False}}
    path = recorded(tmp_path, [("ovens/bread-1", ovens), ("lamps/a/state", {"lux": 7}), ("lamps/b/state", {"lux": 3})])
    step = ROOT / "docs" / "steps" / "12"
    done = learn(tmp_path, "--from", path, "--extend", step / "asyncapi.yaml")
    assert done.returncode == 0, done.stderr
    assert "/door/open: No field reads it; new field door_open." in done.stdout
    assert "oven.avsc: Compatible in mode BACKWARD, which is taken for granted" in done.stdout
    before = json.loads((step / "oven.avsc").read_text())["fields"]
    assert [*fields(tmp_path, "oven")] == [*(one["name"] for one in before), "door_open"]
    assert fields(tmp_path, "oven")["door_open"]["default"] is None
    assert contract(tmp_path)["channels"]["lampsState"]["address"] == "lamps/{lamp}/state"
    assert command("check", "proposal/asyncapi.yaml", folder=tmp_path).returncode == 0


TRAPS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "text once": ([*range(40), "41"], {"type": "long", "x-source": {"parse": "number"}}),
    "null once": ([*range(40), None], {"type": ["null", "long"], "default": None}),
    "no value": ([1.5, "n/a"] * 20, {"type": ["null", "double"], "x-source": {"nulls": ["n/a"]}}),
    "sentinel": ([*range(30), -9999], {"type": ["null", "long"], "x-source": {"nulls": [-9999]}}),
    "digits": (["0815", "4711"] * 30, {"type": "string"}),
    "few words": (["on", "off"] * 10, {"type": "string"}),
    "numbered names": (["p1", "p2"] * 40, {"type": "string"}),
    "enum": (["on", "off"] * 40, {"type": {"type": "enum", "name": "MReadingsV", "symbols": ["off", "on"]}}),
    "new word late": ([*["on", "off"] * 40, "broken"], {"type": "string"}),
    "kinds": ([1, "much"] * 20, {"type": ["long", "string"]}),
    "fractions": ([1, 1.5], {"type": "double"}),
    "beyond 64 bits": ([2**64 - 1, 1], {"type": "string", "x-source": {"parse": "string"}}),
    "beyond doubles": ([2**64, 1.5], {"type": "double"}),
    "true in text": (["true", "false"] * 9, {"type": "boolean", "x-source": {"parse": "boolean"}}),
    "True in text": (["True", "False"] * 9, {"type": "boolean", "x-source": {"trues": ["True"], "falses": ["False"]}}),
    "sentinel with a fraction": ([20.5, -999.9] * 20, {"type": ["null", "double"], "x-source": {"nulls": [-999.9]}}),
    "epoch in text": ([str(NOW // 1000 + n) for n in range(9)], {"x-source": {"parse": "number", "factor": 1000}}),
    "epoch in text, or none": (
        [str(NOW + n) for n in range(9)] + [""],
        {"x-source": {"nulls": [""], "parse": "number"}},
    ),
    "seconds": ([NOW // 1000 + n for n in range(9)], {"x-source": {"factor": 1000}}),
    "milliseconds": ([NOW + 1000 * n for n in range(9)], {"type": {"type": "long", "logicalType": "timestamp-millis"}}),
    "zone": (["2026-11-30T00:53:20.123456Z"], {"type": {"type": "long", "logicalType": "timestamp-micros"}}),
    "no zone": (["2026-11-30T00:53:20"], {"type": {"type": "long", "logicalType": "local-timestamp-millis"}}),
    "2005": (["2005-01-01T00:00:00Z"], {"type": {"type": "long", "logicalType": "timestamp-millis"}}),
    "array": ([[1, 2.5], []], {"type": {"type": "array", "items": "double"}}),
}


@pytest.mark.parametrize("name", TRAPS)
def test_the_type_of_a_field_takes_all_that_was_heard(name: str) -> None:
    """Each word of `x-source` has evidence; what there was little evidence for stays text."""
    values, expected = TRAPS[name]
    made = propose([("m", {"v": value}) for value in values])
    assert {key: made[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("member", "kind"), [("temperature", "double"), ("power_kw", "double"), ("cycles", "long"), ("rssi", "long")]
)
def test_whole_numbers_of_a_measure_may_have_fractions_later(member: str, kind: str) -> None:
    assert propose([("m", {"v": 0, member: number}) for number in range(9)], member)["type"] == kind


def propose(messages: Messages, name: str = "v") -> dict[str, Any]:
    """The field that is proposed for messages a second apart."""
    traffic = Traffic()
    for number, (topic, value) in enumerate(messages):
        traffic.take(topic.encode(), json.dumps(value).encode(), NOW + 1000 * number)
    [stream] = findings.propose(traffic, None, shows_values=True).streams
    return next(one for one in stream.messages[0].definition["fields"] if one["name"] == name)


def home() -> Iterator[tuple[str, Any]]:
    """What the session of docs/learn.md hears."""
    energy = {"TotalStartTime": "2026-11-14T18:39:40", "Total": 6.294, "Yesterday": 5.34, "Today": 0.954, "Power": 2635}
    yield "tele/heater/LWT", b"Online"
    for number in range(200):
        moment = datetime.fromtimestamp(NOW / 1000 + 6 * number, UTC)
        for machine in ("m1", "m2", "m3"):
            value = 60 + number % 17 / 2
            yield f"workshop/{machine}/state", {
                "machine": machine, "temperature": str(value) if (machine, number) == ("m2", 99) else value,
                "cycles": 9000 + number, "mode": ("run", "idle", "stop")[number % 3],
                "at": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            }  # fmt: skip
        yield "home/kitchen/temperature", b"21.5" if number != 50 else b"unavailable"
        yield "home/bath/temperature", b"%.1f" % (22 + number % 5)
        yield "tele/heater/SENSOR", {"Time": f"{moment:%Y-%m-%dT%H:%M:%S}", "ENERGY": energy}
    yield "camera/front/snapshot", b"\xff\xd8\xff\xe0"


def test_the_documented_session_is_what_learn_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "learn.md").read_text()
    done = learn(tmp_path, "--from", recorded(tmp_path, home()))
    session = text.partition("proposal is written.\n")[2].partition("```")[0]
    assert done.stdout == session
    for name, line in fields(tmp_path, "workshop_state").items():
        assert name in {"machine", "mode"} or json.dumps(line, ensure_ascii=False) in text


def test_what_cannot_become_a_stream_is_reported_and_no_contract_is_written(tmp_path: Path) -> None:
    done = learn(tmp_path, "--from", recorded(tmp_path, [("camera/1", b"\xff\xd8"), ("a/{b}", 1)]))
    assert done.returncode == 1
    assert "binary" in done.stdout
    assert "No stream can be proposed" in done.stderr
    assert not (tmp_path / "proposal" / "asyncapi.yaml").exists()


def test_examples_that_a_contract_cannot_have_are_left_out(tmp_path: Path) -> None:
    """A contract has no empty names; the stream is proposed all the same."""
    done = learn(tmp_path, "--from", recorded(tmp_path, [("pumps/p1", {"flow": 1.5, "": 2})] * 3))
    assert (done.returncode, fields(tmp_path, "pumps").keys() >= {"flow"}) == (0, True), done.stderr


def test_a_member_that_is_often_absent_is_tied_to_the_topic_all_the_same(tmp_path: Path) -> None:
    """Where it is absent the topic fills in; no device is said to name another machine."""
    pairs = [(number, f"m{number % 4}") for number in range(80)]
    payloads = [{"value": 1.5} | ({"machine": machine} if number % 3 else {}) for number, machine in pairs]
    topics = [f"plant/{machine}/state" for _, machine in pairs]
    result = learn(tmp_path, "--from", recorded(tmp_path, zip(topics, payloads, strict=True)))
    assert result.returncode == 0, result.stdout
    (channel,) = [each for each in contract(tmp_path)["channels"].values() if each["address"].startswith("plant/")]
    assert channel["address"] == "plant/{machine}/state"
    assert channel["parameters"]["machine"]["location"] == "$message.payload#/machine"
    assert "not tied" not in result.stdout


def test_payloads_that_all_differ_are_one_message_and_a_map(tmp_path: Path) -> None:
    """Members with a thousand names are no fields; their values are in one."""
    traffic = Traffic()
    for number in range(1000):
        traffic.take(b"logs/%d" % (number % 50), json.dumps({f"k{number}": number}).encode(), NOW + number)
    [stream] = findings.propose(traffic, None, shows_values=True).streams
    [message] = stream.messages
    assert [one["type"] for one in message.definition["fields"]] == ["string", {"type": "map", "values": "long"}]
    path = recorded(tmp_path, [(f"logs/{number % 50}", {f"k{number}": number}) for number in range(1000)])
    assert "1,000 of these fit (100.0 %)." in learn(tmp_path, "--from", path).stdout


def test_ctrl_c_ends_the_listening_and_a_killed_one_is_resumed(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """What was received before the kill counts; the proposal is written after Ctrl-C, well before the time is over."""
    broker, state = mosquitto(), tmp_path / "proposal" / FILE
    line = [
        sys.executable,
        "-m",
        "gateway.cli",
        "learn",
        "--broker",
        broker.address,
        "--for",
        "1h",
        "--into",
        "proposal",
    ]

    def heard(publisher: Publisher, count: int) -> bool:
        publisher.publish([("rooms/f", b'{"t": 21.5}')], 1)  # what was received is written when the next one comes
        return state.exists() and sum(1 for _ in readings(state)) >= count

    for number, end in enumerate((signal.SIGKILL, signal.SIGINT), start=1):
        process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ)
        assert process.stdout is not None
        assert any("Listening" in said for said in iter(process.stdout.readline, ""))
        with Publisher(broker.port) as publisher:
            publisher.publish([(f"rooms/{room}", b'{"t": 21.5}') for room in "abcde"], 1)
            wait_for(partial(heard, publisher, 5 * number), 20, "what was received")
        process.send_signal(end)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert "on 6 topics." in out
    assert "of these fit (100.0 %)." in out


def test_no_values_of_payloads_are_written(tmp_path: Path) -> None:
    """Not in examples, in the evidence or in the report; what was received is deleted."""
    sent = [("rooms/a", {"door": "secret-1", "t": 2331.5}), ("rooms/a", b'{"door": secret-2}')] * 30
    path = recorded(tmp_path, [*sent, ("rooms/a", {"door": "secret-3"})])
    done = learn(tmp_path, "--from", path, "--no-values")
    assert done.returncode == 0, done.stderr
    written = [one.read_text() for one in (tmp_path / "proposal").iterdir()]
    assert len(written) == 4
    assert not [text for text in (*written, done.stdout) if "secret" in text or "2331" in text or "2,331" in text]
    (message,) = [one for one in contract(tmp_path)["components"]["messages"].values() if "learned 1" in str(one)]
    assert [one["payload"] for one in message["examples"]] == [{"door": "redacted", "t": 1.0}, {"door": "redacted"}]


def test_redacted_examples_have_the_forms_of_what_was_heard(tmp_path: Path) -> None:
    """They pass the check as examples of the same types."""
    sent = {
        "machine": "a", "at": "2026-11-30T00:53:20.123+01:00", "ts": NOW, "text": "-20.5", "on": True, "none": None,
        "mode": "run", "list": [{"x": 7, "name": "secret"}], "map": {f"mac{n}": n for n in range(40)}, "code": "0815",
    }  # fmt: skip
    maps = [{**sent, "map": {f"mac{n}": n}, "mode": ("run", "stop")[n % 2]} for n in range(80)]
    done = learn(tmp_path, "--from", recorded(tmp_path, [("rooms/a", one) for one in maps]), "--no-values")
    assert done.returncode == 0, done.stderr
    (message,) = [one for one in contract(tmp_path)["components"]["messages"].values() if "learned 1" in str(one)]
    assert message["examples"][0]["payload"] == {
        "machine": "redacted", "at": "2026-01-01T00:00:00.000+01:00", "ts": 10**12, "text": "-11.1", "on": False,
        "none": None, "mode": "run", "list": [{"x": 1, "name": "redacted"}], "map": {"key1": 1}, "code": "1111",
    }  # fmt: skip


def test_a_lost_connection_ends_the_listening(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    broker, lines = mosquitto(), list[str]()
    with Publisher(broker.port) as publisher:
        publisher.publish([("rooms/a", b'{"t": 21.5}')], 1, retain=True)

    def progress(shown: str) -> None:
        if shown.endswith(" s left"):
            broker.stop()

    options = learning.Options(tmp_path / "proposal", Broker("broker", "127.0.0.1", broker.port))
    learning.learn(options, Terminal(lines.append, progress, threading.Event))
    assert "The broker closed the connection. The listening ends here: the proposal is written." in lines
    assert fields(tmp_path, "rooms_a").keys() == {"t"}


def test_learn_reads_the_dead_letters_that_no_stream_describes(
    kafka: Kafka, topic: NewTopic, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    dead_letters, producer = topic("dead"), Producer({"bootstrap.servers": kafka.bootstrap})
    for number, (name, reason) in enumerate([("lamps/a", Reason.UNMAPPED_TOPIC), ("doors/1", Reason.NOT_JSON)] * 5):
        reading = Reading("unmapped", name.encode(), b'{"lux": %d}' % number, round(time.time() * 1000))
        record = dead_letter_record(reading, DeadLetter(reason, "", ""), dead_letters, 1_000_000)
        producer.produce(record.topic, record.value, record.key, timestamp=record.timestamp, headers=record.headers)
    assert producer.flush(30) == 0
    mine = shutil.copytree(ROOT / "docs" / "steps" / "12", tmp_path / "mine") / "asyncapi.yaml"
    mine.write_text(mine.read_text().replace("address: oven-dead-letters", f"address: {dead_letters}"))
    servers = {"broker": {"host": mosquitto().address}, "kafka": {"host": kafka.bootstrap}}
    settings = mine.with_name("gateway.yaml")
    settings.write_text(json.dumps({"contract": "asyncapi.yaml", "servers": servers}))
    done = learn(tmp_path, "-c", settings, "--dead-letters", "--extend", settings)
    assert done.returncode == 0, done.stderr
    assert "Received 5 messages on 1 topics." in done.stdout
    assert contract(tmp_path)["channels"]["lampsA"]["address"] == "lamps/a"
