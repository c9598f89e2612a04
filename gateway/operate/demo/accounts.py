"""Three counts of the demo's readings that must agree: the broker's, the gateway's ledger, and the records in Kafka."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.operate.simulate.publisher import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.operate.simulate.publisher import Publisher

PARTS = ("delivered", "dead_lettered", "in_flight", "spooled", "dropped")  # of the readings that were received


@dataclass
class Count:
    """What was seen in Kafka."""

    records: Counter[str] = field(default_factory=Counter)  # by topic
    dead_letters: Counter[str] = field(default_factory=Counter)  # by reason

    @property
    def total(self) -> int:
        """Records and dead letters."""
        return self.records.total() + self.dead_letters.total()


class Accounts(NamedTuple):
    """All counts."""

    publisher: Publisher  # counts what was published, and what the broker acknowledged
    kafka: Count
    ledger: dict[str, Any]  # the gateway's last log event `ledger`; {} when there is none
    exit_code: int  # of the gateway
    is_one_each: bool = True  # False when a reading may become several records

    def lines(self) -> Iterator[str]:
        """Write the counts for people."""
        records, dead_letters = self.kafka.records.total(), self.kafka.dead_letters.total()
        yield f"\nPublished readings:\n{summary(self.publisher.sent)}\n\nLedger, in readings:"
        yield _line(
            "published", self.publisher.sent.total(), f"acknowledged by the broker: {self.publisher.acknowledged:,}"
        )
        yield _line("received", self.ledger.get("received", 0))
        yield _line("delivered", self.ledger.get("delivered", 0), f"records in Kafka: {records:,}")
        yield _line("dead letters", self.ledger.get("dead_lettered", 0), f"records in Kafka: {dead_letters:,}")
        for name in PARTS[2:]:
            yield _line(name.replace("_", " "), self.ledger.get(name, 0))
        if dead_letters:
            reasons = ", ".join(f"{reason} {number}" for reason, number in self.kafka.dead_letters.most_common())
            yield f"  reasons of the dead letters: {reasons}"

    def differences(self) -> Iterator[str]:
        """Write a sentence for each count that does not agree."""
        if not self.ledger:
            yield "the gateway wrote no ledger."
            return
        published, acknowledged = self.publisher.sent.total(), self.publisher.acknowledged
        broken = sum(number for (_, defect), number in self.publisher.sent.items() if defect)
        records, dead_letters = self.kafka.records.total(), self.kafka.dead_letters.total()
        delivered, dead_lettered, received = (self.ledger[name] for name in ("delivered", "dead_lettered", "received"))
        if received != (parts := sum(self.ledger[name] for name in PARTS)):
            yield f"{received} readings were received, but {parts} are accounted for."
        if acknowledged != published:
            yield f"the broker acknowledged {acknowledged} of {published} readings."
        if received != acknowledged:
            yield f"the broker acknowledged {acknowledged} readings, the gateway received {received}."
        is_there = delivered == records if self.is_one_each else delivered <= records
        if not is_there or dead_lettered != dead_letters:
            yield f"Kafka has {records} records and {dead_letters} dead letters."
        if (delivered, dead_lettered) != (published - broken, broken):
            yield f"{published - broken} valid and {broken} broken readings were published."
        if self.exit_code:
            yield f"the gateway ended with exit code {self.exit_code}."


def _line(name: str, number: int, note: str = "") -> str:
    return f"  {name:<14} {number:>9,}  {note}".rstrip()


def last_ledger(log: str) -> dict[str, Any]:
    """Find the last event `ledger` in a log of JSON lines; {} when there is none."""
    for line in reversed(log.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("message") == "ledger":
            return event
    return {}
