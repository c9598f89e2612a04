"""The verdict of a fault: what the test's own device was promised, against what a reader outside our code finds.

The left side is the device's: numbers that the broker acknowledged to it. The right side is kcat's: the topic from its
first record to its last, decoded by fastavro with the schema file, nothing of the gateway's between. The third side are
the books that the gateway prints when it stops.

    missing        acknowledged to the device, not in the topic: must be none
    out of order   came for the first time behind a younger one of its key: must be none
    duplicates     records beyond the first of a number: only where a cut fell between Kafka's acknowledgement and ours
    strangers      in the topic, never published: must be none

A number that the device sent and that the broker did not acknowledge may be there or not; it counts for order only.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro

from tests.stack.software import command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

SCHEMA = fastavro.parse_schema(
    json.loads((Path(__file__).parents[2] / "schemas" / "machine_sensor.avsc").read_text(encoding="utf-8"))
)
WIRE_FORMAT_BYTES = 5
KCAT_SECONDS = 120
SHOWN = 10  # numbers that a message lists
COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"


@dataclass(frozen=True)
class Verdict:
    """What a fault did.

    Args:
        promised: how many numbers the broker acknowledged to the device.
        missing: those that Kafka lacks.
        out_of_order: those that came late.
        duplicates: how many records are repeats.
        strangers: numbers that nobody published.
        records: how many records the topic holds.
        books: what is wrong with the gateway's own books; empty when nothing is.
    """

    promised: int
    missing: list[int]
    out_of_order: list[int]
    duplicates: int
    strangers: list[int]
    records: int
    books: str

    @property
    def is_clean(self) -> bool:
        """True when every promise was kept; the test decides on duplicates."""
        return not (self.missing or self.out_of_order or self.strangers or self.books)

    def __str__(self) -> str:
        """One line a figure."""
        return (
            f"promised {self.promised}\n"
            f"missing {_told(self.missing)}\n"
            f"duplicates {self.duplicates}\n"
            f"out of order {_told(self.out_of_order)}\n"
            f"strangers {_told(self.strangers)}\n"
            f"books {self.books or 'balanced'}"
        )


def compare(
    found: list[tuple[bytes, int]], promised: Collection[int], possible: Collection[int], books: str
) -> Verdict:
    """Compare what was promised with what is there.

    Args:
        found: key and number of every record, as `numbers_in` gives them.
        promised: numbers that must be there.
        possible: other numbers that may be there.
        books: what `faults_of_books` found.

    Returns:
        The verdict.
    """
    seen: set[int] = set()
    newest: dict[bytes, int] = defaultdict(lambda: -1)
    late = []
    for key, number in found:
        if number in seen:
            continue
        seen.add(number)
        if number < newest[key]:
            late.append(number)
        newest[key] = max(newest[key], number)
    return Verdict(
        len(promised),
        sorted(set(promised) - seen),
        late,
        len(found) - len(seen),
        sorted(seen - set(promised) - set(possible)),
        len(found),
        books,
    )


def faults_of_books(ledger: dict[str, Any], records: int | None = None, dropped: int | None = 0) -> str:
    """Look for faults in the gateway's own books.

    Args:
        ledger: as it prints them when it stops.
        records: how many records and dead letters Kafka holds; None when a kill -9 cut the books short.
        dropped: how many readings the books may name as dropped; None when any number is right.

    Returns:
        What is wrong, or nothing.
    """
    faults = [] if ledger["balanced"] else ["do not balance"]
    faults += [f"{name} is {ledger[name]} at rest" for name in ("in_flight", "spooled") if ledger[name]]
    if records is not None and ledger["delivered"] + ledger["dead_lettered"] != records:
        faults.append(f"say {ledger['delivered']} + {ledger['dead_lettered']}, Kafka has {records}")
    if dropped is not None and ledger["dropped"] != dropped:
        faults.append(f"name {ledger['dropped']} dropped, not {dropped}")
    return "; ".join(faults)


def numbers_in(bootstrap: str, topic: str) -> list[tuple[bytes, int]]:
    """Read a topic with kcat from its first record to its last.

    Args:
        bootstrap: servers, comma-separated.
        topic: of machine sensors; the number is in `units`.

    Returns:
        Key and number of every record, each partition in its order.
    """
    return [(key, _number(value)) for key, value in _records(read(bootstrap, topic))]


def count_in(bootstrap: str, topic: str, isolation: str = COMMITTED) -> int:
    """Count the records of any topic with kcat."""
    return sum(1 for _ in _records(read(bootstrap, topic, isolation)))


def read(bootstrap: str, topic: str, isolation: str = COMMITTED) -> bytes:
    """Let kcat print a whole topic: length of key and value before each."""
    form = ("-X", f"isolation.level={isolation}", "-o", "beginning", "-e", "-f", "%K %S %k%s")
    outcome = subprocess.run(
        [command("kcat", "kcat"), "-C", "-q", "-b", bootstrap, "-t", topic, *form],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=KCAT_SECONDS, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, f"kcat failed:\n{outcome.stderr.decode(errors='replace')[-3000:]}"
    return outcome.stdout


def _records(printed: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(printed):
        lengths = []
        for _ in range(2):
            end = printed.index(b" ", at)
            lengths.append(max(0, int(printed[at:end])))  # -1: null
            at = end + 1
        key, value = lengths
        yield printed[at : at + key], printed[at + key : at + key + value]
        at += key + value


def _number(value: bytes) -> int:
    record = fastavro.schemaless_reader(io.BytesIO(value[WIRE_FORMAT_BYTES:]), SCHEMA, None)
    assert isinstance(record, dict), "the schema is a record's"
    return int(record["units"])


def _told(numbers: list[int]) -> str:
    if not numbers:
        return "0"
    more = ", ..." if len(numbers) > SHOWN else ""
    return f"{len(numbers)}: {', '.join(map(str, numbers[:SHOWN]))}{more}"
