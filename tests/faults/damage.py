"""Spools damaged in every way, by a seed: each must open, keep what was damaged aside, and give back what is readable.

    python -m tests.faults.damage --count 500 --seed 1

What must come back is found without the gateway's code: a row is readable when the sound spool had it and the bytes of
its whole cell (id, header, values, checksum) stand somewhere in the damaged files. Two exceptions:

    cut    the last commit of a damaged -wal: it looks like one that a power cut ended before its fsync
    late   damage in the main file that does not show when it is opened: until it does, SQLite has written over what was
           left in its log from before, so only what stands there after the opening counts

A row that was deleted may come back; one that never was must not.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from gateway.core.reading import Reading
from gateway.spool.file import DiskBrokenError, SpoolFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAMS = ("meter", "factory", "doors")
LIMIT_SECONDS = 10.0
PAGE = 4096
MIDDLE = 2**62
PAYLOAD = re.compile(rb'\{"n":(\d+),')  # the beginning of every payload: it names its offset


class Verdict(NamedTuple):
    """What became of one damaged spool.

    Args:
        story: state and damage.
        rows: in the sound spool.
        readable: of them, those whose bytes are still there.
        saved: rows that the gateway found.
        back: of the saved, those that had been deleted.
        cut: rows of the last commit of a damaged -wal that were not found.
        missing: offsets that are readable and were not found; must be none.
        strangers: offsets that were found and never written so; must be none.
        seconds: until it was open.
        was_set_aside: True when the damaged files were kept under another name.
    """

    story: str
    rows: int
    readable: int
    saved: int
    back: int
    cut: int
    missing: list[int]
    strangers: list[int]
    seconds: float
    was_set_aside: bool

    @property
    def is_clean(self) -> bool:
        """True when the promises hold."""
        return not self.missing and not self.strangers and self.seconds < LIMIT_SECONDS


def reading(chance: random.Random, offset: int) -> Reading:
    """Make one up, small or large; the payload names its offset, so each differs from all others."""
    size = chance.choices((10, 100, 400, 5_000, 30_000), (3, 10, 5, 0.3, 0.1))[0]
    payload = b'{"n":%d,"v":"%s"}' % (offset, chance.randbytes(size // 2).hex().encode())
    topic = b"site/%d" % chance.randrange(50)
    sha256 = chance.randbytes(32) if chance.random() < 0.05 else b""
    properties = chance.randbytes(chance.choice((20, 300))) if chance.random() < 0.3 else b""
    stream, at, qos = chance.choice(STREAMS), 1_700_000_000_000 + offset, chance.randrange(2)
    return Reading(stream, topic, payload, at, qos, size=size, sha256=sha256, properties=properties)


def history(seed: int) -> Iterator[tuple[dict[int, Reading], list[int]]]:
    """Tell what a spool went through, commit by commit: rows written and offsets deleted."""
    chance = random.Random(seed)
    held: list[int] = []
    offset = chance.choice((0, 100, 1_000_000, 2**33))
    for _ in range(chance.randint(2, 40)):
        count = chance.choice((1, 10, 100, 400))
        batch = {number: reading(chance, number) for number in range(offset, offset + count)}
        offset += count
        held += batch
        deleted = held[: chance.randrange(len(held))] if chance.random() < 0.3 else []
        deleted += [number for number in held[len(deleted) :] if chance.random() < 0.02]
        yield batch, deleted
        gone = set(deleted)
        held = [number for number in held if number not in gone]


class Built(NamedTuple):
    """What a history leaves.

    Args:
        written: every row that ever was.
        live: those that were not deleted.
        cells: bytes of the live ones.
    """

    written: dict[int, Reading]
    live: dict[int, Reading]
    cells: dict[int, list[bytes]]


@lru_cache(maxsize=1)  # a spool is damaged many times before the next is built
def built_by(seed: int) -> Built:
    """Go through a history."""
    written: dict[int, Reading] = {}
    live: dict[int, Reading] = {}
    for batch, deleted in history(seed):
        written |= batch
        live |= batch
        for offset in deleted:
            del live[offset]
    return Built(written, live, {offset: cell_bytes(offset, entry) for offset, entry in live.items()})


def write(path: Path, seed: int) -> None:
    """Write a whole history into a spool, and then wait to be killed, when this process is `--writer`."""
    file = SpoolFile(path)
    for batch, deleted in history(seed):
        file.write(batch.items(), deleted, {"meter": {"received": max(batch)}}, max(batch) + 1)
    if "--writer" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    file.close()


def build(path: Path, seed: int, *, is_live: bool) -> None:
    """Build a spool: closed cleanly, or with a live -wal because its process was killed."""
    if is_live:
        command = [sys.executable, "-m", "tests.faults.damage", "--writer", str(path), "--seed", str(seed)]
        subprocess.run(command, check=False)
    else:
        write(path, seed)


# --- damage ----------------------------------------------------------------------------------------------------------

Damage = dict[str, "Callable[[bytearray, random.Random], bytes | bytearray | None]"]


def _over(data: bytearray, at: int, piece: bytes) -> bytearray:
    data[at : at + len(piece)] = piece[: max(0, len(data) - at)]
    return data


def _flip(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 5, 50))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _a_page(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(-(-len(data) // PAGE)) * PAGE


MAIN: Damage = {
    "truncated": lambda data, chance: data[: chance.randrange(len(data))],
    "random bytes": lambda data, chance: _over(data, chance.randrange(len(data)), chance.randbytes(200)),
    "zeroed page": lambda data, chance: _over(data, _a_page(data, chance), bytes(PAGE)),
    "random page": lambda data, chance: _over(data, _a_page(data, chance), chance.randbytes(PAGE)),
    "page header destroyed": lambda data, chance: _over(data, _a_page(data, chance), chance.randbytes(12)),
    "flipped bits": _flip,
    "header destroyed": lambda data, chance: _over(data, 0, chance.randbytes(100)),
    "first pages destroyed": lambda data, chance: _over(data, 0, bytes(PAGE * chance.randint(1, 8))),
    "every tenth page": lambda data, chance: _each(data, chance, 10),
    "emptied": lambda _data, _chance: b"",
}
WAL: Damage = {
    "-wal missing": lambda _data, _chance: None,
    "-wal flipped bits": _flip,
    "-wal random bytes": lambda data, chance: _over(data, chance.randrange(len(data)), chance.randbytes(200)),
    "-wal header destroyed": lambda data, chance: _over(data, 0, chance.randbytes(32)),
}
WAYS = (*MAIN, *WAL, "-wal truncated", "-wal alone", "-shm garbage", "main and -wal")


def _each(data: bytearray, chance: random.Random, step: int) -> bytearray:
    for at in range(chance.randrange(step) * PAGE, len(data), step * PAGE):
        _over(data, at, chance.randbytes(PAGE))
    return data


def damage(path: Path, way: str, chance: random.Random) -> None:
    """Do one kind of damage to a spool's files."""
    log = path.with_name(path.name + "-wal")
    if way in MAIN:
        _replace(path, MAIN[way], chance)
    elif way in WAL:
        _replace(log, WAL[way], chance)
    elif way == "-wal truncated":
        _replace(log, MAIN["truncated"], chance)
    elif way == "-wal alone":
        path.unlink()
    elif way == "-shm garbage":
        path.with_name(path.name + "-shm").write_bytes(chance.randbytes(32_768))
    else:
        _replace(path, MAIN[chance.choice(list(MAIN))], chance)
        _replace(log, WAL[chance.choice(list(WAL))], chance)


def _replace(path: Path, change: Callable[[bytearray, random.Random], bytes | bytearray | None],
             chance: random.Random) -> None:  # fmt: skip
    if not path.exists() or not (data := bytearray(path.read_bytes())):
        return
    changed = change(data, chance)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)


# --- verdict ---------------------------------------------------------------------------------------------------------


def cell_bytes(offset: int, entry: Reading) -> list[bytes]:
    """Write a row's cell in SQLite's format, apart from the gateway's reader; in pieces where it overflows."""
    lengths = f"{len(entry.topic)} {len(entry.properties)}" if entry.properties else f"{len(entry.topic)}"
    numbers = f"{offset} {entry.stream} {lengths} {entry.received_at} {entry.qos} {entry.size} ".encode()
    crc = crc32(numbers + entry.sha256 + entry.topic + entry.properties + entry.payload)
    values = (None, entry.stream, entry.topic, entry.payload, entry.received_at, entry.qos, entry.size, entry.sha256,
              crc, entry.properties, b"", 0)  # fmt: skip
    types, body = zip(*map(_stored, values), strict=True)
    header = b"".join(map(_varint, types))
    record = _varint(len(header) + 1) + header + b"".join(body)
    prefix = _varint(len(record)) + _varint(offset)
    if len(record) <= PAGE - 35:
        return [prefix + record]
    local = 489 + (len(record) - 489) % (PAGE - 4)
    local = local if local <= PAGE - 35 else 489
    rest = record[local:]
    return [prefix + record[:local], *(rest[at : at + PAGE - 4] for at in range(0, len(rest), PAGE - 4))]


def _stored(value: str | bytes | int | None) -> tuple[int, bytes]:
    if value is None:
        return 0, b""
    if isinstance(value, int):
        if value in {0, 1}:
            return 8 + value, b""
        kind, size = next(
            (k, n) for k, n in enumerate((1, 2, 3, 4, 6, 8), 1) if -(1 << 8 * n - 1) <= value < 1 << 8 * n - 1
        )
        return kind, value.to_bytes(size, signed=True)
    data = value.encode() if isinstance(value, str) else value
    return 12 + isinstance(value, str) + 2 * len(data), data


def _varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def drain(path: Path) -> dict[int, Reading]:
    """Read everything as the gateway does, with a new file when a page turns out to be damaged."""
    while True:
        try:
            with SpoolFile(path) as file:
                try:
                    return _all_of(file)
                except DiskBrokenError as error:
                    file.replace_file(str(error))
        except sqlite3.DatabaseError as error:
            raise AssertionError(f"it does not open: {error}") from error


def _all_of(file: SpoolFile) -> dict[int, Reading]:
    found: dict[int, Reading] = {}
    for stream in file.backlogs:
        rows, _ = file.read(stream, 0, MIDDLE, MIDDLE)
        found |= {offset: each for offset, each, _ in rows}
    return found


def try_one(folder: Path, seed: int, sound: Path, story: str, way: str) -> Verdict:
    """Damage a copy of a spool and check how the gateway continues.

    Args:
        folder: for the copy; emptied afterwards.
        seed: of the damage.
        sound: the spool.
        story: how it was built; its last word is the seed of its history.
        way: the damage.
    """
    path = folder / "spool.db"
    for suffix in ("", "-wal", "-shm", ".lock"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(f"{sound}{suffix}", f"{path}{suffix}")
    seed_of_history = int(story.rsplit(maxsplit=1)[-1])
    written, live, cells = built_by(seed_of_history)
    damage(path, way, random.Random(seed))
    readable = _readable(path, cells)
    started = time.monotonic()
    SpoolFile(path).close()
    seconds = time.monotonic() - started
    was_set_aside = path.with_name("spool.db.bad-1").exists()
    if way in MAIN and not was_set_aside:
        readable &= _readable(path, cells)
    found = drain(path)
    strangers = [offset for offset, entry in found.items() if written.get(offset) != entry]
    missing = readable - found.keys()
    cut = missing & _last_commit_of(missing, seed_of_history) if "-wal" in way else set()
    verdict = Verdict(
        f"{story}, {way}, damage {seed}", len(live), len(readable), len(found), len(found.keys() - live.keys()),
        len(cut), sorted(missing - cut), strangers, seconds, was_set_aside,
    )  # fmt: skip
    for file in folder.iterdir():
        file.unlink()
    return verdict


def _readable(path: Path, cells: dict[int, list[bytes]]) -> set[int]:
    raw = b"".join(file.read_bytes() for file in (path, Path(f"{path}-wal")) if file.exists())
    places = defaultdict(list)
    for payload in PAYLOAD.finditer(raw):
        places[int(payload[1])].append(payload.start())

    def is_whole(offset: int, first: bytes, *overflow: bytes) -> bool:
        before = first.index(b'{"n":')
        stands = any(raw.startswith(first, at - before) for at in places[offset] if at >= before)
        return stands and all(piece in raw for piece in overflow)

    return {offset for offset, pieces in cells.items() if is_whole(offset, *pieces)}


def _last_commit_of(offsets: set[int], built: int) -> set[int]:
    batches = [set(batch) for batch, _ in history(built)]
    return next((batch for batch in reversed(batches) if batch & offsets), set())


def run(folder: Path, count: int, seed: int, copies: int = 10) -> Iterator[Verdict]:
    """Damage so many spools; each that is built is damaged several times.

    Args:
        folder: for the files.
        count: of damaged copies.
        seed: decides everything.
        copies: damaged of each spool.
    """
    chance = random.Random(seed)
    (damaged := folder / "damaged").mkdir()
    for number in range(count):
        if number % copies == 0:
            built, is_live = chance.randrange(2**32), chance.random() < 0.6
            sound = folder / f"{number}.db"
            build(sound, built, is_live=is_live)
            story = f"{'killed' if is_live else 'closed'} {built}"
        yield try_one(damaged, chance.randrange(2**32), sound, story, WAYS[number % len(WAYS)])


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program for people


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.writer:
        write(given.writer, given.seed)
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        verdicts = []
        for verdict in run(Path(folder), given.count, given.seed):
            verdicts.append(verdict)
            if not verdict.is_clean:
                _tell(f"{verdict.story}: missing {verdict.missing[:5]}, strangers {verdict.strangers[:5]}, "
                      f"readable {verdict.readable}, {verdict.seconds:.1f} s")  # fmt: skip
    broken = sum(not verdict.is_clean for verdict in verdicts)
    _tell(f"{len(verdicts)} damaged spools, {sum(each.was_set_aside for each in verdicts)} set aside when opened")
    _tell(f"slowest start {max(each.seconds for each in verdicts):.2f} s")
    _tell(f"{sum(each.rows for each in verdicts)} rows, {sum(each.readable for each in verdicts)} of them readable")
    _tell(f"{sum(len(each.missing) for each in verdicts)} missing, {sum(each.cut for each in verdicts)} cut off")
    _tell(f"{sum(len(each.strangers) for each in verdicts)} strangers, {sum(each.back for each in verdicts)} back")
    _tell(f"{broken} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
