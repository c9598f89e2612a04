"""The folder of the spool: free space, speed, permissions, and whether its file system keeps files.

Speed is measured with a file that has no name (`O_TMPFILE` where the file system supports it), so that nothing is left
behind, whatever happens.
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

from gateway.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLACE = "disk"
SYNCS = 9
SLOW_SECONDS = 0.05
PAGE = b"\0" * 4_096
MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = {"tmpfs", "ramfs"}
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"}


def examine(spool: Path, limit_bytes: int, mounts: str | None = None) -> Iterator[Finding]:
    """Check the folder of a spool file, which need not exist yet; `mounts` is as in proc_pid_mountinfo(5)."""
    folder = spool.absolute().parent
    try:
        if not folder.is_dir():
            yield Finding.at(PLACE, "folder", "error", f"{folder} does not exist", "Create it for the gateway's user.")
            return
        files = [one for one in folder.iterdir() if one.name.startswith(spool.name) and one.is_file()]
    except PermissionError:
        fix = "Run this command as the gateway's user."
        yield Finding.at(PLACE, "folder", "error", f"this user may not list {folder}", fix)
        return
    yield _room(folder, max(limit_bytes - sum(one.stat().st_size for one in files), 0))
    yield from list(_rights(folder, files)) or [_mode(folder)]
    yield _speed(folder)
    yield _file_system(folder, MOUNTS.read_text(encoding="utf-8", errors="replace") if mounts is None else mounts)


def _room(folder: Path, wanted: int) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free:,} bytes free, the spool may grow by {wanted:,}"
    if free >= wanted:
        return Finding.at(PLACE, "room", "ok", text)
    return Finding.at(PLACE, "room", "warning", text, "Free some space, or lower spool.limit in gateway.yaml.")


def _rights(folder: Path, files: Iterable[Path]) -> Iterator[Finding]:
    if folder.stat().st_mode & stat.S_IWOTH:
        fix = f"Run: chmod o-w {shlex.quote(str(folder))}"
        yield Finding.at(PLACE, "rights", "error", f"all users may write to {folder}", fix)
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = "Make the gateway's user its owner, or run this command as that user."
        yield Finding.at(PLACE, "rights", "error", f"this user may not write to {folder}", fix)
    for one in files:
        if one.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            fix = f"Run: chmod 600 {shlex.quote(str(one))}"
            yield Finding.at(PLACE, "rights", "error", f"all users may read or write {one}, which holds readings", fix)


def _mode(folder: Path) -> Finding:
    return Finding.at(PLACE, "rights", "ok", f"{stat.S_IMODE(folder.stat().st_mode):o} on {folder}")


def _speed(folder: Path) -> Finding:
    try:
        median = statistics.median(_sync_seconds(folder))
    except OSError as error:
        fix = "Run this command as the gateway's user, or free some space."
        return Finding.at(PLACE, "fsync", "unknown", f"cannot be measured: {error.strerror}", fix)
    text = f"median {median * 1_000:.1f} ms"
    if median <= SLOW_SECONDS:
        return Finding.at(PLACE, "fsync", "ok", text)
    fix = "Use a faster disk (an SSD instead of an SD card), or spool.when: outage."
    return Finding.at(PLACE, "fsync", "warning", text, fix)


def _sync_seconds(folder: Path) -> Iterator[float]:
    with tempfile.TemporaryFile(dir=folder, prefix=".doctor-", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(PAGE)
            started = time.monotonic()
            os.fsync(file.fileno())
            yield time.monotonic() - started


def _file_system(folder: Path, mounts: str) -> Finding:
    kind = file_system(folder.resolve(), mounts)
    if not kind:
        return Finding.at(PLACE, "file system", "unknown", "the kernel's table of mounts does not show it")
    if kind in IN_MEMORY:
        return Finding.at(PLACE, "file system", "warning", f"{kind} is memory", "Put spool.path on a disk.")
    if kind in REMOTE:
        fix = "Put spool.path on a disk of this machine: SQLite needs its locks and fsync."
        return Finding.at(PLACE, "file system", "warning", f"{kind} is on another machine", fix)
    return Finding.at(PLACE, "file system", "ok", kind)


def file_system(folder: Path, mounts: str) -> str:
    """Find the type of the file system of a folder, without symbolic links; "" when the table does not show it."""
    longest, kind = -1, ""
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if len(fields := mount.split()) < 5 or not source:
            continue
        point = Path(fields[4].encode().decode("unicode_escape"))  # blanks are written \040
        if folder.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), source.split()[0]
    return kind
