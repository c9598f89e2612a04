"""What is known of counters, from one process to the next, with a real spool file."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from gateway.bridge.quarantine import SAVE_SECONDS, Quarantine
from gateway.core.counters import CounterMonitor
from gateway.core.entry import Entry
from gateway.core.ledger import Ledger
from gateway.core.reading import Reading, Reason
from gateway.core.stream_transform import transform_of
from gateway.spool.file import SpoolFile
from gateway.spool.spool import Policy, Spool
from tests.contract_values import record, stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.core.counters import CounterFigure
    from gateway.core.reading import DeadLetter

METERS = stream(
    "meters", record(("key", "string"), {"name": "total", "type": "long", "x-counter": {"most": 36_000}}),
    address="m/{key}", keys=("/key",), locations={"key": "/key"},
)  # fmt: skip
TRANSFORM = transform_of(METERS, [1], 900_000)
START = 1_767_592_800_000


class Process:
    """A process with its spool, which ends without a word when the test leaves it."""

    def __init__(self, path: Path) -> None:
        self.file = SpoolFile(path)
        self.spool = Spool(Policy(2**20), Ledger(["meters"]), self.file)
        self.counted: Counter[CounterFigure] = Counter()
        self.monitor = CounterMonitor(METERS, self.counted)
        self.quarantine = Quarantine({"meters": self.monitor}, self.spool)

    def entry(self, total: int, seconds: int) -> Entry:
        """Let a reading come."""
        reading = Reading("meters", b"m/a", json.dumps({"total": total}).encode(), START + 1_000 * seconds)
        entry = Entry(reading, None, 0)
        self.spool.append([entry], 0.0)
        return entry

    def check(self, *entries: Entry) -> dict[int, DeadLetter]:
        """Compare readings."""
        made: Sequence[Any] = TRANSFORM.transform_all([entry.reading for entry in entries]).records
        return self.quarantine.check("meters", entries, made, 0.0)

    def settle(self, *entries: Entry) -> None:
        """Let Kafka have them."""
        self.spool.settle([*entries])
        self.quarantine.settle(entries)
        self.spool.acknowledge_safe()

    def facts(self) -> dict[str, str]:
        """What is in the file besides the ledger."""
        return {name: text for name, text in _facts(self.file).items() if "/" in name}

    def kill(self) -> None:
        """End as a process that was killed."""
        self.file._release()  # noqa: SLF001 - nothing is written then


def _facts(file: SpoolFile) -> dict[str, str]:
    assert file._database is not None  # noqa: SLF001 - the test looks at what is on disk
    return dict(file._database.execute("SELECT name, value FROM facts"))  # noqa: SLF001 - as above


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def test_a_restart_continues(path: Path) -> None:
    first = Process(path)
    entry = first.entry(1_000, 0)
    assert first.check(entry) == {}
    first.settle(entry)
    first.quarantine.save()
    first.spool.close(0.0)
    second = Process(path)
    assert second.check(second.entry(3, 10))[0].reason is Reason.FELL


def test_what_is_known_is_written_once_a_minute_and_only_if_it_changed(path: Path) -> None:
    process = Process(path)
    process.quarantine.save_due(0.0)
    assert process.facts() == {}
    entry = process.entry(1_000, 0)
    process.check(entry)
    process.settle(entry)
    process.quarantine.save_due(SAVE_SECONDS - 1)
    assert process.facts() == {}
    process.quarantine.save_due(SAVE_SECONDS)
    (written,) = process.facts().values()
    process.quarantine.save_due(2 * SAVE_SECONDS)
    assert process.facts() == {"counters/meters": written}


def test_a_reset_is_written_within_a_second(path: Path) -> None:
    """Else a process that is killed would refuse the counter until it is confirmed once more."""
    first = Process(path)
    first.quarantine.save_due(0.0)
    entries = [first.entry(total, 10 * number) for number, total in enumerate((1_000, 3, 4, 5, 6, 7, 8, 9, 10))]
    assert [*first.check(*entries)] == [1, 2, 3, 4, 5, 6]
    first.settle(*entries)
    first.quarantine.save_due(0.5)
    assert first.facts() == {}
    first.quarantine.save_due(1.0)
    first.kill()
    second = Process(path)
    assert second.check(second.entry(11, 90)) == {}


def test_what_is_written_is_of_a_moment_when_all_was_safe(path: Path) -> None:
    """A reading that is not safe comes again, so the base must not be of a later one."""
    process = Process(path)
    old = process.entry(1_000, 0)
    process.check(old)
    process.settle(old)
    new = process.entry(1_050, 10)
    process.check(new)
    process.quarantine.save_due(SAVE_SECONDS)
    assert process.facts() == {}, "the second one is in flight"
    process.settle(new)
    process.quarantine.save_due(SAVE_SECONDS + 1)
    assert process.facts().keys() == {"counters/meters"}


def test_a_quarantined_reading_stays_so_when_the_process_is_killed(path: Path) -> None:
    """Its row on disk is not compared again, though the base from before would take it."""
    first = Process(path)
    entries = [first.entry(total, seconds) for total, seconds in ((1_000, 0), (1_050, 10), (1_020, 20))]
    assert [*first.check(*entries)] == [2]
    first.spool.persist(0.0)
    assert first.facts().keys() == {"quarantined/2"}
    first.kill()
    second = Process(path)
    rows, _ = second.file.read("meters", 0, 9, 2**20)
    back = [Entry(reading, None, 0, offset, is_stored=True) for offset, reading, *_ in rows]
    assert second.check(*back[2:])[0].reason is Reason.FELL
    assert second.quarantine.dead_letter(back[2])
    assert second.counted == {"fell": 0, "jumped": 0, "resets": 0, "swaps": 0, "forgotten": 0}, "it was counted before"
    assert second.check(*back) == {2: second.quarantine.dead_letter(back[2])}
    second.settle(back[2])
    second.spool.write_notes(0.0)
    assert second.facts() == {}


def test_a_reading_on_disk_is_noted_before_its_dead_letter_is_sent(path: Path) -> None:
    process = Process(path)
    entries = [process.entry(total, seconds) for total, seconds in ((1_000, 0), (3, 10))]
    process.spool.persist(0.0)
    assert process.facts() == {}
    process.check(*entries)
    assert process.facts().keys() == {"quarantined/1"}
    assert json.loads(process.facts()["quarantined/1"])["pointer"] == "/total"


def test_a_note_of_a_reading_that_is_gone_is_deleted(path: Path) -> None:
    """It was settled after the note was written, and before the process was killed."""
    first = Process(path)
    first.check(first.entry(1_000, 0), first.entry(3, 10))
    first.spool.write_notes(0.0)
    assert first.facts().keys() == {"quarantined/1"}
    first.kill()
    second = Process(path)
    second.spool.write_notes(0.0)
    assert second.facts() == {}


def test_readings_up_to_what_is_known_are_good_unless_noted(path: Path) -> None:
    """They were compared before the end, and wait on disk for Kafka."""
    first = Process(path)
    entries = [first.entry(total, seconds) for total, seconds in ((1_000, 0), (1_050, 10), (3, 20), (1_100, 30))]
    assert [*first.check(*entries)] == [2]
    first.quarantine.save()
    first.spool.close(0.0)
    second = Process(path)
    rows, _ = second.file.read("meters", 0, 9, 2**20)
    assert [*second.check(*(Entry(reading, None, 0, offset, is_stored=True) for offset, reading, *_ in rows))] == [2]
    assert second.check(second.entry(1_150, 40)) == {}


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"until": 4}'])
def test_a_damaged_note_is_reported_and_begins_again(path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    first = Process(path)
    first.spool.note("counters/meters", text)
    first.spool.note("quarantined/x", "{}")
    first.spool.note("counters/of another stream", text)
    first.spool.write_notes(0.0)
    first.kill()
    second = Process(path)
    assert caplog.text.count("The saved state of counters is damaged") == 2
    assert second.check(second.entry(3, 0)) == {}


def test_offsets_that_come_again_are_compared(path: Path) -> None:
    """As in a damaged file, whose ledger was lost."""
    first = Process(path)
    entries = [first.entry(total, 10 * number) for number, total in enumerate((1_000, 1_010, 1_020))]
    first.check(*entries)
    first.settle(*entries)
    first.quarantine.save()
    first.spool.close(0.0)
    with SpoolFile(path) as file:
        file.write([], [], {}, 0)
    (path.parent / "spool.db.lock").unlink()
    second = Process(path)
    assert second.check(second.entry(3, 40))[0].reason is Reason.FELL
