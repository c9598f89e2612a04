"""The packet readers: both give the same readings for the same bytes, however they are cut; bad bytes end the link."""

from __future__ import annotations

import select
import socket
import struct
import tracemalloc
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gateway.core.committed_session import CommittedSession
from gateway.core.dead_letter import CUT_TO
from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.core.session import Session
from gateway.mqtt.reader import (
    LONGEST_HEADER,
    LOOK,
    MOST_PROPERTIES,
    MOST_UNREAD_BYTES,
    PUBCOMP,
    PUBREC,
    UNREAD_BYTES,
    AckQueue,
    FastReader,
    Intake,
    MalformedPacketError,
    PahoReader,
)
from tests.stack.publisher import remaining_length

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

V311, V5 = paho.MQTTv311, paho.MQTTv5
LIMIT = 1_000  # bytes of payload
PAIR_BYTES = 65_536  # a socket pair holds that much, and more, before it blocks
PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"
CONNACK: dict[int, bytes] = {V311: b"\x20\2\0\0", V5: b"\x20\3\0\0\0"}
SUBACK: dict[int, bytes] = {V311: b"\x90\3\0\1\1", V5: b"\x90\4\0\1\0\1"}
USER_PROPERTY = b"\x26\0\4unit\0\1C"


@dataclass(frozen=True)
class Message:
    """A PUBLISH packet, and what must become of it."""

    topic: bytes = b"factory/m/s"
    payload: bytes = b"{}"
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: bytes = b""

    def packet(self, version: int) -> bytes:
        """Write it as MQTT does."""
        body = struct.pack(">H", len(self.topic)) + self.topic
        if self.qos:
            body += struct.pack(">H", self.packet_id)
        if version == V5:
            body += remaining_length(len(self.properties)) + self.properties
        body += self.payload
        return bytes([0x30 | self.dup << 3 | self.qos << 1 | self.retain]) + remaining_length(len(body)) + body

    def fact(self, limit: int = LIMIT) -> Fact:
        """Tell the reading that it must give."""
        payload, size, digest = self.payload, -1, b""
        if len(payload) > limit:
            payload, size, digest = payload[:CUT_TO], len(payload), sha256(payload).digest()
        return (self.topic, payload, self.qos, self.retain, self.dup, size, digest, self.packet_id)


Fact = tuple[bytes, bytes, int, bool, bool, int, bytes, int]


def facts(entries: Iterable[Entry]) -> list[Fact]:
    """Tell all that a reader found out about messages, but for the time."""
    return [
        (one.topic, one.payload, one.qos, one.retain, one.dup, one.size, one.sha256, entry.packet_id)
        for entry in entries
        for one in [entry.reading]
    ]


def stream_of(topic: bytes) -> str:
    """Name the stream of a topic."""
    return "doors" if topic.startswith(b"doors") else "stream"


def kept(entries: Iterable[Entry]) -> list[bytes]:
    """Give the properties that readings carry."""
    return [entry.reading.properties for entry in entries]


class Wire:
    """A reader and the broker's end of its connection.

    Args:
        kind: which reader.
        version: of MQTT.
        limit: bytes of payload.
        property_streams: names of the streams whose readings carry their properties.
    """

    def __init__(
        self, kind: type[PahoReader], version: int, limit: int = LIMIT, property_streams: Collection[str] = ()
    ) -> None:
        self.lost: list[str] = []
        self.broker = socket.socket()
        wire = self

        class OverAPair(kind):  # type: ignore[misc,valid-type]  # a class that the test chooses
            def _create_socket(self) -> Any:
                wire.broker.close()
                ours, wire.broker = socket.socketpair()
                return ours

        self.reader: PahoReader = OverAPair(
            Intake(stream_of, limit, property_streams),
            callback_api_version=CallbackAPIVersion.VERSION2,
            protocol=version,
        )
        self.reader.on_disconnect = lambda *event: self.lost.append(str(event[3]))
        self.reader.on_socket_register_write = lambda *_: None  # write when told to, as the source does
        self.reader.connect_async("broker", 1883, 60)
        self.reader.reconnect()
        self.sent()

    def receive(self, data: bytes) -> None:
        """Let the reader read what the broker sends."""
        for piece in cut(data, range(PAIR_BYTES, len(data), PAIR_BYTES)):
            self.broker.sendall(piece)
            self.read()

    def read(self) -> None:
        """Let the reader read what there is."""
        while (sock := self.reader.socket()) and select.select([sock], [], [], 0)[0]:
            self.reader.loop_read()

    def sent(self) -> bytes:
        """Give what the reader has sent."""
        self.reader.loop_write()
        try:
            return self.broker.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close both ends."""
        self.broker.close()
        if sock := self.reader.socket():
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(params=[FastReader, PahoReader])
def kind(request: pytest.FixtureRequest) -> type[PahoReader]:
    """Run the test with each reader."""
    return request.param  # type: ignore[no-any-return]  # pytest types it not


@pytest.fixture(params=[V311, V5], ids=["3.1.1", "5.0"])
def version(request: pytest.FixtureRequest) -> int:
    """Run the test with each version of MQTT."""
    return int(request.param)


MESSAGES = [
    Message(),
    Message(qos=1, packet_id=1, payload=b'{"value":1}'),
    Message(qos=1, packet_id=65_535, dup=True, retain=True),
    Message(retain=True, payload=b""),
    Message(topic=b"a", payload=b""),
    Message(topic=b"factory/\xff\xc3/s", qos=1, packet_id=258),
    Message(payload=b"x" * 200),  # two bytes of remaining length
    Message(qos=1, packet_id=2, properties=USER_PROPERTY),
    Message(properties=USER_PROPERTY * 20, payload=b""),  # two bytes of property length
    Message(topic=b"t" * 20_000, payload=b"y" * 20),  # three bytes of remaining length
    Message(payload=b"z" * LIMIT, qos=1, packet_id=3),
    Message(payload=b"z" * (LIMIT + 1), qos=1, packet_id=4),
    Message(payload=b"z" * (CUT_TO + LIMIT)),
    Message(qos=1, packet_id=5),
]


def conversation(version: int, messages: list[Message]) -> bytes:
    """Write what a broker sends: CONNACK, SUBACK, messages, and a PINGRESP in between."""
    packets = [message.packet(version) for message in messages]
    middle = len(packets) // 2
    return b"".join([CONNACK[version], SUBACK[version], *packets[:middle], PINGRESP, *packets[middle:], PINGRESP])


def fast(
    version: int, pieces: Iterable[bytes], limit: int = LIMIT, property_streams: Collection[str] = ()
) -> list[Entry]:
    """Feed pieces to the fast reader without a socket."""
    callbacks = CallbackAPIVersion.VERSION2
    intake = Intake(stream_of, limit, property_streams)
    reader = FastReader(intake, callback_api_version=callbacks, protocol=version)
    for piece in pieces:
        assert reader.feed(piece) == MQTTErrorCode.MQTT_ERR_SUCCESS
    return reader.arrived


def cut(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Cut bytes at these places."""
    start = 0
    for place in sorted(places):
        yield data[start:place]
        start = place
    yield data[start:]


# --- the same readings ---------------------------------------------------------------------------------------------


def test_read_gives_every_message_of_a_conversation(kind: type[PahoReader], version: int) -> None:
    with Wire(kind, version) as wire:
        wire.receive(conversation(version, MESSAGES))
        assert facts(wire.reader.arrived) == [message.fact() for message in MESSAGES]
        assert not wire.lost


def test_read_byte_by_byte_gives_the_same(kind: type[PahoReader], version: int) -> None:
    messages = [message for message in MESSAGES if len(message.topic) + len(message.payload) < 2 * LIMIT]
    with Wire(kind, version) as wire:
        for byte in conversation(version, messages):
            wire.receive(bytes([byte]))
        assert facts(wire.reader.arrived) == [message.fact() for message in messages]


def test_feed_cut_in_two_at_any_place_gives_the_same(version: int) -> None:
    messages = [message for message in MESSAGES if len(message.topic) + len(message.payload) < LIMIT]
    data, expected = conversation(version, messages), [message.fact() for message in messages]
    for place in range(len(data)):
        assert facts(fast(version, [data[:place], data[place:]])) == expected


def test_feed_gives_each_message_its_topic_where_there_are_more_topics_than_it_keeps() -> None:
    """They are kept by a hash, of which several topics may have the same; long ones are not kept."""
    topics = [b"factory/%d%s/value" % (number, b"/line" * (number % 40)) for number in range(70_000)]
    packets = [Message(topic).packet(V311) for topic in [*topics, *topics, b"a", b"a", b"b"]]
    entries = fast(V311, [b"".join(packets)])
    assert [entry.reading.topic for entry in entries] == [*topics, *topics, b"a", b"a", b"b"]


some_messages = st.lists(
    st.builds(
        Message,
        topic=st.binary(min_size=1, max_size=200),
        payload=st.one_of(
            st.binary(max_size=300), st.integers(LIMIT - 1, LIMIT + 2).map(bytes), st.just(bytes(LONGEST_HEADER * 2))
        ),
        qos=st.integers(0, 1),
        retain=st.booleans(),
        dup=st.booleans(),
        packet_id=st.integers(1, 65_535),
        properties=st.integers(0, 30).map(lambda count: USER_PROPERTY * count),
    ).map(lambda message: message if message.qos else Message(**{**vars(message), "packet_id": 0})),
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(version=st.sampled_from([V311, V5]), messages=some_messages, data=st.data())
def test_both_readers_agree_on_any_messages_cut_anywhere(
    version: int, messages: list[Message], data: st.DataObject
) -> None:
    stream = conversation(version, messages)
    pieces = list(cut(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8))))
    property_streams = data.draw(st.sampled_from([(), ("stream",), ("doors",), ("doors", "stream")]))
    expected = [message.fact() for message in messages]
    properties = [carried(message, version, property_streams) for message in messages]
    entries = fast(version, pieces, property_streams=property_streams)
    assert (facts(entries), kept(entries)) == (expected, properties)
    with Wire(PahoReader, version, property_streams=property_streams) as wire:
        for piece in pieces:
            wire.receive(piece)
        assert (facts(wire.reader.arrived), kept(wire.reader.arrived)) == (expected, properties)


def carried(message: Message, version: int, property_streams: Collection[str]) -> bytes:
    """Tell which properties a reading must carry."""
    is_asked_for = version == V5 and stream_of(message.topic) in property_streams
    return message.properties[:MOST_PROPERTIES] if is_asked_for else b""


# --- properties ------------------------------------------------------------------------------------------------------

WITH_PROPERTIES = [
    Message(properties=USER_PROPERTY, qos=1, packet_id=1),
    Message(),
    Message(properties=b"\x01\1" + USER_PROPERTY * 20, payload=b"", retain=True),  # two bytes of property length
    Message(topic=b"doors/a", properties=USER_PROPERTY),
    Message(properties=USER_PROPERTY, payload=b"z" * (LIMIT + 1)),
]


def test_read_keeps_the_properties_of_the_streams_that_ask(kind: type[PahoReader], version: int) -> None:
    """As they stood in the packet; not those of another stream of the server, and at MQTT 3.1.1 there are none."""
    with Wire(kind, version, property_streams=["stream"]) as wire:
        wire.receive(conversation(version, WITH_PROPERTIES))
        assert facts(wire.reader.arrived) == [message.fact() for message in WITH_PROPERTIES]
        expected = [message.properties for message in WITH_PROPERTIES]
        expected[3] = b""
        assert kept(wire.reader.arrived) == (expected if version == V5 else [b""] * 5)


def test_read_byte_by_byte_keeps_the_same_properties(kind: type[PahoReader]) -> None:
    with Wire(kind, V5, property_streams=["stream", "doors"]) as wire:
        for byte in conversation(V5, WITH_PROPERTIES):
            wire.receive(bytes([byte]))
        assert kept(wire.reader.arrived) == [message.properties for message in WITH_PROPERTIES]


def test_read_makes_the_same_readings_where_nobody_asks(kind: type[PahoReader]) -> None:
    """Nothing is kept of what no header needs."""
    with Wire(kind, V5) as wire:
        wire.receive(conversation(V5, WITH_PROPERTIES))
        assert facts(wire.reader.arrived) == [message.fact() for message in WITH_PROPERTIES]
        assert kept(wire.reader.arrived) == [b""] * len(WITH_PROPERTIES)


def test_read_keeps_properties_that_name_an_encoding_where_nobody_asks(kind: type[PahoReader]) -> None:
    """So that the transform of a stream of JSON refuses the message."""
    types = [b"application/cbor", b"application/json", b"text/plain", b"application/x-msgpack"]
    sections = [USER_PROPERTY + b"\x03\0" + bytes([len(each)]) + each for each in types]
    sections += [b"\x26\0\x06format\0\x04cbor"]
    messages = [Message(properties=each, qos=1, packet_id=1) for each in sections]
    messages += [
        Message(properties=sections[0], payload=b"z" * (LIMIT + 1)),
        Message(properties=sections[3], retain=True),
    ]
    with Wire(kind, V5) as wire:
        for message in messages:
            wire.receive(message.packet(V5))
        expected = [sections[0], b"", b"", sections[3], b"", sections[0], sections[3]]
        assert kept(wire.reader.arrived) == expected


def test_read_keeps_the_properties_of_a_stream_that_asks_since_a_reload(kind: type[PahoReader]) -> None:
    """Also if none asked when the connection was made."""
    message = WITH_PROPERTIES[0]
    with Wire(kind, V5) as wire:
        wire.reader.route(stream_of, ["stream"])
        wire.receive(message.packet(V5))
        assert kept(wire.reader.arrived) == [message.properties]


@pytest.mark.parametrize("payload", [b"", b"x" * LIMIT, b"x" * CUT_TO * 3], ids=["none", "whole", "cut"])
@pytest.mark.parametrize("count", [7_281, 7_282, 20_000], ids=["up to the limit", "beyond it", "far beyond it"])
def test_read_keeps_so_many_properties_that_too_many_show(kind: type[PahoReader], payload: bytes, count: int) -> None:
    """Memory stays bounded; one byte more than may be is for the transform to see."""
    message = Message(properties=USER_PROPERTY * count, payload=payload, qos=1, packet_id=9)
    with Wire(kind, V5, property_streams=["stream"]) as wire:
        for piece in cut(message.packet(V5), range(50_000, len(message.packet(V5)), 50_000)):
            wire.receive(piece)
        assert facts(wire.reader.arrived) == [message.fact()]
        assert kept(wire.reader.arrived) == [message.properties[:MOST_PROPERTIES]]
        assert (len(message.properties) > CUT_TO) == (len(kept(wire.reader.arrived)[0]) > CUT_TO)


@pytest.mark.parametrize("size", [126, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_read_understands_every_width_of_the_length(kind: type[PahoReader], size: int) -> None:
    """A packet of `size` bytes, at the borders between one, two, three and four bytes of remaining length."""
    message = Message(topic=b"t", payload=bytes(size - 3))
    with Wire(kind, V311, limit=4_000_000) as wire:
        for piece in cut(message.packet(V311) + PINGRESP, range(100_000, size, 100_000)):
            wire.receive(piece)
        assert facts(wire.reader.arrived) == [message.fact(4_000_000)]


# --- huge messages ---------------------------------------------------------------------------------------------------


def test_feed_passes_a_huge_message_in_little_memory(version: int) -> None:
    """16 MB arrive in pieces; the beginning, size and digest remain, and the next message is whole."""
    piece, count = b"0123456789abcdef" * 4_096, 256
    huge = Message(payload=piece * count, qos=1, packet_id=7)
    expected, packet = [huge.fact(), MESSAGES[0].fact()], huge.packet(version)
    head, tail = packet[: -len(huge.payload)], MESSAGES[0].packet(version)
    del huge, packet
    tracemalloc.start()
    try:
        entries = fast(version, iter([head, *[piece] * count, tail]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts(entries) == expected
    assert peak < 1_000_000


def test_read_takes_a_message_whose_properties_are_huge(kind: type[PahoReader]) -> None:
    """Any publisher may send them, and at QoS 1 again and again: they must not end the link."""
    small = Message(properties=USER_PROPERTY * 10_000, payload=b"x" * LIMIT, qos=1, packet_id=9)
    none = Message(properties=USER_PROPERTY * 10_000, payload=b"")
    both = Message(properties=USER_PROPERTY * 10_000, payload=b"x" * CUT_TO * 3)
    with Wire(kind, V5) as wire:
        stream = b"".join(message.packet(V5) for message in (small, none, both, MESSAGES[0]))
        for piece in cut(stream, range(50_000, len(stream), 50_000)):
            wire.receive(piece)
        assert facts(wire.reader.arrived) == [message.fact() for message in (small, none, both, MESSAGES[0])]


def test_feed_refuses_a_huge_packet_that_is_no_message(version: int) -> None:
    """It would have to be gathered whole."""
    with pytest.raises(MalformedPacketError, match=r"a packet of type 9 has 200,000,000 bytes"):
        fast(version, [b"\x90" + remaining_length(200_000_000)])


@pytest.mark.parametrize("flaw", [Message(qos=3, packet_id=1), Message(qos=1, packet_id=0), Message(topic=b"")])
def test_feed_checks_a_huge_message_as_any_other(version: int, flaw: Message) -> None:
    huge = Message(**{**vars(flaw), "payload": bytes(LONGEST_HEADER * 2)})
    with pytest.raises(MalformedPacketError):
        fast(version, cut(huge.packet(version), [LONGEST_HEADER + 10]))


# --- malformed packets -----------------------------------------------------------------------------------------------

MALFORMED = {
    "length of five bytes": (V311, b"\x30\xff\xff\xff\xff\x01"),
    "QoS 3": (V311, Message(qos=3, packet_id=1).packet(V311)),
    "QoS 2 with packet id 0": (V311, Message(qos=2, packet_id=0).packet(V311)),
    "packet id 0": (V311, Message(qos=1, packet_id=0).packet(V311)),
    "packet id 0 at 5.0": (V5, Message(qos=1, packet_id=0).packet(V5)),
    "topic longer than the packet": (V311, b"\x30\x05\0\x09abc"),
    "topic longer than the packet, next packet behind it": (V311, b"\x30\x05\0\x09abc" + MESSAGES[0].packet(V311)),
    "topic longer than the packet at 5.0": (V5, b"\x30\x05\0\x09abc" + MESSAGES[0].packet(V5)),
    "packet id behind the packet": (V311, b"\x32\x04\0\2ab\0\1"),
    "empty topic": (V311, Message(topic=b"").packet(V311)),
    "empty topic at 5.0": (V5, Message(topic=b"").packet(V5)),
    "no topic": (V311, b"\x30\0"),
    "half a topic length": (V311, b"\x30\1\0"),
    "no properties at 5.0": (V5, b"\x30\4\0\2ab"),
    "properties longer than the packet": (V5, b"\x30\6\0\2ab\x09\x26"),
    "properties longer than the packet, string and all": (V5, b"\x30\x0b\0\2ab\x09\x26\0\1a\0\3"),
    "property length of five bytes": (V5, b"\x30\x09\0\2ab\xff\xff\xff\xff\1"),
    "property length that does not end": (V5, b"\x30\5\0\2ab\xff" + MESSAGES[0].packet(V5)),
    "type 0": (V311, b"\0\0"),
    "type 15 at 3.1.1": (V311, b"\xf0\0"),
    "type 15 at 5.0": (V5, b"\xf0\0"),
    "CONNECT from a broker": (V311, b"\x10\0"),
    "SUBSCRIBE from a broker": (V5, b"\x82\0"),
    "DISCONNECT at 3.1.1": (V311, b"\xe0\0"),
    "DISCONNECT of unknown reason": (V5, b"\xe0\1\x7f"),
    "CONNACK without body": (V311, b"\x20\0"),
    "CONNACK too long": (V311, b"\x20\3\0\0\0"),
    "CONNACK without properties at 5.0": (V5, b"\x20\2\0\0"),
    "CONNACK of unknown property": (V5, b"\x20\5\0\0\2\x7f\0"),
    "CONNACK of unknown reason": (V5, b"\x20\3\0\x7f\0"),
    "SUBACK without body": (V311, b"\x90\0"),
    "SUBACK of unknown reason": (V5, b"\x90\4\0\1\0\x7f"),
    "UNSUBACK too short": (V5, b"\xb0\2\0\1"),
    "PUBACK too short": (V311, b"\x40\1\0"),
    "PUBREC too short": (V311, b"\x50\0"),
    "PUBREL too short": (V311, b"\x62\0"),
    "PUBREL of one byte at 5.0": (V5, b"\x62\1\0"),
    "PUBCOMP too short": (V311, b"\x70\1\0"),
    "PINGRESP with a body": (V311, b"\xd0\1\0"),
}


@pytest.mark.parametrize(("version", "data"), MALFORMED.values(), ids=MALFORMED)
def test_read_ends_the_link_on_a_malformed_packet(kind: type[PahoReader], version: int, data: bytes) -> None:
    """With an exception of ours or through paho; what came before it is kept, nothing comes of it, nothing is sent."""
    with Wire(kind, version) as wire:
        raised = ""
        try:
            wire.receive(MESSAGES[1].packet(version) + data)
        except MalformedPacketError as error:
            raised = str(error)
        assert facts(wire.reader.arrived) == [MESSAGES[1].fact()]
        assert raised or wire.lost
        assert wire.sent() == b""


@pytest.mark.parametrize("message", [MESSAGES[1], MESSAGES[7], Message(payload=bytes(CUT_TO * 3))])
def test_read_of_a_truncated_packet_ends_with_the_link(kind: type[PahoReader], version: int, message: Message) -> None:
    packet = message.packet(version)
    for length in range(1, min(len(packet), 60)):
        with Wire(kind, version) as wire:
            wire.receive(packet[:length])
            wire.broker.shutdown(socket.SHUT_WR)
            wire.read()
            assert (wire.reader.arrived, wire.lost) == ([], ["Unspecified error"])


def survives(kind: type[PahoReader], version: int, pieces: Iterable[bytes]) -> None:
    """Let a reader read anything: it may refuse it, it may not fail."""
    with Wire(kind, version) as wire:
        try:
            for piece in pieces:
                if wire.reader.socket():
                    wire.receive(piece)
        except MalformedPacketError:
            pass


@settings(deadline=None, max_examples=300)
@given(version=st.sampled_from([V311, V5]), data=st.binary(max_size=64))
def test_readers_survive_any_bytes(version: int, data: bytes) -> None:
    survives(FastReader, version, [data])
    survives(PahoReader, version, [data])


packet_of_any_type = st.builds(
    lambda first, body: bytes([first]) + remaining_length(len(body)) + body, st.integers(0, 255), st.binary(max_size=40)
)


@settings(deadline=None, max_examples=500)
@given(version=st.sampled_from([V311, V5]), packets=st.lists(packet_of_any_type, max_size=4))
def test_readers_survive_any_packets(version: int, packets: list[bytes]) -> None:
    survives(FastReader, version, packets)
    survives(PahoReader, version, packets)


@settings(deadline=None, max_examples=300)
@given(version=st.sampled_from([V311, V5]), data=st.data())
def test_readers_survive_a_conversation_with_wrong_bytes(version: int, data: st.DataObject) -> None:
    stream = bytearray(conversation(version, MESSAGES[:9]))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(stream) - 1), st.integers(0, 255)), max_size=4)
    ):
        stream[place] = value
    survives(FastReader, version, [bytes(stream)])
    survives(PahoReader, version, [bytes(stream)])


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_send_acknowledgements_writes_each_puback_in_order(kind: type[PahoReader], version: int) -> None:
    packet_ids = [1, 258, 65_535, 2, 256, 7]
    with Wire(kind, version) as wire:
        wire.receive(b"".join(Message(qos=1, packet_id=number).packet(version) for number in packet_ids))
        assert wire.sent() == b"", "nothing before it is asked for"
        for entry in wire.reader.arrived:
            assert entry.connection
            entry.connection.acknowledge([entry])
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"".join(b"\x40\2" + struct.pack(">H", number) for number in packet_ids)
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"", "each once"


def test_send_acknowledgements_goes_on_where_the_socket_was_full(kind: type[PahoReader], version: int) -> None:
    packet_ids = range(1, 5_001)
    with Wire(kind, version) as wire:
        sock = wire.reader.socket()
        assert isinstance(sock, socket.socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the kernel has
        wire.receive(b"".join(Message(qos=1, packet_id=number).packet(version) for number in packet_ids))
        for number, entry in enumerate(wire.reader.arrived, 1):
            release(entry)
            if number % 1_000 == 0:
                wire.reader.send_acknowledgements()
        assert wire.reader.want_write(), "the broker does not read"
        sent = b"".join(iter(wire.sent, b""))
        assert sent == b"".join(b"\x40\2" + struct.pack(">H", number) for number in packet_ids)
    assert not wire.lost


def test_send_acknowledgements_notices_a_broken_connection(kind: type[PahoReader], version: int) -> None:
    with Wire(kind, version) as wire:
        wire.receive(CONNACK[version] + Message(qos=1, packet_id=1).packet(version))
        wire.broker.close()
        release(wire.reader.arrived[0])
        wire.reader.send_acknowledgements()
        wire.reader.loop_write()
        assert len(wire.lost) == 1
        assert isinstance(wire.reader.socket_error, BrokenPipeError)


def test_send_acknowledgements_forgets_those_of_an_earlier_connection(kind: type[PahoReader], version: int) -> None:
    """Neither what was released before the reconnect, nor what is released after it, even before the CONNACK."""
    with Wire(kind, version) as wire:
        wire.receive(CONNACK[version] + b"".join(Message(qos=1, packet_id=n).packet(version) for n in (1, 2, 3)))
        before, connecting, after = wire.reader.arrived
        release(before)
        wire.reader.reconnect()
        assert wire.sent()[:1] == b"\x10", "CONNECT"
        release(connecting)
        wire.reader.send_acknowledgements()
        assert wire.sent() == b""
        wire.receive(CONNACK[version] + Message(qos=1, packet_id=3).packet(version))
        release(after)
        wire.reader.send_acknowledgements()
        assert wire.sent() == b""
        release(wire.reader.arrived[-1])
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x40\2\0\3"


def test_the_answer_to_a_ping_proves_what_was_sent_before_it(kind: type[PahoReader], version: int) -> None:
    """The first answer is that of the first ping; each proves no more than was acknowledged when it was sent."""
    with Wire(kind, version) as wire:
        reader = wire.reader
        wire.receive(CONNACK[version] + b"".join(Message(qos=1, packet_id=n).packet(version) for n in (1, 2, 3)))
        for now, entry in enumerate(reader.arrived, 10**9):
            release(entry)
            reader.send_acknowledgements()
            reader.ping_every(1, now)
        for expected in ([2, 3], [3], [], []):
            wire.receive(PINGRESP)
            assert [entry.packet_id for entry in reader.session.unread] == expected


def test_a_ping_asks_for_a_proof_when_the_unread_take_much_memory(kind: type[PahoReader], version: int) -> None:
    """Once, until it is answered; and they are forgotten when it is not."""
    with Wire(kind, version) as wire:
        reader = wire.reader
        most = MOST_UNREAD_BYTES // UNREAD_BYTES
        for count in range(1, most + 4):
            for packet_id in range(LOOK):
                wire.receive(Message(qos=1, packet_id=packet_id + 1).packet(version))
                reader.arrived[-1].size = (UNREAD_BYTES - 1) // LOOK
                release(reader.arrived[-1])
                reader.send_acknowledgements()
            assert reader.connection.needs_ping == (count == 2)
            reader.ping() if count == 2 else None
            assert len(reader.session.unread) == LOOK * (count if count <= most else count - most - 1)
        wire.receive(PINGRESP)
        assert len(reader.session.unread) == 2 * LOOK, "it was sent before these"


def release(entry: Entry) -> None:
    """Acknowledge a message as the spool does."""
    assert isinstance(entry.connection, AckQueue)
    entry.connection.acknowledge([entry])


def test_reconnect_forgets_a_half_read_packet(kind: type[PahoReader], version: int) -> None:
    for message in (MESSAGES[1], Message(payload=bytes(CUT_TO * 3))):
        packet = message.packet(version)
        with Wire(kind, version) as wire:
            wire.receive(packet[: len(packet) - 1])
            wire.reader.reconnect()
            wire.receive(CONNACK[version] + MESSAGES[1].packet(version))
            assert facts(wire.reader.arrived) == [MESSAGES[1].fact()]


def test_qos_2_is_answered_when_the_gateway_says_so(kind: type[PahoReader], version: int) -> None:
    """PUBREC for a message that is safe, PUBCOMP for a PUBREL, also of a message that an earlier process received."""
    with Wire(kind, version) as wire:
        huge = Message(payload=bytes(CUT_TO * 3), qos=2, packet_id=513)
        messages = [Message(qos=2, packet_id=258), Message(qos=1, packet_id=3), huge]
        wire.receive(b"".join(each.packet(version) for each in messages) + b"\x62\2\1\4")
        assert facts(wire.reader.arrived) == [each.fact() for each in messages]
        assert wire.sent() == b"", "nothing is safe yet"
        assert (wire.reader.session.uses_qos_2, wire.reader.session.released) == (True, [260])
        for entry in wire.reader.arrived:
            release(entry)
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x70\2\1\4" + b"\x50\2\1\2" + b"\x40\2\0\3" + b"\x50\2\2\1"
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"", "each once"


def test_a_second_message_with_the_same_packet_id_waits_for_the_pubcomp_of_the_first(
    kind: type[PahoReader], version: int
) -> None:
    """Mosquitto 2.0.11 sends some, and takes what is sent for the second for the first, or closes the connection."""
    with Wire(kind, version) as wire:
        wire.receive(b"".join(Message(qos=2, packet_id=each).packet(version) for each in (5, 6, 5, 7)))
        for entry in wire.reader.arrived:
            release(entry)
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x50\2\0\5" + b"\x50\2\0\6"
        wire.reader.send_acknowledgements()
        assert wire.sent() == b""
        wire.receive(b"\x62\2\0\5")
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x70\2\0\5" + b"\x50\2\0\5" + b"\x50\2\0\7"


def test_a_message_that_comes_again_gets_its_pubrec_again_but_none_behind_pubcomp(
    kind: type[PahoReader], version: int
) -> None:
    with Wire(kind, version) as wire:
        session = wire.reader.session
        packet = Message(qos=2, packet_id=5).packet(version)
        wire.receive(packet)
        session.repeats(wire.reader.arrived)
        release(wire.reader.arrived.pop())
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x50\2\0\5"
        wire.receive(packet)
        assert session.repeats(wire.reader.arrived) == wire.reader.arrived
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x50\2\0\5"
        wire.receive(packet + b"\x62\2\0\5")
        session.repeats(wire.reader.arrived[1:])
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x50\2\0\5" + b"\x70\2\0\5"


def test_a_limited_number_of_handshakes_is_under_way() -> None:
    """However many messages the broker sends ahead."""
    session = Session()
    queue, most = AckQueue(session), AckQueue.most_handshakes
    entries = [Entry(Reading("a", b"a", b"", 0, 2), None, packet_id) for packet_id in range(1, most + 3)]
    assert queue.take_handshakes(entries) == [PUBREC | packet_id for packet_id in range(1, most + 1)]
    session.released += [7, 50_000]
    assert queue.take_handshakes([]) == [PUBCOMP | 7, PUBCOMP | 50_000, PUBREC | (most + 1)]
    assert queue.take_handshakes([]) == []


def test_pubcomp_is_sent_after_a_commit_though_no_other_pubrel_comes(kind: type[PahoReader], version: int) -> None:
    """A broker that waits for it would send nothing more."""
    with Wire(kind, version) as wire:
        session = wire.reader.session = CommittedSession(9)
        wire.reader.connection = AckQueue(session)
        wire.receive(b"\x62\2\1\4")
        session.release()
        session.prepare([])
        session.commit()
        wire.reader.send_acknowledgements()
        assert wire.sent() == b"\x70\2\1\4"


def test_read_of_a_refusal_does_not_dial_again(kind: type[PahoReader]) -> None:
    """To a refused version paho would answer with MQTT 3.1, at once and in the loop."""
    with Wire(kind, V311) as wire:
        wire.receive(b"\x20\2\0\1")
        assert wire.lost == ["Protocol error"]
        assert wire.reader.socket() is None
