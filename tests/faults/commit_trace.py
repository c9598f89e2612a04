"""What strace says of a gateway with `delivery: exactly_once`: nothing is answered before Kafka has committed it.

Each message has a number in its payload, which stands in the record as well; records must not be compressed.

    PUBACK, PUBREC    after the answer to an EndTxn request that was sent behind the record
    PUBCOMP           after the answer to an EndTxn request that was sent after PUBREL had come
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.faults.test_disk_faults import packets

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACED = ("-f", "-xx", "-s", "10000000", "-yy", "-e", "trace=recvfrom,sendto,recvmsg,sendmsg")
CALL = re.compile(r"(\d+) +(?:<\.\.\. )?(recvfrom|sendto|recvmsg|sendmsg)(?: resumed>|\()(.*)$")
PLACE = re.compile(r"\d+<TCP:\[[^\]]*:(\d+)\]>")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')
SENT_NUMBER, STORED_NUMBER = re.compile(rb'"units":"(\d{8})"'), re.compile(rb"\d{8}")
PUBREL, END_TXN = 0x62, 26
ANSWERS = {0x40: "PUBACK", 0x50: "PUBREC", 0x70: "PUBCOMP"}


class _Check:
    def __init__(self, broker_port: str) -> None:
        self._broker_port = broker_port
        self._streams: dict[tuple[str, bool], bytes] = {}  # what is not a whole packet yet, by socket and direction
        self._wanted: dict[tuple[int, int], bytes] = {}  # kind of answer and packet id -> number, or b"" for PUBREL
        self._to_commit: set[tuple[int, int] | bytes] = set()  # since the last EndTxn request
        self._committing: dict[tuple[str, bytes], set[tuple[int, int] | bytes]] = {}  # by socket and correlation id
        self._committed: set[tuple[int, int] | bytes] = set()
        self.answers: Counter[str] = Counter()

    def take(self, place: str, port: str, text: bytes, *, is_sent: bool) -> None:
        key = place, is_sent
        data = self._streams.get(key, b"") + text
        if port == self._broker_port:
            end = 0
            for first, body, end in packets(data):  # noqa: B007 - `end` is the last one's
                self._answered(first, body) if is_sent else self._received(first, body)
            self._streams[key] = data[end:]
            return
        self._to_commit.update(STORED_NUMBER.findall(text) if is_sent else ())
        while len(data) >= 8 and len(data) >= 4 + (size := int.from_bytes(data[:4])):
            packet, data = data[4 : 4 + size], data[4 + size :]
            if is_sent and int.from_bytes(packet[:2]) == END_TXN:
                self._committing[place, packet[4:8]] = self._to_commit
                self._to_commit = set()
            elif not is_sent:
                self._committed |= self._committing.pop((place, packet[:4]), set())
        self._streams[key] = data

    def _received(self, first: int, body: bytes) -> None:
        if first >> 4 == 3 and first & 6 and (found := SENT_NUMBER.search(body)):
            topic = int.from_bytes(body[:2])
            kind = 0x40 if first & 6 == 2 else 0x50
            self._wanted[kind, int.from_bytes(body[2 + topic : 4 + topic])] = found[1]
        elif first == PUBREL:
            self._to_commit.add((0x70, int.from_bytes(body[:2])))

    def _answered(self, first: int, body: bytes) -> None:
        packet_id = int.from_bytes(body[:2])
        if first in ANSWERS and (first == 0x70 or (first, packet_id) in self._wanted):
            wanted = (first, packet_id) if first == 0x70 else self._wanted[first, packet_id]
            assert wanted in self._committed, f"{ANSWERS[first]} {packet_id} before the commit of {wanted!r}"
            self._committed.discard(wanted) if first == 0x70 else None
            self.answers[ANSWERS[first]] += 1


def check(lines: Iterable[str], broker_port: int) -> Counter[str]:
    """Walk a trace; count the answers that were checked, by kind.

    AssertionError when one was too early.
    """
    one, begun = _Check(str(broker_port)), dict[str, str]()
    for line in lines:
        if not (call := CALL.match(line)):
            continue
        thread, name, rest = call.groups()
        is_sent = name.startswith("send")
        if rest.endswith("<unfinished ...>") and not is_sent:
            begun[thread] = rest
            continue
        rest = begun.pop(thread, "") + rest
        place = PLACE.search(rest)
        port = place[1] if place else ""
        text = b"".join(bytes.fromhex(each.replace("\\x", "")) for each in TEXT.findall(rest))
        result = re.search(r"\) += (\d+)", rest)
        if place:
            one.take(place[0], port.rpartition(":")[2], text[: int(result[1])] if result else text, is_sent=is_sent)
    return one.answers
