"""`python -m tests.surface`: take the present surface over as the recorded one, once CHANGELOG.md names each change."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.surface import record
from tests.surface.running import surface


def main() -> None:
    """Record, or list the entries that are missing."""
    with tempfile.TemporaryDirectory() as folder:
        present = surface(Path(folder))
    recorded = record.read()
    changes = record.differences(recorded, present) if recorded else []
    if missing := record.without_entry(changes, record.CHANGELOG.read_text()):
        sys.exit("\n".join(map(str, missing)))
    record.write(present)


main()
