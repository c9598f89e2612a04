"""Dead letters are listed by cause, shown, explained, and replayed once under a corrected contract."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from msgspec import structs

from gateway.contract import load
from gateway.core.dead_letter import dead_letter_record
from gateway.core.encoding import Encoding
from gateway.core.reading import DeadLetter, Reading, Reason, Record
from gateway.errors import GatewayError
from gateway.kafka.partitions import Partitions, Span
from gateway.kafka.sink import KafkaSink
from gateway.operate.dlq.dead_letters import (
    MAX_CAUSES,
    OTHER_POINTERS,
    Place,
    StoredDeadLetter,
    causes,
    iso,
    parse_place,
    shown,
)
from gateway.operate.dlq.explanation import advice, explain
from gateway.operate.dlq.journal import JOURNAL_FILE, ORIGIN_HEADER, Journal, locked
from gateway.operate.dlq.replay import Job, Replay, Report
from gateway.operate.dlq.verdict import Fits, Rejected, Revalidator, Undecidable
from tests.contract_values import contract as made_contract
from tests.contract_values import record, route, several
from tests.contract_values import stream as made_stream
from tests.stack.gateway import ROOT, Gateway
from tests.stack.mock_kafka import PRODUCE, MockCluster
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count, records
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.model import Contract
    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.reading_records import StoredRecord
    from tests.stack.registry import Registry

AJAR = [(f"doors/dock-{number % 4}", b'{"state":"ajar"}') for number in range(20)]


@cache
def shipped() -> Contract:
    """The contract that comes with the gateway, read when a test needs it."""
    return load(ROOT / "asyncapi.yaml")


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics in the shared Kafka under names of this test's own, and a contract that says so."""
    return Topics(kafka, tmp_path)


def correct(topics: Topics) -> None:
    """Let the contract know doors that stand ajar."""
    schema = topics.contract.parent / "schemas" / "door_sensor.avsc"
    text = schema.read_text()
    assert '["open", "closed"]' in text
    schema.write_text(text.replace('["open", "closed"]', '["open", "closed", "ajar"]'))


def put(kafka: Kafka, topics: Topics, messages: list[tuple[str, bytes]], stream: str = "receiveDoors") -> None:
    """Write dead letters as the gateway writes them, a millisecond apart, and so young that retention leaves them."""
    first = round(time.time() * 1000) - len(messages)
    in_order = {"enable.idempotence": True, "partitioner": "murmur2_random"}
    producer = Producer({"bootstrap.servers": kafka.bootstrap, **in_order})
    for number, (topic, payload) in enumerate(messages):
        reading = Reading(stream, topic.encode(), payload, first + number, 1)
        dead_letter = DeadLetter(Reason.BAD_FORMAT, "/state", "'ajar' is none of open, closed")
        record = dead_letter_record(reading, dead_letter, topics("gateway-dead-letters"), 1_000_000)
        producer.produce(record.topic, record.value, record.key, timestamp=record.timestamp, headers=record.headers)
        producer.poll(0)
    assert producer.flush(30) == 0


def replay(gateway: Gateway, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """Run `gateway dlq replay` and read its report."""
    done = gateway.command("dlq", "replay", "-c", str(gateway.settings_file), "--format", "json", *arguments)
    assert done.returncode == exit_code, done.stderr
    return dict(json.loads(done.stdout))


def output(gateway: Gateway, *arguments: str) -> str:
    """Give the output of another `gateway dlq` command, which has to succeed."""
    done = gateway.command("dlq", *arguments, "-c", str(gateway.settings_file))
    assert done.returncode == 0, done.stderr
    return done.stdout


def origins(records: list[StoredRecord]) -> list[bytes]:
    return [dict(record.headers)[ORIGIN_HEADER] for record in records]


# --- the way round, with real servers --------------------------------------------------------------------------------


def test_dead_letters_go_round_through_a_corrected_contract(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """A wrong schema makes dead letters; the corrected one replays each once, as direct delivery writes it."""
    broker = mosquitto()
    strangers = [("doors/dock-1", b'{"state":"open","\x1b[31mstate2":1}'), ("doors/dock-1", b'{"stat":"open"}')]
    huge = ("doors/dock-1", b'{"state":"' + b"x" * 2_000_000 + b'"}')
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([*AJAR, *strangers, huge, ("doors/dock-1", b'{"state":"open"}')])
        gateway.wait_settled(len(AJAR) + 4)
        gateway.stop_and_read_ledger()

        listed = json.loads(output(gateway, "list", "--format", "json"))
        assert {(each["reason"], each["pointer"]): (each["count"], each["replayed"]) for each in listed} == {
            ("bad_format", "/state"): (20, 0),
            ("not_json", ""): (1, 0),
            ("extra_field", "/stat"): (1, 0),
            ("too_large", ""): (1, 0),
        }
        place = next(each for each in listed if each["reason"] == "bad_format")["example"]["place"]
        assert "bad_format" in output(gateway, "list")
        assert 'payload: 16 bytes\n{"state":"ajar"}' in output(gateway, "show", place)
        assert output(gateway, "show", place, "--raw") == '{"state":"ajar"}'
        explained = output(gateway, "explain", place)
        assert "now: still bad_format at /state: 'ajar' is none of open, closed" in explained
        assert "schema: field state of door_sensor.avsc: What the door is now." in explained
        assert 'what would fit: one of "open", "closed"' in explained
        assert replay(gateway)["replayed"] == 0

        correct(topics)
        assert "now: fits (receiveDoors)" in output(gateway, "explain", place)
        assert replay(gateway, "--dry-run")["replayed"] == 20
        assert topics.count("door-sensors") == 1
        report = replay(gateway)
        assert (report["replayed"], report["already"], report["unjudged"]) == (20, 0, {"cut": 1})
        assert report["still"] == {"not_json": 1, "extra_field": 1}
        report = replay(gateway)
        assert (report["replayed"], report["already"]) == (0, 20)
        assert topics.count("door-sensors") == 21

        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish(AJAR)
        gateway.wait_settled(len(AJAR))
        listed = json.loads(output(gateway, "list", "--format", "json"))
        assert sum(each["replayed"] for each in listed) == 20
    produced = [record for record in topics.records("door-sensors", 41) if (record.value or b"").endswith(b"\x04")]
    replayed = [record for record in produced if ORIGIN_HEADER in dict(record.headers)]
    direct = [record for record in produced if record not in replayed]
    assert (len(set(origins(replayed))), len(direct)) == (20, 20)
    assert sorted(map(content, replayed)) == sorted(map(content, direct))
    received = {dict(each.headers)["gateway.received_at"] for each in topics.records("gateway-dead-letters", 23)}
    assert {iso(record.timestamp).encode() for record in replayed} <= received


def content(record: StoredRecord) -> tuple[object, ...]:
    """What of a record must be the same whichever way it came."""
    headers = [header for header in record.headers if header[0] != ORIGIN_HEADER]
    return (record.partition, record.key, record.value, headers)


def is_in_order(stored: list[StoredRecord]) -> bool:
    """Whether the times of each partition never go back."""
    by_partition = [[record.timestamp for record in stored if record.partition == number] for number in range(3)]
    return all(times == sorted(times) for times in by_partition)


def test_replay_leaves_what_kafka_does_not_take(
    kafka: Kafka, tmp_path: Path, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """Without its topic a dead letter that fits stays, exit code 1; with it, it goes. Filters leave others out."""
    topics = Topics(kafka, tmp_path, missing="door-sensors")
    correct(topics)
    put(kafka, topics, AJAR)
    with Gateway(servers(mosquitto(), kafka, registry), topics.contract) as gateway:
        report = replay(gateway, exit_code=1)
        (why,) = report["failed"]
        assert (report["replayed"], report["failed"][why]) == (0, 20)
        assert topics("door-sensors") in why
        topics.create("door-sensors")
        report = replay(gateway, "--reason", "missing")
        assert report["left_out"] == 20, report
        assert replay(gateway, "--stream", "receiveWidgetLine")["left_out"] == 20
        with locked(gateway.folder / JOURNAL_FILE):
            done = gateway.command("dlq", "replay", "-c", str(gateway.settings_file))
        assert (done.returncode, done.stderr) == (
            1,
            "Another replay of this installation is running. Wait until it has ended.\n",
        )
        assert replay(gateway, "--reason", "bad_format", "--stream", "receiveDoors")["replayed"] == 20
    assert topics.count("door-sensors") == 20


def test_show_names_what_is_there(kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto) -> None:
    """A place that does not exist is a sentence with those that do."""
    put(kafka, topics, AJAR[:1])
    with Gateway(servers(mosquitto(), kafka, registry), topics.contract) as gateway:
        done = gateway.command("dlq", "show", "0:77", "-c", str(gateway.settings_file))
    assert done.returncode == 1
    assert "There is no dead letter at 0:77. There are: " in done.stderr
    assert "Traceback" not in done.stderr


def test_recover_reads_only_from_the_saved_end_offsets(kafka: Kafka, topic: NewTopic, tmp_path: Path) -> None:
    """Origins before the end offsets are of earlier runs, those after them of the run that did not end."""
    name = topic(partitions=1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(3):
        producer.produce(name, b"", headers=[(ORIGIN_HEADER, f"dead-letters:0:{number}".encode())])
    producer.produce(name, b"", headers=[(ORIGIN_HEADER, b"dead-letters:zero:1\xff")])
    assert producer.flush(30) == 0
    path = tmp_path / JOURNAL_FILE
    path.write_text(json.dumps({"format": 1, "replayed": {}, "tails": {name: {"0": 1}, "gone": {"0": 9}}}))
    journal = Journal(path)
    journal.recover(Partitions({"bootstrap.servers": kafka.bootstrap}))
    assert [journal.has(stored(offset=number)) for number in range(4)] == [False, True, True, False]


# --- errors of Kafka's, from the mock cluster ------------------------------------------------------------------------

INVALID_RECORD = 87  # Kafka's protocol error code; the record is refused


@pytest.fixture
def mock() -> Iterator[MockCluster]:
    """Give a cluster that fails on request."""
    with MockCluster({"doors": 2}) as cluster:
        yield cluster


def run(mock: MockCluster, journal: Journal, patience_seconds: float = 20) -> Report:
    """Replay twenty dead letters that fit, as `gateway dlq replay` does."""
    properties = {"bootstrap.servers": mock.bootstrap}
    partitions, report = Partitions(properties), Report()
    journal.recover(partitions)
    jobs = [
        Job(one, (Record("doors", b"%d" % number, b"value", [(ORIGIN_HEADER, b"dead-letters:0:%d" % number)], 1),))
        for number in range(20)
        if not journal.has(one := stored(offset=number))
    ]
    Replay(KafkaSink(properties), partitions, journal, report, patience_seconds).run(jobs, [], {"doors"})
    return report


def stored_origins(mock: MockCluster) -> list[bytes]:
    return sorted(origins(records(mock.bootstrap, "doors", record_count(mock.bootstrap, "doors"))))


EACH_ONCE = sorted(b"dead-letters:0:%d" % number for number in range(20))


def test_replay_of_a_refused_batch_goes_on_one_by_one(mock: MockCluster, tmp_path: Path) -> None:
    """One refused batch repeats nothing and loses nothing."""
    mock.push_errors(PRODUCE, [INVALID_RECORD])
    with locked(tmp_path / JOURNAL_FILE) as journal:
        report = run(mock, journal)
    assert (report.replayed, report.failed) == (20, {})
    assert stored_origins(mock) == EACH_ONCE


def test_replay_sends_the_last_of_several_records_when_kafka_has_the_others(mock: MockCluster, tmp_path: Path) -> None:
    """Only the last has the origin: a dead letter that was interrupted before it does not count as replayed."""
    properties = {"bootstrap.servers": mock.bootstrap}
    with locked(tmp_path / JOURNAL_FILE) as journal:

        def replay_once() -> Report:
            report = Report()
            several = [Record("doors", b"k", b"%d" % number, [], 1) for number in range(3)]
            several.append(Record("doors", b"k", b"3", [(ORIGIN_HEADER, b"dead-letters:0:1")], 1))
            single = [Record("doors", b"k", b"%d" % n, [(ORIGIN_HEADER, b"dead-letters:0:%d" % n)], 1) for n in (0, 2)]
            jobs = [
                Job(stored(offset=offset), tuple(records))
                for offset, records in enumerate((single[:1], several, single[1:]))
            ]
            Replay(KafkaSink(properties), Partitions(properties), journal, report, 20).run(
                [job for job in jobs if not journal.has(job.dead_letter)], [], {"doors"}
            )
            return report

        mock.push_errors(PRODUCE, [INVALID_RECORD])
        report = replay_once()
        again = replay_once()
    assert (report.replayed, report.failed) == (3, {})
    assert (again.replayed, again.failed) == (0, {})
    produced = records(mock.bootstrap, "doors", record_count(mock.bootstrap, "doors"))
    assert sorted(origins([one for one in produced if one.headers])) == [
        b"dead-letters:0:0",
        b"dead-letters:0:1",
        b"dead-letters:0:2",
    ]
    values = [one.value for one in produced]
    assert values.index(b"3") > max(values.index(b"0"), values.index(b"1"))


def test_replay_counts_a_record_that_kafka_refuses_by_itself(mock: MockCluster, tmp_path: Path) -> None:
    """The culprit stays a dead letter and is counted; the others go through."""
    mock.push_errors(PRODUCE, [INVALID_RECORD] * 10)  # some go to the first batches, which are under way together
    with locked(tmp_path / JOURNAL_FILE) as journal:
        report = run(mock, journal)
        assert 0 < report.failed.total() < 10, "records by themselves"
        assert report.replayed + report.failed.total() == 20
        assert run(mock, journal).replayed == report.failed.total()
    assert stored_origins(mock) == EACH_ONCE


def test_replay_gives_up_on_a_silent_kafka_and_goes_on_another_day(mock: MockCluster, tmp_path: Path) -> None:
    """Unconfirmed records are neither repeated nor forgotten: the next run looks whether they are there."""
    path = tmp_path / JOURNAL_FILE
    mock.answer_late(PRODUCE, 60_000)
    with locked(path) as journal, pytest.raises(GatewayError, match="Kafka confirmed nothing for 3 s"):
        run(mock, journal, patience_seconds=3)
    assert json.loads(path.read_text())["tails"]
    with locked(path) as journal:
        run(mock, journal)
        assert all(journal.has(stored(offset=number)) for number in range(20))
    assert stored_origins(mock) == EACH_ONCE
    assert json.loads(path.read_text())["tails"] == {}


# --- values ----------------------------------------------------------------------------------------------------------


def stored(offset: int = 0, pointer: str = "/state", timestamp: int = 5, payload: bytes = b"{}") -> StoredDeadLetter:
    """Make a dead letter by hand."""
    reading = Reading("receiveDoors", b"doors/d\x1b[2J", payload, timestamp)
    return StoredDeadLetter(
        Place("dead-letters", 0, offset),
        timestamp,
        (("h", b"\x1b]0;x"),),
        reading,
        "missing",
        pointer,
        "",
        is_cut=False,
    )


def test_journal_takes_a_topic_made_anew_for_another(tmp_path: Path) -> None:
    """The same place with another timestamp is another dead letter; entries that retention has passed are forgotten."""
    path = tmp_path / JOURNAL_FILE
    with locked(path) as journal:
        journal.add(stored(offset=3))
        journal.add(stored(offset=9))
        journal.end([Span("dead-letters", 0, 5, 10)])
    journal = Journal(path)
    assert journal.has(stored(offset=9))
    assert not journal.has(stored(offset=9, timestamp=6))
    assert not journal.has(stored(offset=3)), "the topic begins at 5 now"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "replayed": {"a": 1}, "tails": {}}'])
def test_journal_refuses_a_damaged_file(tmp_path: Path, text: str) -> None:
    """A journal that cannot be read is never taken for an empty one: that would replay everything again."""
    path = tmp_path / JOURNAL_FILE
    path.write_text(text)
    with pytest.raises(GatewayError, match="is damaged or of a newer version"):
        Journal(path)


def test_causes_are_bounded() -> None:
    """A device that invents members makes no more causes than there is room for; none goes uncounted."""
    found = causes((stored(offset=number, pointer=f"/{number}"), False) for number in range(3 * MAX_CAUSES))
    assert len(found) == MAX_CAUSES + 1
    assert sum(cause.count for cause in found) == 3 * MAX_CAUSES
    assert found[0].pointer == OTHER_POINTERS


def test_shown_escapes_what_a_terminal_obeys() -> None:
    """Headers and payload reach the terminal as text."""
    text = shown(stored(payload=b"\x1b[2J\x07\xff\n"))
    assert all(line.isprintable() for line in text.splitlines())
    assert r"\u001b[2J\u0007\xff\n" in text


@pytest.mark.parametrize(
    ("text", "place"),
    [("0:6", ("", 0, 6)), ("dead 0:6", ("dead", 0, 6)), ("dead-letters.v1:12:6", ("dead-letters.v1", 12, 6))],
)
def test_parse_place_takes_what_the_list_shows(text: str, place: tuple[str, int, int]) -> None:
    """With the topic, or without it."""
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "-1:1", "1:1:1:1", "\x1b:1", "٣:1"])
def test_parse_place_refuses(text: str) -> None:
    """What is not PARTITION:OFFSET is refused with the form."""
    with pytest.raises(GatewayError, match="Write PARTITION:OFFSET"):
        parse_place(text)


@pytest.mark.parametrize(
    ("stream", "reason", "pointer", "expected"),
    [
        ("receiveDoors", Reason.MISSING, "/state", 'what would fit: one of "open", "closed"'),
        ("receiveDoors", Reason.EXTRA_FIELD, "/stat", "that the schema reads are location, state. Did you mean state?"),
        ("receiveDoors", Reason.EXTRA_FIELD, "/stat", "to ignore it: write x-additional-properties: true in the MQTT"),
        ("receiveWidgetLine", Reason.EXTRA_FIELD, "/stat", "ignore it: write additionalProperties: true in"),
        ("receiveDoors", Reason.NOT_JSON, "", "what would fit: an object with location, state"),
        ("receiveDoors", Reason.BAD_TOPIC, "", "what would fit: a topic of doors/{location}"),
        ("receiveWidgetLine", Reason.BAD_FORMAT, "/reading_ts", "an ISO 8601 time with zone"),
        (
            "receiveSmartMeter",
            Reason.WRONG_TYPE,
            "/1-0:1.8.0/value",
            "OBIS 1-0:1.8.0. Active energy drawn from the grid.",
        ),
    ],
)
def test_advice_says_what_would_fit(stream: str, reason: Reason, pointer: str, expected: str) -> None:
    """The schema's words for the place, found through `x-source` too."""
    assert expected in "\n".join(advice(shipped().streams[stream], DeadLetter(reason, pointer, "")))


def test_a_replayed_reading_keeps_the_mark_of_an_unsynchronised_clock() -> None:
    """As the record that it should have become."""
    made = made_contract(made_stream("scales", record(("s", "string")), address="scales/{s}", keys=("/s",)))
    reading = Reading("scales", b"scales/a", b'{"s":"a"}', 5)
    for is_unsynchronised in (False, True):
        marked = structs.replace(reading, is_unsynchronised=is_unsynchronised)
        verdict = Revalidator(made, 1_000)(replace(stored(), reading=marked))
        assert isinstance(verdict, Fits)
        assert verdict.records[0].headers == [("gateway.clock", b"unsynchronised")] * is_unsynchronised
        written = dict(dead_letter_record(marked, DeadLetter(Reason.MISSING, "", ""), "dead", 1_000).headers)
        assert written.get("gateway.clock") == (b"unsynchronised" if is_unsynchronised else None)


def test_revalidator_sends_readings_of_several_topics_to_the_first() -> None:
    """An old reading is not the latest, which a compacted topic holds; of an array each reading goes to the first."""
    scale = record(("scale", "string"), ("weight", "int"))
    made = made_stream("scales", scale, address="scales/{scale}", keys=("/scale",), locations={"scale": "/scale"})
    made = replace(made, also=(route("latest", scale, ("/scale",)),))
    for is_array, payload, count in ((False, b'{"weight":1}', 1), (True, b'[{"weight":1},{"weight":2}]', 2)):
        revalidate = Revalidator(made_contract(replace(made, is_array=is_array)), 1_000)
        verdict = revalidate(replace(stored(), reading=Reading("scales", b"scales/a", payload, 5)))
        assert isinstance(verdict, Fits)
        assert [one.topic for one in verdict.records] == ["scales"] * count


def test_verdict_is_that_of_the_stream_that_has_the_topic_now() -> None:
    """A contract that got a more specific address, and one that ignores messages, count as they are now."""
    made = load(ROOT / "docs" / "steps" / "17" / "asyncapi.yaml")
    revalidate = Revalidator(made, 1_000)

    def verdict(topic: bytes, payload: bytes = b'{"power":1,"temperature":1}') -> object:
        return revalidate(replace(stored(), reading=Reading("receiveClimate", topic, payload, 5)))

    plug, north = verdict(b"zigbee2mqtt/plug-a"), verdict(b"heating/north/b1")
    assert isinstance(plug, Fits)
    assert isinstance(north, Fits)
    assert [(one.topic, one.key) for one in (*plug.records, *north.records)] == [
        ("plugs", b"a"),
        ("heating-north", b"b1"),
    ]
    ignored = Undecidable("ignored", "The contract ignores messages of this topic (ignoreBridge).")
    assert verdict(b"zigbee2mqtt/bridge/info") == ignored
    west, none = verdict(b"heating/west/b1"), verdict(b"zigbee2mqtt")
    assert isinstance(west, Rejected)
    assert isinstance(none, Rejected)
    assert (none.stream, none.dead_letter.reason) == ("unmapped", Reason.UNMAPPED_TOPIC)
    assert advice(made.streams["receiveHeating"], west.dead_letter) == [
        "what would fit: a topic of heating/{building}/{boiler} with building north or south"
    ]


def test_advice_says_what_would_fit_a_payload_that_is_one_value() -> None:
    """The field that takes it is named, though the place is the payload itself."""
    value = {"name": "watts", "type": "double", "doc": "Drawn now.", "x-source": "$message.payload#"}
    plug = made_stream("plug", record(("plug", "string"), value), address="plugs/{plug}", keys=("/plug",),
                       locations={"plug": "/plug"}, examples=[43.5], content="text")  # fmt: skip
    assert advice(plug, DeadLetter(Reason.NOT_JSON, "", "")) == [
        "schema: field watts of made_by_hand.avsc: Drawn now.",
        "what would fit: a number",
        "for example: 43.5",
    ]


def test_advice_says_what_would_fit_an_element_of_an_array() -> None:
    """Which element it was is no matter to the schema, nor to the examples."""
    made = made_stream("t", record(("id", "string"), ("t", "double")), address="t", keys=("/id",),
                       examples=[[{"id": "a", "t": 3}]])  # fmt: skip
    assert advice(replace(made, is_array=True), DeadLetter(Reason.WRONG_TYPE, "/7/t", "")) == [
        "schema: field t of made_by_hand.avsc",
        "what would fit: a number",
        "for example: 3",
    ]


@pytest.mark.parametrize(
    ("encoding", "fits"),
    [
        (Encoding(), "JSON, and no content type of another encoding"),
        (Encoding("cbor", is_gzip=True), "CBOR in gzip, and no"),
        (Encoding(has_property=True), "JSON, or in gzip with the user property content-encoding: gzip, and no"),
    ],
)
def test_advice_says_in_which_encoding_a_payload_fits(encoding: Encoding, fits: str) -> None:
    made = replace(shipped().streams["receiveDoors"], encoding=encoding)
    first, second = advice(made, DeadLetter(Reason.NOT_DECODED, "", ""))
    assert first.startswith(f"what would fit: {fits}")
    assert "contentType in the MQTT message" in second
    assert 'what would fit: one of "open", "closed"' in advice(made, DeadLetter(Reason.NOT_DECODED, "/state", ""))


def test_advice_lists_the_limits_of_a_value() -> None:
    """Those of the JSON Schema at the place, and of the array around."""
    schema = {"properties": {"t": {"type": "number", "minimum": -40, "description": "Degrees."}}}
    made = made_stream("t", record(("id", "string"), ("t", "double")), address="t", keys=("/id",))
    around = {"type": "array", "maxItems": 2, "items": schema}
    made = replace(made, payload_schema=schema, array_schema=around, is_array=True)
    assert "limits: minimum -40" in advice(made, DeadLetter(Reason.OUT_OF_RANGE, "/7/t", ""))
    assert "limits: maxItems 2" in advice(made, DeadLetter(Reason.OUT_OF_RANGE, "", ""))


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        (["null", "bytes"], "null or text in base64"),
        ({"type": "fixed", "name": "F", "size": 3}, "text in base64 for 3 bytes"),
        ("string", "text"),
    ],
)
def test_advice_names_the_encoding_of_bytes(kind: Any, fits: str) -> None:
    made = made_stream("t", record(("id", "string"), ("b", kind)), address="t", keys=("/id",))
    made = replace(made, payload_schema={"properties": {"b": {"contentEncoding": "base64"}}})
    found = advice(made, DeadLetter(Reason.BAD_ENCODING, "/b", ""))
    assert found[1:] == [f"what would fit: {fits}", 'limits: contentEncoding "base64"']


def test_explain_names_the_nearest_of_several_messages() -> None:
    """The schema, the limits and the example are those of this message."""
    messages = {}
    for name in ("open", "closed"):
        made = made_stream(name, record(("id", "string"), ("state", "string"), ("n", "int")), address="doors/{id}",
                           keys=("/id",), examples=[{"id": "d", "state": name, "n": 5}])  # fmt: skip
        schema = {"type": "object", "required": ["state"], "properties": {"state": {"const": name}}}
        messages[name] = replace(made, name="doors", payload_schema=schema)
    doors = made_contract(replace(several(**messages), name="doors"))
    revalidate = Revalidator(doors, 1_000)
    for payload, expected in (
        (b'{"id":"d","state":"ajar","n":1}', [("still no_message at /state: no message of the operation fits; the "
         "nearest is open: 'ajar' is not 'open' (doors)"), "message: open", 'limits: const "open"']),
        (b'{"id":"d","state":"closed","n":"1"}', ["still wrong_type at /n", "message: closed", "for example: 5"]),
        (b"{", ["still not_json"]),
    ):  # fmt: skip
        one = replace(stored(), reading=Reading("doors", b"doors/d", payload, 5))
        text = explain(doors, one, revalidate(one))
        assert [each for each in expected if each not in text] == [], text


def test_explain_says_how_a_quarantined_reading_is_released() -> None:
    """It fits the contract, because only a running gateway compares counters."""
    schema = record(("id", "string"), {"name": "total", "type": "long", "x-counter": {}})
    meters = made_contract(made_stream("meters", schema, address="m/{id}", keys=("/id",)))
    reading = Reading("meters", b"m/a", b'{"id":"a","total":3}', 5)
    one = replace(
        stored(), reading=reading, reason="fell", pointer="/total", detail="3 after 9: a counter does not fall"
    )
    text = explain(meters, one, Revalidator(meters, 1_000)(one))
    assert "then: fell at /total: 3 after 9: a counter does not fall (meters)" in text
    assert "now: fits (meters); its record goes to meters with key a" in text
    assert "if it is right: gateway dlq replay -c FILE --reason fell; its counters are not compared" in text


def test_revalidator_has_no_verdict_on_a_message_that_is_ignored_now() -> None:
    made = made_stream("t", record(("id", "string")), address="t", keys=("/id",))
    ignored = {"type": "object", "required": ["a"], "properties": {"a": {}}}
    revalidate = Revalidator(made_contract(replace(several(t=made, ignored=ignored), name="t")), 1_000)
    verdict = revalidate(replace(stored(), reading=Reading("t", b"t", b'{"a":1}', 5)))
    assert isinstance(verdict, Undecidable)
    assert verdict.outcome == "ignored"


def test_advice_tells_of_a_factor() -> None:
    """A number in the payload is not what the field's words speak of."""
    value = {"name": "t", "type": "double", "doc": "Degrees.", "x-source": {"factor": "0.1"}}
    made = made_stream("t", record(("id", "string"), value), address="t", keys=("/id",))
    (first, *_) = advice(made, DeadLetter(Reason.WRONG_TYPE, "/t", ""))
    assert first == "schema: field t of made_by_hand.avsc: Degrees. (the payload's number times 0.1)"


def test_advice_quotes_the_word_that_is_missing() -> None:
    """The payload of the dead letter shows it; what the field has stays."""
    value = {"name": "t", "type": "double", "x-source": {"factor": "0.1"}}
    made = made_stream("t", record(("id", "string"), value), address="t", keys=("/id",))
    letter = DeadLetter(Reason.WRONG_TYPE, "/t", "")
    said = 'to read it: write "x-source": {"factor": "0.1", "parse": "number"}'
    assert said in advice(made, letter, b'{"id":"a","t":"215"}')
    assert said in advice(replace(made, is_array=True), DeadLetter(Reason.WRONG_TYPE, "/0/t", ""), b'[{"t":"215"}]')
    for payload in (b'{"t":"hot"}', b'{"t":', b"{}"):
        assert not [line for line in advice(made, letter, payload) if line.startswith("to read it")]


def test_advice_tells_how_a_value_is_read() -> None:
    value = {"name": "t", "type": ["null", "double"], "x-source": {"parse": "number", "nulls": ["nan"]}}
    made = made_stream("t", record(("id", "string"), value), address="t", keys=("/id",))
    (first, *_) = advice(made, DeadLetter(Reason.BAD_FORMAT, "/t", ""))
    assert first == "schema: field t of made_by_hand.avsc. A text is read as a number. nan means null"


def test_advice_finds_every_member_of_the_examples() -> None:
    """Every member of a contract's own example has words in its schema."""
    found = [(stream, name) for stream in shipped().streams.values() for one in stream.examples for name in one]
    assert {stream.name for stream, _ in found} == {*shipped().streams}
    for stream, name in found:
        refusal = DeadLetter(Reason.WRONG_TYPE, "/" + name.replace("~", "~0").replace("/", "~1"), "")
        assert advice(stream, refusal), (stream.name, name)
