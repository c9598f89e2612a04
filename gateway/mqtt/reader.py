"""Two readers of MQTT sockets; both are paho clients, and the same tests run on both.

`PahoReader` is plain paho: it reads one byte at a time and calls back for every message, 17 to 40 microseconds each.

`FastReader` replaces the method of paho's client that reads packets: it takes all that the socket holds and runs over
the PUBLISH packets in a tight loop, or lets C do that (`native/reader.c`); every other packet goes to paho. The
acknowledgements of a batch go out in one write. It depends on paho 2.x internals (`_sock`, `_in_packet`,
`_packet_handle`, `_packet_queue`), so pyproject.toml pins the major version.

`FastReader` does not gather a PUBLISH that is much longer than the payload limit: it keeps the first bytes, hashes the
rest as it passes, and makes a reading that has the full size. So memory is bounded whatever a broker sends.
`PahoReader` gathers a message whole before it truncates it.

PUBLISH properties are not interpreted here: paho checks them, `FastReader` skips them. Readings of streams that need
properties carry them as they stood in the packet, truncated just beyond `CUT_TO`, so that the transform can detect the
overflow. Of other streams, whose payloads are JSON, those carry them that have a content type which names another
encoding: the transform refuses it.

Malformed packets (MQTT 5.0 section 4.13) raise MalformedPacketError, and the source closes the connection with the
reason.

QoS 2 is not left to paho, which would answer before the message is stored. A message becomes a reading when it arrives,
PUBREC is its acknowledgement, and the session (`core/session.py`) says when PUBREL may be answered with PUBCOMP.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from array import array
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.exception import MalformedPacket

from gateway.core.dead_letter import CUT_TO
from gateway.core.encoding import names_other
from gateway.core.entry import Batch, Entry
from gateway.core.native import MODULE
from gateway.core.reading import Reading
from gateway.core.session import Session
from gateway.errors import DataError
from gateway.mqtt.broker import Client
from gateway.mqtt.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

PUBLISH = 0x30
PUBACK, PUBREC, PUBCOMP = 0x4002_0000, 0x5002_0000, 0x7002_0000  # with length, to be completed by a packet id
FIRST_AT_QOS_1 = 0x32  # a PUBLISH that is neither retained nor a duplicate, as nearly all are
QOS_2 = 0x04  # in the first byte of a PUBLISH
MALFORMED_PUBLISH = "a PUBLISH packet is malformed"
READ_BYTES = 524_288
UNREAD_BYTES, MOST_UNREAD_BYTES = 2**17, 2**21  # memory of acknowledged messages: for a ping, and at most
LOOK = 32  # acknowledged messages
BUFFERING = (ssl.SSLSocket, WebSocket)  # sockets that hold bytes which polling does not show
MOST_PROPERTIES = CUT_TO + 1  # bytes that are kept: one more than allowed, so that the transform detects the overflow
# Of a PUBLISH: topic, packet id, length of the properties, and as many of them as are kept.
LONGEST_HEADER = 2 + 65_535 + 2 + 4 + MOST_PROPERTIES
DISCONNECT = b"\xe0\0"
_VARINT_BYTES = 4
_unpack_start = Struct(">BBH").unpack_from  # first byte, remaining length if it is short, length of a PUBLISH's topic
_unpack_id = Struct(">HB").unpack_from  # packet id, length of the properties if it is short
_FLAGS = [((bits >> 1) & 3, bool(bits & 1), bool(bits & 8)) for bits in range(16)]  # QoS, retain, DUP of a first byte
_HANDED_TO_PAHO = {"have_remaining": 0, "remaining_count": [], "remaining_mult": 1, "to_process": 0}


class MalformedPacketError(DataError):
    """A packet that breaks the protocol; the text says how."""


@dataclass(frozen=True, slots=True)
class Intake:
    """How the messages of a broker become readings."""

    stream_of: Callable[[bytes], str]  # topic -> name of its stream
    payload_limit: int  # bytes; longer payloads are truncated
    property_streams: Collection[str] = ()  # streams whose readings carry all their MQTT 5 properties
    receive_maximum: int = 65_535  # unacknowledged messages that the broker may have in flight
    is_fast: bool = True  # False to read with plain paho
    make_session: Callable[[], Session] = Session
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000  # time of arrival, milliseconds since 1970 UTC


class AckQueue:
    """The acknowledgements of one connection, in the order in which the spool releases them.

    After a reconnect the broker uses packet ids anew. A reading keeps the queue of its connection, so a late
    acknowledgement goes to a queue that is no longer sent: its session keeps it, because the message will come again.

    Acknowledgements wait while `most_handshakes` of QoS 2 are under way, or one with the same packet id. That only
    happens when the broker ignores the Receive Maximum. Mosquitto 2.0.11 then looks for each packet id from its oldest
    message on, which takes long when many wait for PUBCOMP, and closes the connection at the second PUBCOMP for a
    packet id, or a PUBACK for a message of QoS 2.
    """

    most_handshakes = 8_192
    __slots__ = (
        "_begun",
        "_bytes",
        "_look_at",
        "_pings",
        "_released",
        "_seen",
        "_waiting",
        "acknowledge",
        "is_read",
        "needs_ping",
        "session",
    )

    def __init__(self, session: Session) -> None:
        self.session = session
        self.is_read = False  # the broker has read all acknowledgements, as it has answered DISCONNECT
        self.needs_ping = False  # to learn which acknowledgements the broker has read
        self._released: list[Entry] = []
        self._waiting = array("I")  # acknowledgements whose turn has not come
        self._begun: set[int] = set()  # packet ids of QoS 2 with PUBREC and without PUBCOMP
        self._bytes = self._seen = 0  # memory of so many messages in `session.unread`
        self._look_at = LOOK  # how many of them there are when that is computed again, as it costs time
        self._pings: list[int] = []  # for each ping without an answer, how many of them were acknowledged before
        self.acknowledge: Callable[[Iterable[Entry]], None] = self._released.extend

    def take(self) -> list[Entry]:
        """Take the messages to acknowledge now."""
        taken = self._released[:]
        del self._released[: len(taken)]  # more may have come
        unread = self.session.unread
        unread += taken
        if len(unread) >= self._look_at:
            self._look()
        return taken

    def take_handshakes(self, taken: Iterable[Entry]) -> list[int]:
        """Take what may be sent with QoS 2, as numbers: PUBCOMPs, and what was just taken if its turn has come."""
        session, begun = self.session, self._begun
        numbers = [PUBREC | packet_id for packet_id in session.retransmitted if packet_id in begun]
        session.retransmitted.clear()
        completed = session.take_completed()
        begun.difference_update(completed)
        numbers += [PUBCOMP | packet_id for packet_id in completed]
        self._waiting.extend([(PUBREC if each.reading.qos == 2 else PUBACK) | each.packet_id for each in taken])
        count = 0
        for number in self._waiting:
            is_pubrec, packet_id = number >= PUBREC, number & 0xFFFF
            if packet_id in begun or (is_pubrec and len(begun) >= self.most_handshakes):
                break
            if is_pubrec:
                begun.add(packet_id)
            count += 1
        numbers += self._waiting[:count]
        del self._waiting[:count]
        return numbers

    def _look(self) -> None:
        unread = self.session.unread
        self._bytes += sum([entry.size for entry in unread[self._seen :]])
        if self._bytes > MOST_UNREAD_BYTES:  # the broker is slow to answer: store messages twice rather
            unread.clear()
            self._bytes, self._pings = 0, [0] * len(self._pings)
        self.needs_ping = self._bytes > UNREAD_BYTES and not self._pings
        self._seen = len(unread)
        self._look_at = self._seen + LOOK

    def note_ping(self, *, is_connected: bool = True) -> None:
        """Note that a ping is sent behind the acknowledgements; before CONNACK they are of another connection."""
        self._pings.append(len(self.session.unread) if is_connected else 0)
        self.needs_ping = False

    def note_answer(self, arrived: int) -> None:
        """Note that the broker has answered a ping, after so many messages that are not taken out of the inbox yet."""
        if self._pings:
            count, *pings = self._pings
            read = self.session.unread[:count]
            del self.session.unread[:count]
            self._pings = [each - count for each in pings]
            self._bytes = self._seen = 0
            self._look()
            self.session.note_read(read, arrived)

    def close(self, session: Session) -> None:
        """Leave all that was not acknowledged to the session, now and later."""
        if self.is_read:
            session.unread.clear()
        session.suspend(self._released)
        self._released.clear()
        self.acknowledge = session.unacknowledged.extend


class PahoReader(Client):
    """paho's client, with an inbox; `arguments` are paho's own."""

    def __init__(self, intake: Intake, **arguments: Any) -> None:
        # On some refusals paho would reconnect by itself, in the caller's thread and with another protocol version.
        super().__init__(manual_ack=True, reconnect_on_failure=False, **arguments)
        self.session = intake.make_session()
        self.connection = AckQueue(self.session)
        self.arrived = Batch()
        self.is_drained = False  # the last read emptied the socket
        self._now = intake.now
        self._payload_limit = intake.payload_limit
        self.route(intake.stream_of, intake.property_streams)
        self._properties = b""
        self._pinged_at = 0.0
        self.on_message = self._take

    def route(self, stream_of: Callable[[bytes], str], property_streams: Collection[str]) -> None:
        """Tell streams apart in another way from the next packet on."""
        self._stream_of = stream_of
        self._property_streams = property_streams

    def _keeps(self, stream: str, properties: bytes) -> bool:
        """Whether a reading carries its properties."""
        return stream in self._property_streams or names_other(properties)

    def reconnect(self) -> MQTTErrorCode:
        """Connect again; acknowledgements of the old connection's messages are void from now on."""
        self.connection = AckQueue(self.session)
        self._pinged_at = paho.time_func()
        return super().reconnect()

    def send_acknowledgements(self) -> None:
        """Queue the acknowledgements that the spool has released (MQTT 5.0 section 3.4: success needs no reason)."""
        send = {PUBACK: self._send_puback, PUBREC: self._send_pubrec, PUBCOMP: self._send_pubcomp}
        for number in self.connection.take_handshakes(self.connection.take()):
            send[number & ~0xFFFF](number & 0xFFFF)

    # --- keep-alive and disconnecting -------------------------------------------------------------------------------

    @property
    def last_received_at(self) -> float:
        """When the last bytes came from the broker, monotonic seconds."""
        return self._last_bytes_received

    def reset_keep_alive(self, now: float) -> None:
        """Restart the keep-alive period, as while the gateway does not read, silence says nothing about the broker."""
        self._last_bytes_received = now

    def ping_every(self, seconds: float, now: float) -> None:
        """Ping when so many seconds have passed since the last ping, or since connecting.

        Other packets in between do not matter: paho does not record when it last sent one, and a ping is cheap.
        """
        if now - self._pinged_at >= seconds:
            self._pinged_at = now
            self._send_pingreq()

    def ping(self) -> None:
        """Send PINGREQ."""
        self._send_pingreq()

    def begin_disconnect(self) -> None:
        """Queue the acknowledgements that the spool has released, and DISCONNECT; call `finish_disconnect` then."""
        self.send_acknowledgements()
        self._packet_queue(0, DISCONNECT, 0, 0)  # command 0, because paho would close at once after DISCONNECT

    def finish_disconnect(self, seconds: float) -> None:
        """Send what is queued, and wait at most so long until the broker closes. Any thread may call it.

        paho itself closes at once. If bytes are unread then, the kernel resets the connection, and what the broker has
        not read is lost: acknowledgements, and DISCONNECT, so that it would publish the last will.
        """
        until = time.monotonic() + seconds
        while self.want_write() and self._is_ready(select.POLLOUT, until):
            self.loop_write()
        try:
            if self._sock:
                self._sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]  # paho's own WebSocket has none
            while self._is_ready(select.POLLIN, until):
                with contextlib.suppress(BlockingIOError):  # what came was no MQTT
                    if not self._sock_recv(READ_BYTES):
                        self.connection.is_read = True  # the broker closes once it has read everything
                        break
        except OSError:
            pass  # the connection is closed already
        self._sock_close()

    def _is_ready(self, event: int, until: float) -> bool:
        seconds = until - time.monotonic()
        if not self._sock or seconds <= 0:
            return False
        poller = select.poll()
        poller.register(self._sock, event)
        return bool(poller.poll(seconds * 1000))

    # --- what paho calls -------------------------------------------------------------------------------------------

    def _send_pingreq(self) -> MQTTErrorCode:
        self.connection.note_ping(is_connected=self.is_connected())
        return super()._send_pingreq()

    def _handle_pingresp(self) -> MQTTErrorCode:
        result = super()._handle_pingresp()
        if result == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.connection.note_answer(len(self.arrived))
        return result

    def _take(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        topic: bytes = message._topic  # noqa: SLF001 - `topic` raises on invalid UTF-8, which is for the transform
        command = self._in_packet["command"]
        payload = self._cut(bytes(message.payload))
        self.arrived.add(self._entry(command, topic, message.mid, self._properties, *payload))

    def _handle_publish(self) -> MQTTErrorCode:
        packet = self._in_packet
        command, body = packet["command"], bytes(packet["packet"])
        is_v5 = self._protocol == paho.MQTTv5
        topic, packet_id, start = _publish_header(command, body, 0, len(body), is_v5=is_v5)
        self._properties = _properties(command, body, 2 + len(topic)) if is_v5 else b""
        if command & 0x06 != QOS_2:
            return super()._handle_publish()
        self.arrived.add(self._entry(command, topic, packet_id, self._properties, *self._cut(body[start:])))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_pubrel(self) -> MQTTErrorCode:
        result = super()._handle_pubrel()  # which checks the packet
        self.session.uses_qos_2 = True
        self.session.released.append(int.from_bytes(self._in_packet["packet"][:2]))
        return result

    def _sock_recv(self, bufsize: int) -> bytes:
        return self._recording_error(super(Client, self)._sock_recv, bufsize)  # one call less on the path of a reading

    # --- readings --------------------------------------------------------------------------------------------------

    def _cut(self, payload: bytes) -> tuple[bytes, int, bytes]:
        """Give the payload; when it is above the limit, its beginning, size and digest."""
        if len(payload) <= self._payload_limit:
            return payload, -1, b""
        return payload[:CUT_TO], len(payload), sha256(payload).digest()

    def _entry(  # noqa: PLR0913, PLR0917 - the parts of a packet
        self, command: int, topic: bytes, packet_id: int, properties: bytes, payload: bytes, size: int, digest: bytes
    ) -> Entry:
        stream, now = self._stream_of(topic), self._now()
        self.session.uses_qos_2 |= command & 0x06 == QOS_2
        kept = properties if properties and self._keeps(stream, properties) else b""
        reading = Reading(stream, topic, payload, now, *_FLAGS[command & 0x0F], size, digest, kept)
        return Entry(reading, self.connection, packet_id)


class FastReader(PahoReader):
    """paho's client with a packet reader that works in batches."""

    def __init__(self, intake: Intake, **arguments: Any) -> None:
        super().__init__(intake, **arguments)
        self._rest = b""
        self._oversized: _Oversized | None = None
        self._gather_limit = intake.payload_limit + LONGEST_HEADER

    def reconnect(self) -> MQTTErrorCode:
        """Connect again; the unread rest of the old connection is void."""
        self._rest = b""
        self._oversized = None
        return super().reconnect()

    def send_acknowledgements(self) -> None:
        """Write all acknowledgements, or queue them, as one run of packets of four bytes."""
        taken = self.connection.take()
        if self.session.uses_qos_2:
            numbers = self.connection.take_handshakes(taken)
        else:
            numbers = [PUBACK | entry.packet_id for entry in taken]
        if numbers:
            packets = array("I", numbers)
            packets.byteswap() if _IS_LITTLE_ENDIAN else None
            if rest := packets.tobytes() if self._out_packet else self._written(packets.tobytes()):
                self._packet_queue(0, rest, 0, 0)

    def _written(self, packets: bytes) -> bytes:
        """Write packets past paho's queue, which costs more than the write; give what the socket did not take."""
        try:
            return packets[self._sock_send(packets) :]
        except BlockingIOError:
            return packets
        except OSError:
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            return b""

    def _packet_read(self) -> MQTTErrorCode:
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_AGAIN
        except OSError:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if not data:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        self._last_bytes_received = paho.time_func()
        self.is_drained = len(data) < READ_BYTES and not isinstance(self._sock, BUFFERING)
        return self.feed(data)

    def feed(self, data: bytes) -> MQTTErrorCode:  # noqa: C901, PLR0912, PLR0915 - one tight loop: calls cost
        """Process bytes, split anywhere: packets go to the inbox or to paho, an incomplete one waits for more."""
        data = self._consume_oversized(data) if self._oversized else data
        buffer = self._rest + data if self._rest else data  # behind the incomplete packet of the last call
        self._rest = b""
        now = self._now()
        is_v5, limit = self._protocol == paho.MQTTv5, self._payload_limit
        stream_of, connection, end = self._stream_of, self.connection, len(buffer)
        arrived = self.arrived  # local names, because attribute look-ups cost
        add, append, streams = arrived.add, arrived.append, arrived.streams
        command: int
        read = MODULE.read_publishes if MODULE else None  # in C, up to what is left to Python
        facts = limit, is_v5, self._keeps, MOST_PROPERTIES, stream_of, now, connection, arrived, streams
        position = 0 if read is None else read(buffer, 0, *facts)
        while (left := end - position) >= 2:
            if left > 3:  # first byte, remaining length, and the topic's length, should it be a PUBLISH
                command, size, length = _unpack_start(buffer, position)
            else:
                command, size, length = buffer[position], buffer[position + 1], 0
            start = position + 2
            if size & 0x80:  # the remaining length has two bytes, or more; what follows moves by as many
                if start < end and buffer[start] < 0x80:
                    size, start = size & 0x7F | buffer[start] << 7, start + 1
                else:
                    size, start = _remaining_length(buffer, position + 1)
                    if not start:
                        break
                length = buffer[start] << 8 | buffer[start + 1] if start + 2 <= end else 0
            after = start + size
            if after > end:  # incomplete: wait for the rest, or stream the payload of a huge PUBLISH
                if size > self._gather_limit:
                    position = self._begin_oversized(buffer, position, start, after)
                break
            if command & 0xF0 == PUBLISH:  # find topic, packet id and start of the payload; QoS 1 is inlined
                body = start + 2 + length
                if command & 0x06 == 0x02 and body + 3 <= after:
                    topic = buffer[start + 2 : body]
                    packet_id, skipped = _unpack_id(buffer, body)
                    if not is_v5:
                        body, skipped = body + 2, 0
                    else:
                        body = body + 3 + skipped if skipped < 0x80 else _after_properties(buffer, body + 2)
                    if body > after or not length or not packet_id:
                        raise MalformedPacketError(MALFORMED_PUBLISH)
                else:
                    topic, packet_id, body = _publish_header(command, buffer, start, after, is_v5=is_v5)
                    skipped = is_v5
                    self.session.uses_qos_2 |= command & 0x06 == QOS_2
                if after - body > limit:  # make the reading; each branch computes no more than it needs
                    properties = _properties(command, buffer, start + 2 + len(topic)) if skipped else b""
                    add(self._entry(command, topic, packet_id, properties, *self._cut(buffer[body:after])))
                elif skipped and (properties := _properties(command, buffer, start + 2 + len(topic))):
                    add(self._entry(command, topic, packet_id, properties, buffer[body:after], -1, b""))
                elif command == FIRST_AT_QOS_1:
                    streams.add(stream := stream_of(topic))
                    append(Entry(Reading(stream, topic, buffer[body:after], now, 1), connection, packet_id))
                else:
                    reading = Reading(stream_of(topic), topic, buffer[body:after], now, *_FLAGS[command & 0x0F])
                    add(Entry(reading, connection, packet_id))
            elif result := self._hand_to_paho(command, buffer[start:after], size):
                return result
            position = after if read is None else read(buffer, after, *facts)
        self._rest = buffer[position:]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _hand_to_paho(self, command: int, body: bytes, size: int) -> MQTTErrorCode:
        packet = {"command": command, "packet": bytearray(body), "remaining_length": size, "pos": 0}
        self._in_packet = _HANDED_TO_PAHO | packet  # type: ignore[assignment]  # the same keys as paho's TypedDict
        try:
            return self._packet_handle()
        except MalformedPacket as error:
            raise MalformedPacketError(f"a packet of type {command >> 4} is malformed: {error}") from error

    def _begin_oversized(self, buffer: bytes, position: int, start: int, after: int) -> int:
        """Start to stream a huge PUBLISH once its header is here; give the new position."""
        command = buffer[position]
        if command & 0xF0 != PUBLISH:
            raise MalformedPacketError(f"a packet of type {command >> 4} has {after - start:,} bytes")
        if len(buffer) - start < LONGEST_HEADER:
            return position
        is_v5 = self._protocol == paho.MQTTv5
        topic, packet_id, body = _publish_header(command, buffer, start, after, is_v5=is_v5)
        size = after - body
        kept = size if size <= self._payload_limit else CUT_TO
        properties = _properties(command, buffer, start + 2 + len(topic)) if is_v5 else b""
        skipped = max(0, body - len(buffer))
        self._oversized = _Oversized((command, topic, packet_id, properties), size, kept, skipped)
        self._consume_oversized(buffer[body:])
        return len(buffer)

    def _consume_oversized(self, data: bytes) -> bytes:
        """Hash the bytes of the huge payload; give those that follow it."""
        huge = self._oversized
        assert huge, "the callers have checked"
        rest = huge.take(data)
        if huge.is_over:
            self._oversized = None
            size, digest = (huge.size, huge.digest.digest()) if huge.size > self._payload_limit else (-1, b"")
            self.arrived.add(self._entry(*huge.message, bytes(huge.head), size, digest))
        return rest


class _Oversized:
    """A PUBLISH that is not gathered: `kept` bytes of its payload are kept, and all are hashed.

    `message` is first byte, topic, packet id and kept properties; `skipped` bytes of properties are still to come.
    """

    def __init__(self, message: tuple[int, bytes, int, bytes], size: int, kept: int, skipped: int) -> None:
        self.message = message
        self.size = self._missing = size
        self.head = bytearray()
        self.digest = sha256()
        self._kept = kept
        self._skipped = skipped

    @property
    def is_over(self) -> bool:
        return not self._missing and not self._skipped

    def take(self, data: bytes) -> bytes:
        """Take the bytes of this packet and give those that follow it."""
        # Skip the rest of the properties.
        if self._skipped:
            data, self._skipped = data[self._skipped :], max(0, self._skipped - len(data))
        # Keep the beginning of the payload, and hash all of it.
        payload, rest = data[: self._missing], data[self._missing :]
        self._missing -= len(payload)
        self.head += payload[: self._kept - len(self.head)]
        self.digest.update(payload)
        return rest


_IS_LITTLE_ENDIAN = array("H", [1]).tobytes() == b"\1\0"


def _remaining_length(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5.0 section 1.5.5); give value and end; 0, 0 when bytes are missing."""
    value = 0
    for place, byte in enumerate(buffer[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, position + place + 1
    if len(buffer) - position >= _VARINT_BYTES:
        raise MalformedPacketError("a length takes more than four bytes")
    return 0, 0


def _after_properties(buffer: bytes, position: int) -> int:
    """Find the payload behind the properties of a PUBLISH; beyond the buffer when their length is incomplete."""
    length, start = _remaining_length(buffer, position)
    return start + length if start else len(buffer) + 1


def _properties(command: int, buffer: bytes, position: int) -> bytes:
    """Copy the MQTT 5 properties of a PUBLISH, `MOST_PROPERTIES` bytes at most; `position` is behind the topic."""
    length, start = _remaining_length(buffer, position + (2 if command & 0x06 else 0))  # a packet id precedes them
    return buffer[start : start + min(length, MOST_PROPERTIES)]


def _publish_header(command: int, buffer: bytes, start: int, after: int, *, is_v5: bool) -> tuple[bytes, int, int]:
    """Parse a PUBLISH up to its payload: topic, packet id (0 at QoS 0), start of the payload.

    The packet is in `buffer` from `start`, the position of the topic's length, to `after`: whole, or at least
    `LONGEST_HEADER` bytes of it. `FastReader.feed` inlines this for QoS 1.
    """
    body = start + 2 + int.from_bytes(buffer[start : start + 2])
    topic, packet_id = buffer[start + 2 : body], 0
    if command & 0x06:
        packet_id = int.from_bytes(buffer[body : body + 2])
        body += 2
    if is_v5:
        body = _after_properties(buffer, body)
    if body > after or not topic or command & 0x06 > QOS_2 or (command & 0x06 and not packet_id):
        raise MalformedPacketError(MALFORMED_PUBLISH)
    return topic, packet_id, body
