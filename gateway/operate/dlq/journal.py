"""The journal: which dead letters were replayed, over runs and crashes, so that none is replayed twice.

Kafka and a file cannot change in one step, so there are two records of what was done:

1. the file `gateway-replayed.json` beside the spool: the offsets that were replayed, and for a run that has not ended
   the end offsets of the target topics before its first record (member `tails`). It is replaced atomically.
2. the header `dead_letter.origin` = `topic:partition:offset` on each replayed record; of an array only on the last
   record, which is sent after Kafka has acknowledged the others.

The end offsets are on disk before the first record is sent. A run that finds some, because the one before it was killed
or gave up, first reads the target topics from there and counts every origin as replayed. The file may therefore be
seconds old without harm, and is written seldom.

With `delivery: exactly_once` Kafka has the entries as well (`replay_state.py`), and they are never behind. The file is
written all the same, for the day on which `delivery` is `at_least_once` again.

An entry counts only for a record with the same timestamp, because a topic that was deleted and created again starts
at offset 0. Entries older than the topic's retention are removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway import files
from gateway.errors import GatewayError
from gateway.operate.dlq.dead_letters import Place, headers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from confluent_kafka import Message

    from gateway.kafka.partitions import Partitions, Span
    from gateway.operate.dlq.dead_letters import StoredDeadLetter

JOURNAL_FILE = "gateway-replayed.json"  # beside the spool
FORMAT = 1
ORIGIN_HEADER = "dead_letter.origin"
SAVE_SECONDS = 5.0


class Journal:
    """The replayed dead letters. Only the holder of the lock (`locked`) writes. GatewayError for an unreadable file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.replayed: dict[tuple[str, int], dict[int, int]] = {}  # topic, partition -> offset -> timestamp
        self._recovered: set[Place] = set()  # seen in the target topics; the timestamp is not known yet
        self._end_offsets: dict[str, dict[int, int]] = {}  # topic -> partition -> offset
        self._saved_at = time.monotonic()
        self._read()

    def recover(self, partitions: Partitions) -> None:
        """Read from the target topics what a run replayed after it last saved the file. GatewayError without Kafka."""
        for topic, starts in self._end_offsets.items():
            for span in partitions.spans([topic], is_missing_fine=True):
                start = min(starts.get(span.partition, 0), span.until)
                for record in partitions.records(span._replace(first=max(span.first, start))):
                    self._recovered.update(_origins(record))

    def has(self, dead_letter: StoredDeadLetter) -> bool:
        """Return True when a dead letter was replayed; one that was recovered gets its entry now."""
        place = dead_letter.place
        if place in self._recovered:
            self._recovered.discard(place)
            self.add(dead_letter)
        return self.replayed.get(place[:2], {}).get(place.offset) == dead_letter.timestamp

    def add(self, dead_letter: StoredDeadLetter) -> None:
        """Note that Kafka acknowledged all records of a dead letter."""
        self.replayed.setdefault(dead_letter.place[:2], {})[dead_letter.place.offset] = dead_letter.timestamp

    def begin(self, ends: Iterable[Span]) -> None:
        """Save the end offsets of the target topics; only then may records be sent. Those of an earlier run stay."""
        for span in ends:
            self._end_offsets.setdefault(span.topic, {}).setdefault(span.partition, span.until)
        self.save()

    def end(self, held: Iterable[Span]) -> None:
        """Forget the end offsets, as no record is in flight, and entries older than the dead-letter topics' records."""
        self._end_offsets = {}
        for span in held:
            replayed = self.replayed.get((span.topic, span.partition), {})
            for offset in [offset for offset in replayed if offset < span.first]:
                del replayed[offset]
        self.save()

    def save_if_due(self) -> None:
        """Save, unless that was done less than `SAVE_SECONDS` ago."""
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Replace the file; GatewayError when it cannot be written."""
        replayed: dict[str, dict[int, dict[int, int]]] = {}
        for (topic, partition), timestamps in self.replayed.items():
            replayed.setdefault(topic, {})[partition] = timestamps
        try:
            data = {"format": FORMAT, "replayed": replayed, "tails": self._end_offsets}
            files.replace(self._path, json.dumps(data))
        except OSError as error:
            raise GatewayError(
                f"The journal of replays {self._path} cannot be written: {error.strerror}.",
                "Correct this and replay again: records that Kafka has already are not repeated.",
            ) from None
        self._saved_at = time.monotonic()

    def _read(self) -> None:
        try:
            data = json.loads(self._path.read_bytes())
            _check_format(data["format"])
            self._end_offsets = {topic: _numbers(starts) for topic, starts in data["tails"].items()}
            for topic, partitions in data["replayed"].items():
                for partition, timestamps in partitions.items():
                    self.replayed[topic, int(partition)] = _numbers(timestamps)
        except FileNotFoundError:
            return
        except OSError as error:
            raise GatewayError(
                f"The journal of replays {self._path} cannot be read: {error.strerror}.",
                "Run this as the gateway's user.",
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise GatewayError(
                f"The journal of replays {self._path} is damaged or of a newer version.",
                "Restore it from a backup. Without it, dead letters that were replayed before would be replayed again.",
            ) from None


@contextmanager
def locked(path: Path) -> Iterator[Journal]:
    """Open the journal and keep out other replays of this installation until the end.

    GatewayError when another replay is running, or the folder cannot be written.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GatewayError(
            f"The folder {path.parent} cannot be written: {error.strerror}.", "Run this as the gateway's user."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise GatewayError("Another replay of this installation is running.", "Wait until it has ended.") from None
    try:
        yield Journal(path)
    finally:
        os.close(lock)


def _origins(record: Message) -> Iterator[Place]:
    for name, value in headers_of(record):
        if name == ORIGIN_HEADER:
            topic, _, rest = value.decode(errors="replace").partition(":")
            partition, _, offset = rest.partition(":")
            if partition.isdigit() and offset.isdigit() and len(rest) < 32:
                yield Place(topic, int(partition), int(offset))


def _check_format(number: object) -> None:
    if number != FORMAT:
        raise ValueError


def _numbers(values: dict[str, int]) -> dict[int, int]:
    return {int(name): int(value) for name, value in values.items()}
