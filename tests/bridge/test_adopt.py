"""The loop changes to another contract between two turns: nothing is lost, and the order per key holds."""

from __future__ import annotations

import time
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from gateway.bridge.bridge import DEPARTURE_SECONDS, Change
from gateway.core.address import Address
from gateway.core.counters import CounterMonitor
from gateway.core.reading import Reason
from gateway.core.telegram_lines import TelegramLines
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.core.transform import Transform
from gateway.mqtt.routing import Routing
from gateway.spool.file import SpoolFile
from tests.bridge.test_bridge import COUNTING, LIMIT, READING, Plant, number_in, payload, plants
from tests.contract_values import stream
from tests.stack.mock_kafka import MockCluster
from tests.stack.reading_records import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gateway.core.model import Stream

__all__ = ["plants"]  # the fixture


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Start a Kafka of this test's own."""
    with MockCluster(dict.fromkeys(("one", "two", "topic", "dead", "graves"), 1)) as started:
        yield started


def flow(name: str, address: str = "", topic: str = "", schema: dict[str, Any] = READING) -> Stream:
    """A stream to a Kafka topic, by default of its name."""
    made = stream(name, schema, address=address or f"lab/{name}", keys=("/key",))
    return replace(made, route=replace(made.route, topic=replace(made.route.topic, name=topic or name)))


def adopt(plant: Plant, old: Sequence[Stream], new: Sequence[Stream], *, dead: str = "dead", **rules: Any) -> None:
    """Let the bridge change from old streams to new ones, whose schema ids are 2."""
    before, now = {one.name: one for one in old}, {one.name: one for one in new}
    replaced = {name for name, one in now.items() if one != before.get(name)}
    plant.ledger.open(now)
    transforms: SimpleQueue[Any] = SimpleQueue()
    for name in replaced:
        transforms.put((name, Transform(now[name], 2, LIMIT)))
    plant.bridge.adopt(
        Change(
            replace(plant.bridge.rules, dead_letter_topics=dict.fromkeys([*now, UNMAPPED], dead), **rules),
            transforms,
            frozenset(replaced),
            {name: one for name, one in before.items() if name not in now or one.address != now[name].address},
            {name: frozenset({one.route.topic.name}) for name, one in now.items()},
            {"broker": Routing({}, topic_index([(one.name, one.address) for one in new]), frozenset())},
        )
    )


def turn(plant: Plant, condition: Callable[[], object]) -> None:
    """Turn the loop of a bridge with a disk until a condition holds; the books balance in each turn."""
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, (plant.ledger.totals(), plant.blocked_reason)
        plant.bridge.run_once()
        assert plant.ledger.totals()["balanced"], plant.ledger.totals()


def numbers(cluster: MockCluster, topic: str, count: int) -> list[int]:
    """Read the numbers of a topic's records."""
    return [number_in(each.value) for each in records(cluster.bootstrap, topic, count)]


def schema_ids(cluster: MockCluster, topic: str, count: int) -> list[int]:
    return [int.from_bytes((each.value or b"")[1:5]) for each in records(cluster.bootstrap, topic, count)]


def test_adopt_transforms_what_waits_by_the_new_contract(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """Readings that came before, and have no record yet, get the new schema id; so does what comes after."""
    one = flow("one")
    plant = plants(cluster.bootstrap, ["one"], "dead", with_ids=False)
    for number in range(10):
        plant.source.publish("one", payload(number))
    plant.bridge.run_once()
    assert plant.bridge.lanes["one"].held == 10
    adopt(plant, [one], [replace(one, unknown="ignore")])
    plant.source.publish("one", payload(10))
    plant.settle()
    assert numbers(cluster, "one", 11) == list(range(11))
    assert set(schema_ids(cluster, "one", 11)) == {2}


def test_adopt_delivers_readings_of_a_stream_that_is_gone(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """Those that wait, and those that come until its filter is unsubscribed; then its lane goes, and its books stay."""
    one, two = flow("one"), flow("two")
    plant = plants(cluster.bootstrap, ["one", "two"], "dead")
    plant.source.has_former_filters = True
    plant.source.publish("two", payload(0))
    plant.bridge.run_once()
    adopt(plant, [one, two], [one])
    assert plant.source.routings[-1].stream_of(b"lab/two") == "two"
    plant.source.publish("two", payload(1))
    plant.settle()
    assert "two" in plant.bridge.lanes
    plant.source.has_former_filters = False
    plant.turn_until(lambda: "two" not in plant.bridge.lanes, "the lane to go", DEPARTURE_SECONDS + 20)
    assert plant.source.routings[-1].stream_of(b"lab/two") == UNMAPPED
    assert numbers(cluster, "two", 2) == [0, 1]
    assert (plant.figures("two"), plant.ledger.books["two"].received) == ((2, {}, {}), 2)
    assert "two" not in plant.bridge.dead_lanes


def test_adopt_takes_a_stream_back_that_is_going(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """It is there again before its lane has gone: nothing happens to its readings."""
    one, two = flow("one"), flow("two")
    plant = plants(cluster.bootstrap, ["one", "two"], "dead")
    plant.source.publish("two", payload(0))
    plant.bridge.run_once()
    adopt(plant, [one, two], [one])
    plant.source.publish("two", payload(1))
    plant.bridge.run_once()
    adopt(plant, [one], [one, two])
    plant.source.publish("two", payload(2))
    plant.settle()
    assert numbers(cluster, "two", 3) == [0, 1, 2]
    until = time.monotonic() + DEPARTURE_SECONDS + 0.5
    plant.turn_until(lambda: time.monotonic() > until, "the time after which it would have gone")
    assert "two" in plant.bridge.lanes


def test_adopt_lets_a_renamed_stream_wait_for_its_former_self(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """Both send to one topic: what waits under the old name comes first."""
    old, new = flow("old", topic="topic"), flow("new", "lab/old", "topic")
    plant = plants(cluster.bootstrap, ["old"], "dead", with_ids=False)
    plant.bridge.new_transforms.put(("old", Transform(old, 1, LIMIT)))
    for number in range(50):
        plant.source.publish("old", payload(number), topic=b"lab/old")
    plant.bridge.run_once()
    adopt(plant, [old], [new])
    for number in range(50, 100):
        plant.source.publish("new", payload(number), topic=b"lab/old")
    plant.settle()
    assert numbers(cluster, "topic", 100) == list(range(100))
    assert schema_ids(cluster, "topic", 100) == [1] * 50 + [2] * 50


def test_adopt_again_lets_a_renamed_stream_wait_all_the_same(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """A second change comes while Kafka has not got what waits under the old name."""
    old, new = flow("old", topic="topic"), flow("new", "lab/old", "topic")
    plant = plants(cluster.bootstrap, ["old"], "dead", with_ids=False)
    plant.bridge.new_transforms.put(("old", Transform(old, 1, LIMIT)))
    plant.source.publish("old", payload(0), topic=b"lab/old")
    plant.settle()
    plant.bridge.lanes["old"].retry_at = time.monotonic() + 0.5
    plant.source.publish("old", payload(1), topic=b"lab/old")
    plant.bridge.run_once()
    adopt(plant, [old], [new])
    plant.source.publish("new", payload(2), topic=b"lab/old")
    plant.bridge.run_once()
    adopt(plant, [replace(new, unknown="reject")], [replace(new, unknown="ignore"), flow("two")])
    plant.settle()
    assert numbers(cluster, "topic", 3) == [0, 1, 2]


def test_adopt_does_not_wait_for_a_stream_that_has_no_transform(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """The registry refused its schema, and the name is corrected as well: nothing would send what waits."""
    old, new = flow("old", topic="topic"), flow("new", "lab/old", "topic")
    plant = plants(cluster.bootstrap, ["old"], "dead", with_ids=False)
    plant.source.publish("old", payload(0), topic=b"lab/old")
    plant.bridge.run_once()
    adopt(plant, [old], [new])
    plant.source.publish("new", payload(1), topic=b"lab/old")
    plant.turn_until(lambda: plant.figures("new")[0] == 1, "the reading to be delivered", 20)
    assert numbers(cluster, "topic", 1) == [1]


def test_adopt_leaves_readings_of_moved_topics_to_the_former_contract(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """They wait in the lane of a stream that has another address now."""
    one = flow("one", "lab/a")
    plant = plants(cluster.bootstrap, ["one"], "dead", with_ids=False)
    plant.bridge.new_transforms.put(("one", Transform(one, 1, LIMIT)))
    plant.source.publish("one", payload(0), topic=b"lab/a")
    plant.settle()
    plant.bridge.lanes["one"].retry_at = time.monotonic() + 0.5
    plant.source.publish("one", payload(1), topic=b"lab/a")
    plant.bridge.run_once()
    adopt(plant, [one], [replace(one, address=Address.parse("lab/b")), flow("two", "lab/a")])
    plant.source.publish("two", payload(2), topic=b"lab/a")
    plant.source.publish("one", payload(3), topic=b"lab/b")
    plant.settle()
    assert numbers(cluster, "one", 3) == [0, 1, 3]
    assert schema_ids(cluster, "one", 3) == [1, 1, 2]
    assert numbers(cluster, "two", 1) == [2]


def test_adopt_delivers_what_still_comes_from_a_former_address(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """Until its filter is unsubscribed, also if the stream changes once more; then it is unmapped."""
    one, moved = flow("one", "lab/a"), flow("one", "lab/b")
    again = replace(moved, unknown="ignore")
    plant = plants(cluster.bootstrap, ["one"], "dead", with_ids=False)
    plant.bridge.new_transforms.put(("one", Transform(one, 1, LIMIT)))
    plant.source.has_former_filters = True
    plant.bridge.run_once()
    adopt(plant, [one], [moved])
    assert [plant.source.routings[-1].stream_of(topic) for topic in (b"lab/a", b"lab/b")] == ["one", "one"]
    plant.source.publish("one", payload(0), topic=b"lab/a")
    plant.settle()
    plant.source.publish("one", payload(1), topic=b"lab/a")
    adopt(plant, [moved], [again])
    plant.source.publish("one", payload(2), topic=b"lab/b")
    plant.settle()
    assert numbers(cluster, "one", 3) == [0, 1, 2]
    assert schema_ids(cluster, "one", 3) == [1, 1, 2]
    plant.source.has_former_filters = False
    plant.turn_until(
        lambda: plant.source.routings[-1].stream_of(b"lab/a") == UNMAPPED, "the address to go", DEPARTURE_SECONDS + 20
    )
    assert "one" in plant.bridge.lanes


def test_adopt_sends_what_is_no_dead_letter_any_more(
    cluster: MockCluster, plants: Callable[..., Plant], tmp_path: Path
) -> None:
    """Dead letters wait on disk for their topic; by the new contract they are readings."""
    with SpoolFile(tmp_path / "spool.db") as file:
        one = flow("one")
        plant = plants(cluster.bootstrap, ["one"], "dead", file=file, memory=3_000)
        dead_lane = plant.bridge.dead_lanes["one"]
        dead_lane.retry_at = time.monotonic() + 3600
        wrong = b'{"key": "k", "number": 1, "more": 1}'
        for _ in range(20):
            plant.source.publish("one", wrong)
            plant.bridge.run_once()
        turn(plant, lambda: dead_lane.has_backlog and not plant.bridge.lanes["one"].has_waiting)
        adopt(plant, [one], [replace(one, unknown="ignore")])
        dead_lane.retry_at = 0.0
        turn(plant, lambda: not any(lane.held or lane.has_backlog for lane in plant.bridge.all_lanes()))
        delivered, dead_lettered, _ = plant.figures("one")
        assert delivered > 0
        assert delivered + dead_lettered.get(Reason.EXTRA_FIELD, 0) == 20


def test_adopt_continues_what_is_known_of_counters(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """A changed stream has a new monitor, which knows the last value: a counter that falls is still noticed."""
    one = flow("one", schema=COUNTING)
    plant = plants(cluster.bootstrap, ["one"], "dead", counts=True)
    plant.source.publish("one", payload(100))
    plant.settle()
    now = replace(one, unknown="ignore")
    monitor = CounterMonitor(now, plant.ledger.books["one"].counters)
    adopt(plant, [one], [now], counters={"one": monitor})
    plant.source.publish("one", payload(50))
    plant.settle()
    assert plant.figures("one") == (1, {Reason.FELL: 1}, {})


def test_adopt_rejects_the_incomplete_telegram_of_a_stream_of_lines(
    cluster: MockCluster, plants: Callable[..., Plant]
) -> None:
    """Its lines are acknowledged, and what is there of it is a dead letter."""
    one = flow("one")
    plant = plants(cluster.bootstrap, ["one"], "dead")
    plant.bridge.rules = replace(plant.bridge.rules, lines={"one": TelegramLines("text")})
    plant.source.publish("one", b"/ISK5")
    plant.source.publish("one", b"1-0:1.8.0(1*kWh)")
    plant.bridge.run_once()
    assert plant.ledger.books["one"].received == 0
    adopt(plant, [one], [replace(one, unknown="ignore")], lines={})
    plant.settle()
    assert plant.figures("one") == (0, {Reason.NOT_JSON: 1}, {})


def test_adopt_sends_dead_letters_to_another_topic(cluster: MockCluster, plants: Callable[..., Plant]) -> None:
    """From the next one on, those of unmapped topics included."""
    one = flow("one")
    plant = plants(cluster.bootstrap, ["one"], "dead")
    plant.source.publish("one", b"?")
    plant.settle()
    adopt(plant, [one], [one], dead="graves")
    plant.source.publish("one", b"!")
    plant.source.publish(UNMAPPED, b"?", topic=b"lab/x")
    plant.settle()
    assert [each.value for each in records(cluster.bootstrap, "dead", 1)] == [b"?"]
    assert sorted(each.value or b"" for each in records(cluster.bootstrap, "graves", 2)) == [b"!", b"?"]


def test_adopt_finds_what_an_earlier_run_left_of_a_new_stream(
    cluster: MockCluster, plants: Callable[..., Plant], tmp_path: Path
) -> None:
    """Its readings stayed on disk, because the contract did not have the stream."""
    with SpoolFile(tmp_path / "spool.db") as file:
        plant = plants(cluster.bootstrap, ["one", "two"], "dead", file=file, with_ids=False)
        plant.source.publish("two", payload(1))
        plant.bridge.run_once()
        plant.bridge.store()
    with SpoolFile(tmp_path / "spool.db") as file:
        plant = plants(cluster.bootstrap, ["one"], "dead", file=file)
        adopt(plant, [flow("one")], [flow("one"), flow("two")])
        turn(plant, lambda: plant.figures("two")[0] == 1)
    assert numbers(cluster, "two", 1) == [1]
