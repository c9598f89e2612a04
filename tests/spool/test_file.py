"""The spool's file: its lock, its format, and damage of every kind when it is opened."""

from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from gateway.core.gateway_clock import GatewayClock
from gateway.core.reading import Reading
from gateway.errors import ConfigurationError, SpoolTakenError
from gateway.spool.file import DiskBrokenError, DiskFullError, SpoolFile

FORMAT_1 = """
CREATE TABLE readings (
  offset INTEGER PRIMARY KEY, stream TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  received_at INTEGER NOT NULL, flags INTEGER NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
CREATE INDEX by_stream ON readings (stream, offset);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
PRAGMA journal_mode = WAL;
BEGIN;
INSERT INTO facts VALUES ('format', '1'), ('next_offset', '10'), ('ledger', '{"a": {"received": 9}}');
-- The checksum of format 1 is the CRC-32 of topic and payload: here of "t/1" and "21.5", "t/2" and "22.0".
INSERT INTO readings VALUES (3, 'a', x'742f31', x'32312e35', 1700000000001, 1, 4, x'', 3452927761);
INSERT INTO readings VALUES (4, 'a', x'742f32', x'32322e30', 1700000000002, 5, 4, x'', 4165160727);
COMMIT;
"""
# What a gateway with format 2 wrote; its checksum covers the whole row.
FORMAT_2 = (
    FORMAT_1.replace("('format', '1')", "('format', '2')")
    .replace("3452927761", "4145486957")
    .replace("4165160727", "3879708944")
)
# What a gateway with format 3 wrote; it has properties.
FORMAT_3 = (
    FORMAT_2.replace("('format', '2')", "('format', '3')")
    .replace("crc INTEGER NOT NULL\n", "crc INTEGER NOT NULL, properties BLOB NOT NULL DEFAULT x''\n")
    .replace("4145486957)", "4145486957, x'')")
    .replace("3879708944)", "3879708944, x'')")
)
# What a gateway with format 4 wrote; it has boot and uptime.
FORMAT_4 = (
    FORMAT_3.replace("('format', '3')", "('format', '4')")
    .replace("DEFAULT x''\n", "DEFAULT x'', boot BLOB NOT NULL DEFAULT x'', uptime INTEGER NOT NULL DEFAULT 0\n")
    .replace("4145486957, x'')", "4145486957, x'', x'', 0)")
    .replace("3879708944, x'')", "3879708944, x'', x'', 0)")
)
FORMAT_5 = FORMAT_4.replace("('format', '4')", "('format', '5')")  # sessions have another form in format 6
FIRST = Reading("a", b"t/1", b"21.5", 1_700_000_000_001, 1, size=4)
SECOND = Reading("a", b"t/2", b"22.0", 1_700_000_000_002, 1, retain=True, size=4)
CARRYING = Reading("a", b"t/3", b"23.5", 1_700_000_000_003, 1, properties=b"\x26\0\1a\0\1b")
MANY = 2**40
IMPORTS = """
import os, sys
from pathlib import Path
from gateway.core.reading import Reading
from gateway.spool.file import SpoolFile
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a path for the file."""
    return tmp_path / "spool.db"


def readings(file: SpoolFile) -> dict[int, Reading]:
    return {offset: each for stream in file.backlogs for offset, each, _ in file.read(stream, 0, MANY, MANY)[0]}


def store(path: Path, *entries: Reading, first: int = 0) -> None:
    with SpoolFile(path) as file:
        file.write(enumerate(entries, first), (), {}, first + len(entries))


def kill_after(path: Path, statement: str) -> None:
    """Run a statement on the opened `file` in a process that is then killed as by a power cut."""
    script = f"{IMPORTS}path = Path(sys.argv[1]); {statement}; os.kill(os.getpid(), 9)"
    ended = subprocess.run([sys.executable, "-c", script, path], check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL


def test_open_refuses_a_second_process(path: Path) -> None:
    """One process per spool: the second gets the process id of the owner."""
    with SpoolFile(path), pytest.raises(SpoolTakenError, match=r"Process \d+ holds the spool"):
        SpoolFile(path)
    SpoolFile(path).close()


def test_open_refuses_a_newer_format(path: Path) -> None:
    """A file that a newer version wrote is left alone."""
    SpoolFile(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE facts SET value = '99' WHERE name = 'format'")
    database.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        SpoolFile(path)


def test_open_names_a_folder_that_is_not_there(path: Path) -> None:
    """The operator must create a missing folder; the error gives the command."""
    with pytest.raises(ConfigurationError, match="install -d"):
        SpoolFile(path.parent / "nowhere" / "spool.db")


@pytest.fixture(params=["1", "2", "3", "4", "5"])
def older(request: pytest.FixtureRequest, path: Path) -> str:
    """Build a file of an older format, and give its number."""
    with closing(sqlite3.connect(path)) as database:
        formats = {"1": FORMAT_1, "2": FORMAT_2, "3": FORMAT_3, "4": FORMAT_4, "5": FORMAT_5}
        database.executescript(formats[request.param])
    return str(request.param)


def test_open_upgrades_an_older_format_after_a_copy(path: Path, older: str) -> None:
    """The file keeps its readings and books; a copy in the old format is kept beside it."""
    with SpoolFile(path) as file:
        assert readings(file) == {3: FIRST, 4: SECOND}
        assert (file.next_offset, file.ledger) == (10, {"a": {"received": 9}})
    backup = path.with_name(f"spool.db.format-{older}.bak")
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT value FROM facts WHERE name = 'format'").fetchone() == (older,)
        assert copy.execute("SELECT count(*) FROM readings").fetchone() == (2,)
    assert backup.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("older")
def test_write_adds_to_an_upgraded_file(path: Path) -> None:
    """Readings with properties stand beside those that an older version wrote, after another start as well."""
    store(path, CARRYING, first=10)
    with SpoolFile(path) as file:
        assert readings(file) == {3: FIRST, 4: SECOND, 10: CARRYING}


@pytest.mark.usefixtures("older")
def test_open_salvages_a_damaged_file_that_was_upgraded(path: Path) -> None:
    """Rows of the older format are some values shorter; they are found without SQLite, too."""
    store(path, CARRYING, first=10)
    with path.open("r+b") as file:
        file.write(bytes(100))
    with SpoolFile(path) as spool:
        assert readings(spool) == {3: FIRST, 4: SECOND, 10: CARRYING}


def test_open_upgrades_after_it_was_killed_between_copy_and_commit(path: Path, older: str) -> None:
    """Killed during the upgrade, the old file is unchanged, and the next start upgrades it."""
    kill_after(path, f"SpoolFile(path, {{{older}: lambda _: os.kill(os.getpid(), 9)}})")
    assert path.with_name(f"spool.db.format-{older}.bak").exists()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT value FROM facts WHERE name = 'format'").fetchone() == (older,)
    with SpoolFile(path) as file:
        assert readings(file) == {3: FIRST, 4: SECOND}


@pytest.mark.usefixtures("older")
def test_open_salvages_a_damaged_file_of_an_older_format(path: Path) -> None:
    """A damaged file of an older format gives its readings to a new one of today's."""
    with path.open("r+b") as file:
        file.write(bytes(100))
    with SpoolFile(path) as spool:
        assert readings(spool) == {3: FIRST, 4: SECOND}


def test_open_reports_an_older_copy(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The readings of the copy are sent, and an error names the offsets that are missing. They are not used again."""
    store(path, FIRST)
    shutil.copy(path, path.with_name("copy"))
    store(path, SECOND, first=1)
    shutil.copy(path.with_name("copy"), path)
    with SpoolFile(path) as file:
        assert readings(file) == {0: FIRST}
        assert file.next_offset == 2
    assert [(record.levelno, record.__dict__["first"], record.__dict__["last"]) for record in caplog.records] == [
        (logging.ERROR, 1, 1)
    ]
    assert "older copy" in caplog.text


def test_open_reports_a_missing_wal(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After `kill -9` and the loss of the -wal file, the spool opens, and the log says what may be lost."""
    store(path, FIRST)
    kill_after(path, "f = SpoolFile(path); f.write([(1, Reading('a', b't', b'1', 1))], (), {}, 2)")
    path.with_name("spool.db-wal").unlink()
    with SpoolFile(path) as file:
        assert readings(file) == {0: FIRST}
    assert "-wal file is missing" in caplog.text


def test_open_reports_nothing_of_a_file_that_was_never_written(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A start that failed leaves such a file: SQLite has closed it in order, and no reading can be missing."""
    SpoolFile(path)._release()  # noqa: SLF001 - an end without the note of the process
    assert path.exists()
    assert not path.with_name("spool.db-wal").exists()
    with SpoolFile(path) as file:
        assert readings(file) == {}
    assert not caplog.records


def test_open_reports_nothing_after_a_kill(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A kill -9 or a power cut is no damage: nothing is set aside, nothing is alarmed."""
    kill_after(path, "f = SpoolFile(path); f.write([(1, Reading('a', b't', b'1', 1))], (), {}, 2)")
    with SpoolFile(path) as file:
        assert list(readings(file)) == [1]
    assert not caplog.records
    assert not path.with_name("spool.db.bad-1").exists()


def test_open_saves_the_rows_behind_a_damaged_frame_of_the_wal(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite would silently ignore all commits from the damaged one on."""
    script = "[f.write([(n, Reading('a', b't', b'%d' % n, 1))], (), {}, n + 1) for n in range(100)]"
    kill_after(path, f"f = SpoolFile(path); {script}")
    with path.with_name("spool.db-wal").open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xff" * 10)
    with SpoolFile(path) as spool:
        assert list(readings(spool)) == list(range(100))
    assert "its -wal file is damaged" in str([record.__dict__.get("detail") for record in caplog.records])


def test_read_raises_at_a_damaged_reading(path: Path) -> None:
    """A bit flipped inside a value is detected; the file is set aside and intact rows go into a new one."""
    store(path, FIRST, SECOND)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE readings SET received_at = received_at + 1 WHERE offset = 1")
    with SpoolFile(path) as file:
        with pytest.raises(DiskBrokenError, match="offset 1"):
            file.read("a", 0, MANY, MANY)
        file.replace_file("damaged")
        assert readings(file) == {0: FIRST}
    assert path.with_name("spool.db.bad-1").exists()


def test_replace_file_leaves_out_settled_rows(path: Path) -> None:
    """Rows that the owner knows to be settled do not return."""
    store(path, FIRST, SECOND)
    with SpoolFile(path) as file:
        file.replace_file("a test", lambda offset, _stream: offset > 0)
        assert readings(file) == {1: SECOND}


def test_write_can_be_repeated_after_another_program_locked_the_file(path: Path) -> None:
    """An open transaction of another program is not damage."""
    with SpoolFile(path) as file, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DiskFullError, match="locked"):
            file.write([(0, FIRST)], (), {}, 1)
        other.execute("ROLLBACK")
        file.write([(0, FIRST)], (), {}, 1)
        assert file.read("a", 0, MANY, MANY)[0] == [(0, FIRST, True)]


def test_open_refuses_a_file_that_it_may_not_open(path: Path) -> None:
    """A path that is not a file is an error for the operator; it is not renamed as a damaged file would be."""
    path.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        SpoolFile(path)
    assert path.is_dir()


BOOT, LATER = b"b" * 16, b"l" * 16
PAST, SET = 1_451_606_400_000, 1_764_460_800_000  # 2016-01-01, and today


def clock(boot: bytes, now: int, uptime: int, *, is_synchronised: bool = False) -> GatewayClock:
    made = GatewayClock(boot, lambda: (now, uptime))
    made.is_synchronised = is_synchronised
    return made


@pytest.mark.parametrize("is_synchronised", [False, True])
def test_read_dates_the_readings_of_a_boot_by_the_clock_that_it_had_in_the_end(
    path: Path,
    is_synchronised: bool,  # noqa: FBT001 - the columns of the table
) -> None:
    """Written in 2016; read after the clock was set, in the same boot, and in a later one."""
    with SpoolFile(path, clock=clock(BOOT, PAST, 9_000)) as file:
        file.write([(0, structs.replace(FIRST, received_at=PAST - 2_000))], (), {}, 1)
    now = SET if is_synchronised else PAST
    with SpoolFile(path, clock=clock(BOOT, now + 60_000, 69_000, is_synchronised=is_synchronised)) as file:
        ((_, reading, is_earlier),) = file.read("a", 0, MANY, MANY)[0]
        assert (reading, is_earlier) == (structs.replace(FIRST, received_at=now - 2_000), False)
        assert file.backlogs["a"].since == now - 2_000
        file.write([], (), {}, 1)
    with SpoolFile(path, clock=clock(LATER, SET + 90_000, 1_000)) as file:
        ((_, reading, is_earlier),) = file.read("a", 0, MANY, MANY)[0]
        assert (reading.received_at, reading.is_unsynchronised) == (now - 2_000, not is_synchronised)
        assert is_earlier


def test_read_takes_the_row_as_it_is_without_the_clock_of_its_boot(path: Path) -> None:
    """Its fact is damaged: what the row says of its time counts."""
    with SpoolFile(path, clock=clock(BOOT, PAST, 9_000)) as file:
        file.write([(0, FIRST)], (), {}, 1)
    with closing(sqlite3.connect(path)) as database:
        for damaged in ('{"zz": 1}', "[]", '{"00": [1]}', '{"00": ["x", true]}', "nothing"):
            database.execute("UPDATE facts SET value = ? WHERE name = 'clock'", (damaged,))
            database.commit()
            with SpoolFile(path, clock=clock(LATER, SET, 1_000)) as file:
                expected = (0, structs.replace(FIRST, is_unsynchronised=True), True)
                assert file.read("a", 0, MANY, MANY)[0] == [expected], damaged
