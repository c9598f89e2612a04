"""Small files that a power cut does not damage."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # renameat2(2)

_c_library = ctypes.CDLL(None, use_errno=True)


def replace(path: Path, text: str) -> None:
    """Replace a file, or create it, so that a power cut or an OSError leaves the old text or the new, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary, text.encode())
    temporary.replace(path)
    sync_folder(path.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file whose content is on disk afterwards; its name may not be."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def exchange(one: Path, other: Path) -> None:
    """Let two files or folders beside each other change places, in one step; OSError if the file system cannot."""
    if _c_library.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))
    sync_folder(one.parent)
