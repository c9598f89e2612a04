"""The counters of a stream: which readings are wrong, where, and what is remembered."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from gateway.core.counters import CounterMonitor, has_counters
from gateway.core.entry import Entry
from gateway.core.model import OfTopic
from gateway.core.reading import Reading, Record
from gateway.core.record_path import Step
from gateway.core.stream_transform import transform_of
from tests.contract_values import record, route, several, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.counters import CounterFigure
    from gateway.core.model import Stream

START = 1_767_592_800_000
TOTAL = {"most": 36_000, "tolerance": 1, "of": "$message.payload#/number"}
FIELDS: tuple[Any, ...] = (
    ("key", "string"),
    {"name": "number", "type": ["null", "string"], "default": None},
    {
        "name": "total",
        "type": "double",
        "x-source": ["$message.payload#/energy/total", "$message.payload#/t"],
        "x-counter": TOTAL,
    },
)
METER = record(*FIELDS)
ONE = stream("meters", METER, address="m/{key}", keys=("/key",), locations={"key": "/key"})


class Counted:
    """A monitor with the transform of its stream; readings come every 10 seconds."""

    def __init__(self, of: Stream = ONE, max_keys: int = 1_000) -> None:
        self.figures: Counter[CounterFigure] = Counter()
        self.monitor = CounterMonitor(of, self.figures, max_keys)
        self.transform = transform_of(of, [1] * len(of.routes), 900_000)
        self.offset = 0
        self.at = START

    def entry(self, payload: Any, key: str = "a") -> Entry:
        """Let a reading come."""
        self.offset, self.at = self.offset + 1, self.at + 10_000
        reading = Reading("meters", f"m/{key}".encode(), json.dumps(payload).encode(), self.at)
        return Entry(reading, None, 0, self.offset)

    def check(self, entries: Sequence[Entry]) -> dict[int, Any]:
        """Transform and compare readings."""
        results = self.transform.transform_all([entry.reading for entry in entries])
        assert not results.dead_letters
        return dict(self.monitor.check(entries, results.records))

    def come(self, *payloads: Any, key: str = "a") -> list[tuple[str, str] | None]:
        """Let readings come at once; give reason and pointer of those that are wrong."""
        wrong = self.check([self.entry(each, key) for each in payloads])
        return [(wrong[n].reason.value, wrong[n].pointer) if n in wrong else None for n in range(len(payloads))]


def totals(*values: float) -> list[Any]:
    return [{"t": value} for value in values]


def test_check_gives_reason_and_place_of_what_is_wrong() -> None:
    """The place is that of the source which the payload has."""
    counted = Counted()
    assert counted.come(*totals(100, 110, 0, 9000, 120)) == [None, None, ("fell", "/t"), ("jumped", "/t"), None]
    assert counted.come({"energy": {"total": 5}}) == [("fell", "/energy/total")]
    assert counted.figures == {"fell": 2, "jumped": 1, "resets": 0, "swaps": 0, "forgotten": 0}


def test_check_gives_the_place_in_a_telegram() -> None:
    """Of several sources the one that the telegram has."""
    gas = {"name": "gas", "type": "double", "x-counter": {}, "x-source": [
        "$message.payload#/0-1:24.2.1/value", "$message.payload#/0-1:24.2.3/value"]}  # fmt: skip
    name = {"name": "name", "type": "string", "x-source": "$message.payload#/identification"}
    made = stream("meters", record(name, gas), address="m/{key}", keys=("/name",), unknown="ignore")
    counted = Counted(replace(made, content="telegram"))
    wrong = {}
    for volume in (5, 4):
        entry = counted.entry(None)
        entry.reading = structs.replace(entry.reading, payload=b"/A\r\n\r\n0-1:24.2.3(%d*m3)\r\n!" % volume)
        wrong = counted.check([entry])
    assert wrong[0].pointer == "/0-1:24.2.3/value"


def test_check_compares_keys_apart() -> None:
    counted = Counted()
    assert counted.come(*totals(100), key="a") + counted.come(*totals(5), key="b") == [None, None]
    assert counted.come(*totals(6), key="a") == [("fell", "/t")]
    long = "x" * 99
    assert counted.come(*totals(500), key=long) + counted.come(*totals(400), key=long) == [None, ("fell", "/t")]


def test_check_compares_a_reading_once() -> None:
    """Also when it is transformed again after a failure of Kafka, with others behind it."""
    counted = Counted()
    entries = [counted.entry(each) for each in totals(100, 110, 120)]
    assert counted.check(entries) == {}
    assert counted.check(entries[:1]) == {}
    assert counted.check([*entries, counted.entry({"t": 130})]) == {}
    assert counted.come(*totals(119, 131)) == [("fell", "/t"), None]


def test_check_reports_resets_and_swaps_once() -> None:
    counted = Counted()
    assert counted.come({"t": 90_000, "number": "A"}, {"t": 5, "number": "B"}) == [None, None]
    assert [(event.key, event.is_swap) for event in counted.monitor.events] == [(b"a", True)]
    counted.monitor.events.clear()
    falling = [{"t": 4_000_000 + value, "number": "B"} for value in range(9)]
    assert counted.come(*falling).count(("jumped", "/t")) == 6
    assert [(event.key, event.is_swap) for event in counted.monitor.events] == [(b"a", False)]
    assert (counted.figures["swaps"], counted.figures["resets"]) == (1, 1)


# --- several records --------------------------------------------------------------------------------------------------

RECORD = stream("meters", METER, address="m/{site}", keys=("/key",))
ARRAY = replace(RECORD, is_array=True)
INSIDE = replace(RECORD, is_array=True, steps=(Step("member", "all"), Step("members")))


def test_check_takes_all_records_of_a_message_or_none() -> None:
    counted = Counted(ARRAY)
    values = [[{"key": key, "t": value} for key, value in one] for one in (
        (("a", 100), ("b", 7), ("a", 110)),
        (("a", 120), ("b", 6.5), ("b", 3), ("a", 130)),
        (("a", 115), ("b", 8)),
    )]  # fmt: skip
    assert counted.come(*values) == [None, ("fell", "/2/t"), None]


def test_check_gives_the_place_in_the_message() -> None:
    counted = Counted(INSIDE)
    first, second = ({"all": {"x": {"key": "a", "t": 50}, "y/z": {"key": "b", "t": t}}} for t in (90, 4))
    assert counted.come(first, second) == [None, ("fell", "/all/y~1z/t")]


def test_a_swap_in_a_message_that_is_wrong_is_none() -> None:
    counted = Counted(ARRAY)
    assert counted.come([{"key": "a", "t": 100, "number": "A"}, {"key": "b", "t": 100}]) == [None]
    assert counted.come([{"key": "a", "t": 5, "number": "B"}, {"key": "b", "t": 9}]) == [("fell", "/1/t")]
    assert counted.monitor.events == []
    assert counted.come([{"key": "a", "t": 101, "number": "A"}, {"key": "b", "t": 100}]) == [None]


def test_check_compares_the_records_of_each_topic() -> None:
    """A counter of the second topic's schema counts too, and records without counters are good."""
    plain = stream("meters", record(("key", "string"), ("t", "double")), address="m/{key}", keys=("/key",))
    plain = replace(plain, parameters=ONE.parameters, also=(route("latest", METER, ("/key",)),), unknown="ignore")
    counted = Counted(plain)
    assert has_counters(plain)
    assert counted.come(*totals(100, 90, 101)) == [None, ("fell", "/t"), None]


def test_check_compares_the_messages_of_an_address_apart() -> None:
    other = stream("heat", record(("key", "string"), {"name": "heat", "type": "long", "x-counter": {}}),
                   address="m/{key}", keys=("/key",), locations={"key": "/key"})  # fmt: skip
    counted = Counted(several(power=replace(ONE, unknown="reject"), heat=other))
    assert counted.come({"t": 100}, {"heat": 5}, {"t": 101}, {"heat": 4}) == [None, None, None, ("fell", "/heat")]


def test_check_gives_the_whole_as_the_place_in_plain_text() -> None:
    whole = {"name": "total", "type": "double", "x-source": "$message.payload#", "x-counter": {}}
    bare = stream("meters", record(whole), address="m/{key}", keys=(), content="text")
    counted = Counted(replace(bare, route=replace(bare.route, keys=(OfTopic("key"),))))
    assert counted.come(100, 90.5) == [None, ("fell", "")]


def test_has_counters_is_false_without_one() -> None:
    assert not has_counters(stream("meters", record(("key", "string")), address="m/{key}", keys=("/key",)))


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_keeps_the_recent_keys() -> None:
    counted = Counted(max_keys=100)
    for number in range(200):
        assert counted.come(*totals(1_000), key=f"m{number}") == [None]
    assert counted.come(*totals(1), key="m199") == [("fell", "/t")]
    assert counted.come(*totals(1), key="m151") == [("fell", "/t")]
    assert counted.come(*totals(1), key="m0") == [None], "it begins again"
    assert counted.figures["forgotten"] >= 100


def test_ten_thousand_keys_take_less_than_5_mb() -> None:
    monitor = CounterMonitor(ONE, Counter(), 65_536)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            key, at = number % 10_000, START + number // 10_000 * 10_000 + number % 7
            made = Record("meters", b"meter-%05d" % key, b"", [], at, None, (key + number * 1e-4, f"{key:08}"))
            monitor.check([Entry(Reading("meters", b"m", b"", at), None, 0, number)], [made])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size - before < 5_000_000


# --- a restart --------------------------------------------------------------------------------------------------------


def continued(counted: Counted, of: Stream = ONE) -> Counted:
    other = Counted(of)
    other.monitor.restore(counted.monitor.save())
    other.offset, other.at = counted.offset, counted.at
    return other


def test_restore_continues_where_save_was_called() -> None:
    counted = Counted()
    counted.come(*totals(90_000, 90_050, 3, 5, 8, 9, 11, 14))
    counted.come(*totals(7), key="ü" * 40)
    other = continued(counted)
    assert other.monitor.until == counted.monitor.until
    assert other.come(*totals(3), key="ü" * 40) == [("fell", "/t")]
    assert other.come(*totals(15, 17)) == [None, None], "the new start that was under way is confirmed"
    assert other.monitor.events


def test_restore_leaves_out_what_the_contract_no_longer_has() -> None:
    """A counter that is new begins with its first value."""
    counted = Counted()
    counted.come(*totals(100))
    more = {"name": "fed", "type": "double", "x-counter": {}, "default": 0}
    changed = stream("meters", record(more, *FIELDS), address="m/{key}", keys=("/key",), locations={"key": "/key"})
    other = continued(counted, changed)
    assert other.come({"t": 101, "fed": 9}, {"t": 102, "fed": 8}, {"t": 3, "fed": 9}) == [
        None, ("fell", "/fed"), ("fell", "/t"),
    ]  # fmt: skip
    moved = replace(ONE, route=route("elsewhere", METER, ("/key",)))
    assert continued(counted, moved).come(*totals(1)) == [None]


def test_restore_forgets_values_in_another_unit() -> None:
    """Whoever corrects the factor would have all readings quarantined otherwise."""
    counted = Counted()
    counted.come(*totals(90_000))
    total = {"name": "total", "type": "double", "x-source": {"location": "$message.payload#/t", "factor": "0.001"}}
    changed = record(*FIELDS[:2], {**total, "x-counter": TOTAL})
    kilo = stream("meters", changed, address="m/{key}", keys=("/key",), locations={"key": "/key"})
    assert continued(counted, kilo).come(*totals(90_010, 90_020, 5)) == [None, None, ("fell", "/t")]


def test_restore_takes_several_topics() -> None:
    both = replace(ONE, also=(route("latest", METER, ("/key",)),))
    counted = Counted(both)
    counted.come(*totals(100))
    assert continued(counted, both).come(*totals(3)) == [("fell", "/t")]
    assert continued(counted).come(*totals(3)) == [("fell", "/t")], "of one topic less"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"until":1,"counters":{},"keys":{"meters":{"a":[["x"]]}}}', "\ud800"]
)
def test_restore_refuses_another_text(text: str) -> None:
    counted = Counted()
    with pytest.raises(ValueError, match=r"."):
        counted.monitor.restore(text)
    assert counted.monitor.until == -1
