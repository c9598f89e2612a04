"""The folder of the spool: is there room, is it fast, does it last, and who else can get at it.

Speed is measured with a file of our own that has no name (`O_TMPFILE` where the file system knows it), so that nothing
is left whatever happens.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.operate.doctor.diagnosis import Diagnosis, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLACE = "disk"
SYNCS = 9
SLOW_SECONDS = 0.05
PAGE = b"\0" * 4_096
MOUNTS = Path("/proc/self/mountinfo")
FORGETFUL = {"tmpfs", "ramfs"}
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"}


def examine(spool: Path, limit_bytes: int, mounts: str | None = None) -> Iterator[Diagnosis]:
    """Look at the folder of a spool.

    Args:
        spool: the file, which need not be there yet.
        limit_bytes: how large it may get.
        mounts: text of the kernel's table of mounts, instead of this process's.
    """
    folder = spool.absolute().parent
    if not folder.is_dir():
        yield Diagnosis(PLACE, "folder", State.WRONG, f"{folder} is not there", "Create it, for the gateway's user.")
        return
    files = [one for one in folder.iterdir() if one.name.startswith(spool.name) and one.is_file()]
    yield _room(folder, max(limit_bytes - sum(one.stat().st_size for one in files), 0))
    yield from _rights(folder, files)
    yield _speed(folder)
    yield _file_system(folder, MOUNTS.read_text(encoding="utf-8", errors="replace") if mounts is None else mounts)


def _room(folder: Path, wanted: int) -> Diagnosis:
    free = shutil.disk_usage(folder).free
    told = f"{free:,} bytes free, the spool may want {wanted:,} more"
    if free >= wanted:
        return Diagnosis(PLACE, "room", State.OK, told)
    return Diagnosis(PLACE, "room", State.WARNING, told, "Make room, or lower spool.limit in gateway.yaml.")


def _rights(folder: Path, files: Iterable[Path]) -> Iterator[Diagnosis]:
    what, mode, quoted = "rights", stat.S_IMODE(folder.stat().st_mode), shlex.quote(str(folder))
    found = []
    if mode & stat.S_IWOTH:
        told = f"everybody may write to {folder}"
        found.append(Diagnosis(PLACE, what, State.WRONG, told, f"Run: chmod o-w {quoted}"))
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = "Give it to the gateway's user, or ask as that user."
        found.append(Diagnosis(PLACE, what, State.WRONG, f"we may not write to {folder}", fix))
    for one in files:
        if stat.S_IMODE(one.stat().st_mode) & (stat.S_IROTH | stat.S_IWOTH):
            fix = f"Run: chmod 600 {shlex.quote(str(one))}"
            found.append(Diagnosis(PLACE, what, State.WRONG, f"everybody may use {one}, which holds readings", fix))
    yield from found or [Diagnosis(PLACE, what, State.OK, f"{mode:o} on {folder}")]


def _speed(folder: Path) -> Diagnosis:
    try:
        median = statistics.median(_sync_seconds(folder))
    except OSError as error:
        told = f"cannot be measured: {error.strerror}"
        return Diagnosis(PLACE, "fsync", State.UNSEEN, told, "Ask as the gateway's user, or make room.")
    told = f"median {median * 1_000:.1f} ms"
    if median <= SLOW_SECONDS:
        return Diagnosis(PLACE, "fsync", State.OK, told)
    fix = "Use a faster disk (an SSD instead of an SD card), or spool.when: outage."
    return Diagnosis(PLACE, "fsync", State.WARNING, told, fix)


def _sync_seconds(folder: Path) -> Iterator[float]:
    with tempfile.TemporaryFile(dir=folder, prefix=".doctor-", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(PAGE)
            started = time.monotonic()
            os.fsync(file.fileno())
            yield time.monotonic() - started


def _file_system(folder: Path, mounts: str) -> Diagnosis:
    kind = file_system(folder.resolve(), mounts)
    if not kind:
        return Diagnosis(PLACE, "file system", State.UNSEEN, "the kernel does not tell")
    if kind in FORGETFUL:
        return Diagnosis(PLACE, "file system", State.WARNING, f"{kind} is memory", "Put spool.path on a disk.")
    if kind in REMOTE:
        fix = "Put spool.path on a disk of this machine: SQLite's locks and fsync need one."
        return Diagnosis(PLACE, "file system", State.WARNING, f"{kind} is another machine's", fix)
    return Diagnosis(PLACE, "file system", State.OK, kind)


def file_system(folder: Path, mounts: str) -> str:
    """Find the kind of file system that a folder lies on.

    Args:
        folder: without symbolic links.
        mounts: as in proc_pid_mountinfo(5).

    Returns:
        Its kind, or "" when the table does not tell.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if len(fields := mount.split()) < 5 or not source:
            continue
        point = Path(fields[4].encode().decode("unicode_escape"))  # blanks are written \040
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), source.split()[0]
    return kind
