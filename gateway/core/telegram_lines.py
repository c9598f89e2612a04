"""Joins the lines of a telegram, each published as a message of its own, to one reading.

Bridges at a P1 port, such as Tasmota's serial bridge, publish what they receive line by line. Lines are joined by MQTT
topic, from `/` to `!`. What comes out is one reading with the text of all of them, which is then transformed, written
to disk, dead-lettered and replayed as any telegram. Until it is complete its lines are not in the log and not
acknowledged: they stay at the broker, which sends them again after a crash. In the log they follow their telegram,
settled, so they are acknowledged once it is safe; that is later than messages which came between them.

A telegram that does not become complete is a reading too, and becomes a dead letter: when the next one begins, when
nothing of it came for `PATIENCE` while other lines did, when it is longer than a telegram can be, or when there are too
many, or they take too much memory. A first line that the broker sends again begins its telegram again; last lines that
it sends again without the first belong to a telegram that is safe, and whose acknowledgements were lost.

Rejected: lines in the log, joined by the transform. Each would be written to disk and read back by itself, and what
belongs together would have to be found again after each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from gateway.core.codec.telegram import MAX_BYTES
from gateway.core.entry import ENTRY_BYTES, Entry
from gateway.core.reading import Reading
from gateway.core.topic_index import UNMAPPED

if TYPE_CHECKING:
    from collections.abc import Iterable

PLAIN = "text"  # a message is the line itself; every other word is the member of a JSON object that has it
MAX_TOPICS = 512  # with an incomplete telegram
MEMORY_BYTES = 2**24  # of these telegrams
PATIENCE = 60_000  # milliseconds
_ENDS = b"\r\n"
_JOINED = [Reading(UNMAPPED, b"", b"", 0, qos) for qos in range(3)]  # take the place of lines, to free their memory
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class _Telegram:
    entries: list[Entry] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def needs_empty_line(self) -> bool:
        """True when its first line is there, and nothing else."""
        return len(self.lines) == 1 and self.lines[0].startswith(b"/") and b"\n" not in self.lines[0]


class TelegramLines:
    """Joins the lines of one stream; `form` is `PLAIN`, or the name of the member."""

    def __init__(self, form: str) -> None:
        self._member = "" if form == PLAIN else form
        self._open: dict[bytes, _Telegram] = {}  # by topic, the one that has waited longest first
        self._bytes = 0  # of memory that they take

    def add(self, entries: Iterable[Entry]) -> list[Entry]:
        """Give what goes into the log: telegrams, each followed by its lines, which are settled."""
        return [ready for entry in entries for ready in self._add(entry)]

    def incomplete(self) -> list[Entry]:
        """Give those incomplete telegrams that the broker will not send again, to be rejected."""
        topics = [
            topic for topic, telegram in self._open.items() if not any(each.packet_id for each in telegram.entries)
        ]
        return [ready for topic in topics for ready in self._close(topic)]

    def close(self) -> list[Entry]:
        """Give all incomplete telegrams, to be rejected."""
        return [ready for topic in list(self._open) for ready in self._close(topic)]

    def waiting(self, session: object) -> list[Entry]:
        """List the lines of incomplete telegrams that came over a session."""
        lines = (entry for telegram in self._open.values() for entry in telegram.entries)
        return [entry for entry in lines if entry.connection and entry.connection.session is session]

    def _add(self, entry: Entry) -> list[Entry]:
        reading = entry.reading
        line = self._line(reading)
        if line is None:
            return [entry]
        ready = self._expired(reading.received_at)
        if line.startswith(b"/") and reading.topic in self._open:
            ready += self._close(reading.topic)[: 0 if reading.dup else None]
        telegram = self._open.pop(reading.topic, None) or _Telegram()
        if telegram.needs_empty_line and line:
            telegram.lines.append(b"")  # the empty line below the first, which some bridges leave out
        telegram.lines.append(line)
        telegram.entries.append(entry)
        telegram.size += len(line) + len(_ENDS)
        self._bytes += len(line) + len(_ENDS) + ENTRY_BYTES
        self._open[reading.topic] = telegram
        if line.rpartition(b"\n")[2].startswith(b"!") or telegram.size > MAX_BYTES:
            ready += self._close(reading.topic)
        return ready

    def _line(self, reading: Reading) -> bytes | None:
        """Give the text of a line without its end; None for a message that is none."""
        if reading.size >= 0 or not reading.payload:
            return None
        if not self._member:
            return reading.payload.strip(_ENDS)
        try:
            value: Any = _decode(reading.payload)
        except (ValueError, RecursionError):
            return None
        text = value.get(self._member) if isinstance(value, dict) else None
        return text.strip("\r\n").encode() if isinstance(text, str) else None

    def _expired(self, now: int) -> list[Entry]:
        ready: list[Entry] = []
        while self._open:
            topic, telegram = next(iter(self._open.items()))
            is_late = now - telegram.entries[-1].reading.received_at > PATIENCE
            if not is_late and len(self._open) <= MAX_TOPICS and self._bytes <= MEMORY_BYTES:
                break
            ready += self._close(topic)
        return ready

    def _close(self, topic: bytes) -> list[Entry]:
        telegram = self._open.pop(topic)
        self._bytes -= telegram.size + ENTRY_BYTES * len(telegram.entries)
        first, *others = telegram.entries
        payload = _ENDS.join([*telegram.lines, b""])
        whole = Entry(structs.replace(telegram.entries[-1].reading, payload=payload), first.connection, first.packet_id)
        if not payload.startswith(b"/") and all(entry.reading.dup for entry in telegram.entries):
            whole.is_settled = True  # the first lines were acknowledged, so the telegram is safe
        for entry in others:
            entry.reading, entry.is_settled = _JOINED[entry.reading.qos], True
        return [whole, *(entry for entry in others if entry.packet_id)]
