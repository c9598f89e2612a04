"""Lines become telegrams; one that does not become complete is a reading as well, and no line is lost or doubled."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random

import pytest
from msgspec import structs

from gateway.core.codec.telegram import MAX_BYTES, as_json
from gateway.core.entry import ENTRY_BYTES, Entry
from gateway.core.reading import Reading
from gateway.core.telegram_lines import MAX_TOPICS, MEMORY_BYTES, PATIENCE, PLAIN, TelegramLines
from tests.core.codec.telegrams import SHAPES

NAMES = [b"p1/%d" % number for number in range(5)]


def line(text: bytes, topic: bytes = b"p1", packet_id: int = 0, at: int = 0, *, dup: bool = False) -> Entry:
    return Entry(Reading("receive", topic, text, at, dup=dup), None, packet_id)


def payloads(entries: list[Entry]) -> list[bytes]:
    return [entry.reading.payload for entry in entries if not entry.is_settled]


@pytest.mark.parametrize("form", [PLAIN, "SerialReceived"])
def test_lines_of_several_meters_become_their_telegrams(form: str) -> None:
    """Lines of different topics come in any order; those of one in theirs."""
    random = Random(21)
    lines = TelegramLines(form)
    waiting: dict[bytes, list[bytes]] = {}
    expected = []
    for number in range(50):
        payload, tree = SHAPES[number % len(SHAPES)](random)
        expected.append((NAMES[number % 5], tree))
        waiting.setdefault(NAMES[number % 5], []).extend(payload.removesuffix(b"\r\n").split(b"\n"))
    given = []
    while waiting:
        topic = random.choice(sorted(waiting))
        text = waiting[topic].pop(0)
        if not waiting[topic]:
            del waiting[topic]
        text = text if form == PLAIN else json.dumps({form: text.decode()}).encode()
        given += lines.add([line(text, topic)])
    for name in NAMES:
        own = [as_json(entry.reading.payload) for entry in given if entry.reading.topic == name]
        trees = [json.loads(each, parse_float=Decimal) for each in own]
        assert trees == [tree for topic, tree in expected if topic == name]
    assert lines.incomplete() == []


def test_a_telegram_comes_first_and_its_lines_are_acknowledged_after_it() -> None:
    lines = TelegramLines(PLAIN)
    texts = [b"/ABC\r", b"\r", b"1-0:1.8.1(1*kWh)\r", b"!"]
    assert lines.add([line(text, packet_id=number) for number, text in enumerate(texts[:-1], 1)]) == []
    whole, *others = lines.add([line(texts[-1], packet_id=4)])
    assert whole.reading.payload == b"/ABC\r\n\r\n1-0:1.8.1(1*kWh)\r\n!\r\n"
    assert (whole.packet_id, whole.is_settled) == (1, False)
    assert [(each.packet_id, each.is_settled, each.reading.payload) for each in others] == [
        (2, True, b""), (3, True, b""), (4, True, b""),
    ]  # fmt: skip


class Connection:
    """A connection of a session."""

    def __init__(self, session: object) -> None:
        self.session = session
        self.acknowledge = print


def test_waiting_lists_the_lines_of_a_session() -> None:
    """They are not in the log, so the broker must send them again after a lost connection."""
    lines, session = TelegramLines(PLAIN), object()
    mine, other, by_qos_0 = (line(b"/ABC", topic, packet_id=1) for topic in NAMES[:3])
    mine.connection, other.connection = Connection(session), Connection(object())
    lines.add([mine, other, by_qos_0])
    assert lines.waiting(session) == [mine]


def test_a_whole_telegram_and_pieces_of_several_lines_are_lines_too() -> None:
    lines = TelegramLines(PLAIN)
    whole, _ = SHAPES[2](Random(1))
    assert payloads(lines.add([line(whole)])) == [whole]
    first, second = whole[:40].rpartition(b"\r\n")[0], whole[whole[:40].rindex(b"\r\n") + 2 :]
    assert payloads(lines.add([line(first), line(second)])) == [whole]


def test_the_empty_line_may_be_left_out() -> None:
    lines = TelegramLines(PLAIN)
    whole, tree = SHAPES[1](Random(1))
    (made,) = payloads(lines.add([line(text) for text in whole.split(b"\r\n") if text]))
    assert made == whole
    assert json.loads(as_json(made)).keys() == tree.keys()


def test_an_incomplete_telegram_ends_when_the_next_one_begins() -> None:
    lines = TelegramLines(PLAIN)
    given = lines.add([line(b"/A"), line(b"1(1)"), line(b"/B"), line(b"!")])
    assert payloads(given) == [b"/A\r\n\r\n1(1)\r\n", b"/B\r\n\r\n!\r\n"]


def test_a_start_in_the_middle_is_one_telegram() -> None:
    lines = TelegramLines(PLAIN)
    assert payloads(lines.add([line(b"1(1)"), line(b"2(2)"), line(b"!")])) == [b"1(1)\r\n2(2)\r\n!\r\n"]


def test_lines_that_the_broker_sends_again_begin_their_telegram_again() -> None:
    lines = TelegramLines(PLAIN)
    assert lines.add([line(b"/A", packet_id=1), line(b"1(1)", packet_id=2)]) == []
    again = [line(b"/A", packet_id=1, dup=True), line(b"1(1)", packet_id=2, dup=True), line(b"!", packet_id=3)]
    assert payloads(lines.add(again)) == [b"/A\r\n\r\n1(1)\r\n!\r\n"]


def test_last_lines_that_the_broker_sends_again_are_acknowledged_and_nothing_else() -> None:
    """The first ones were acknowledged, because the telegram was safe."""
    lines = TelegramLines(PLAIN)
    given = lines.add([line(b"1(1)", packet_id=2, dup=True), line(b"!", packet_id=3, dup=True)])
    assert [(entry.packet_id, entry.is_settled) for entry in given] == [(2, True), (3, True)]


def test_what_nothing_more_comes_of_ends_when_other_lines_come() -> None:
    lines = TelegramLines(PLAIN)
    assert lines.add([line(b"/A", b"a"), line(b"/B", b"b", at=PATIENCE)]) == []
    given = lines.add([line(b"1(1)", b"b", at=PATIENCE + 1)])
    assert [(entry.reading.topic, entry.reading.payload) for entry in given] == [(b"a", b"/A\r\n")]


def test_memory_has_bounds() -> None:
    lines = TelegramLines(PLAIN)
    given = lines.add([line(b"1(%b)" % (b"1" * 100)) for _ in range(10 * MAX_BYTES // 100)])
    assert 9 <= len(given) <= 11
    given = lines.add([line(b"/A", b"%d" % number) for number in range(2 * MAX_TOPICS)])
    assert len(given) == MAX_TOPICS
    lines = TelegramLines(PLAIN)
    given = lines.add([line(b"1", b"%d" % (number % 500)) for number in range(50_000)])
    assert sum(each.reading.payload.count(b"\n") for each in given) >= 50_000 - MEMORY_BYTES // ENTRY_BYTES


def test_a_message_that_is_no_line_is_a_reading_of_its_own() -> None:
    lines = TelegramLines("SerialReceived")
    others = [line(text) for text in (b"", b"{", b"[]", 5_000 * b"[", b'{"POWER": "ON"}', b'{"SerialReceived": 5}')]
    cut = line(b'{"SerialReceived": "/A"}')
    cut.reading = structs.replace(cut.reading, size=2_000_000)
    assert lines.add([*others, cut]) == [*others, cut]


def test_what_the_broker_will_not_send_again_is_rejected_at_the_end() -> None:
    lines = TelegramLines(PLAIN)
    lines.add([line(b"/A", b"a"), line(b"/B", b"b", packet_id=1)])
    assert payloads(lines.incomplete()) == [b"/A\r\n"]
