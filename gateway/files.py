"""Small files that survive a power cut whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Replace a file so that a power cut leaves the old one or the new one, never half of it.

    Args:
        path: of the file, which need not be there yet; its folder must.
        text: what it shall hold, written as UTF-8.

    Raises:
        OSError: when some step fails; the old file is still there then.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
