"""The journal of replays in Kafka, with `delivery: exactly_once`: a record and its entry are in one transaction.

So a replay that is killed anywhere, and started again, puts each reading into Kafka once, also from another machine or
with a lost state folder. The entries are under the dead-letter topic, in buckets of 256 offsets, one record for each;
the transactional id is made of the dead-letter topics, so that a second replay of them ends the first.
"""

from __future__ import annotations

import json
from secrets import token_hex
from typing import TYPE_CHECKING

from gateway.core.state_head import HEADS, StateHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.entry import Entry
    from gateway.kafka.partitions import Span
    from gateway.operate.dlq.dead_letters import StoredDeadLetter
    from gateway.operate.dlq.journal import Journal

BUCKET = 256  # offsets
RIVALS = "Another replay of these dead letters", "Wait until it has ended, then replay again."


def replay_id(topics: Iterable[str]) -> str:
    """Make the transactional id of a replay from the dead-letter topics."""
    return f"replay,{','.join(sorted(topics))}"


def prefixes(topics: Iterable[str]) -> tuple[str, ...]:
    """Make the beginnings of the keys in the state topic."""
    return tuple(f"replayed/{topic}/" for topic in topics)


def enter(records: Mapping[str, bytes], journal: Journal) -> None:
    """Add the entries in the state topic to a journal."""
    for key, value in records.items():
        kind, *place = key.split("/")
        if kind == "replayed":
            topic, partition, _ = place
            entries = journal.replayed.setdefault((topic, int(partition)), {})
            entries.update({int(offset): timestamp for offset, timestamp in json.loads(value).items()})


class ReplayState:
    """The state that `TransactionalSink` writes for a replay; `held` is what the dead-letter topics hold."""

    is_outdated = False

    def __init__(self, journal: Journal, held: Sequence[Span]) -> None:
        topics = {span.topic for span in held}
        self.dead_letters: list[StoredDeadLetter] = []  # that are being replayed, by the offset of their entries
        self.prefixes = (f"{HEADS}{replay_id(topics)}", *prefixes(topics))
        self._head = StateHead(replay_id(topics), token_hex(8), RIVALS)
        self._journal = journal
        self._first = {(span.topic, span.partition): span.first for span in held}
        self._expired: dict[str, None] = {}  # buckets whose dead letters Kafka has deleted
        self._version = 0

    def prepare(self, entries: Iterable[Entry]) -> dict[str, bytes | None]:
        """Make the records for a transaction with these entries."""
        self._version += 1
        records: dict[str, bytes | None] = {**self._head.record(self._version), **self._expired}
        new: dict[tuple[str, int, int], dict[int, int]] = {}
        for entry in entries:
            dead_letter = self.dead_letters[entry.offset]
            topic, partition, offset = dead_letter.place
            new.setdefault((topic, partition, offset // BUCKET), {})[offset] = dead_letter.timestamp
        for (topic, partition, bucket), added in new.items():
            known = self._journal.replayed.get((topic, partition), {})
            offsets = range(bucket * BUCKET, (bucket + 1) * BUCKET)
            content = {offset: known[offset] for offset in offsets if offset in known} | added
            records[f"replayed/{topic}/{partition}/{bucket}"] = json.dumps(content).encode()
        return records

    def commit(self) -> None:
        """Nothing to note: the replay enters what is settled."""
        self._expired = {}

    def discard(self) -> None:
        """Nothing to forget."""

    def handover(self, records: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:  # noqa: ARG002 - as `State` has it
        """Take over from no other id."""
        return {}

    def restore(self, records: Mapping[str, bytes]) -> bool:
        """Read the journal; return True if it has the transaction under way. TakenOverError after another replay."""
        enter(records, self._journal)
        self._expired = {key: None for key in records if key.startswith("replayed/") and self._is_expired(key)}
        return self._head.has(records, self._version)

    def _is_expired(self, key: str) -> bool:
        _, topic, partition, bucket = key.split("/")
        return (int(bucket) + 1) * BUCKET <= self._first.get((topic, int(partition)), 0)
